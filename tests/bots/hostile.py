"""Prints, leaves and reports whatever could trouble a page that shows it."""

import os
import sys
import time
from pathlib import Path

import botkeep

ALERT = "<script>alert(document.domain)</script>"

for line in (
    ALERT,
    "</bdi></div></section></main><img src=x onerror=alert(1)><svg/onload=alert(2)>",
    '"><a href="javascript:alert(3)">click</a><style>*{display:none}</style><base href="//evil.example">',
    "{{ 7 * 7 }} {% raw %} ${7*7} %s %n",
    "\x1b]0;another title\x07after a title",
    "\x1b]8;;javascript:alert(4)\x1b\\a link\x1b]8;;\x1b\\ \x1b]52;c;ZXZpbA==\x07after the clipboard",
    "\x1b]never ends",
    "\x1b[2J\x1b[H\x1b[?1049h\x1b[8mafter erasing and hiding\x1b[0m",
    "\x1b[1;31mred and bold\x1b[0m \x1b[38;2;0;0;0;48;2;0;0;0mblack on black\x1b[0m",
    "".join(f"\x1b[{30 + number % 8};{40 + number // 8 % 8}m{number}" for number in range(500)),
    "invoice\u202egpj.exe \u2066isolated\u2069 \u200bnothing\u200b \ufeff",
    "\u0645\u0631\u062d\u0628\u0627 " * 20,
    "a" + "\u0301" * 400 + " many marks \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "10 %\r20 %\r30 %",
    "\x00\x01\x7f\x9b31m\x85 controls",
    "data: x\n\nevent: end\ndata: {}\n",
    "x" * (10 * 1024 * 1024),
    "no breaks " + "\u00a0".join(["wide"] * 3000),
):
    sys.stdout.write(line + "\n")
sys.stdout.flush()
os.write(1, b"\xff\xfe no UTF-8 \xc3(\n")
print(ALERT, file=sys.stderr, flush=True)

folder = Path(os.environ["BOTKEEP_OUTPUT_DIR"])
for name in (
    "<img src=x onerror=alert(5)>.html",
    "invoice\u202egpj.exe",
    "new\nline",
    "a?b#c%2e%2e;d",
    "x" * 200,
    'quote".svg',
):
    (folder / name).write_text(ALERT)
botkeep.output("html", ALERT)
botkeep.output("mark", "a\u202eb")

if "wait" in Path(os.environ["BOTKEEP_PARAMETERS_FILE"]).read_text():
    while True:
        print(f"still here <img src=x onerror=alert(6)>{ALERT}\u202e\x1b[31mred", flush=True)
        time.sleep(0.5)
raise botkeep.BusinessError(f"{ALERT} \u202ereversed\x1b[31m" + "y" * 3000)
