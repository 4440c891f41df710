"""Looks for values, ways to write them and cuts that get past the masker: `python -m tests.fuzz_masker --seconds 60`.

A case is drawn from a seed: values, and what a bot prints of them in its writes. Each is masked in these writes, in
one, byte by byte, and by a masker that learns its values one by one. Prints every case that breaks a promise; `--keep`
adds it to the corpus, which a test replays, and `--draw N` adds N cases that hold.
"""

import argparse
import base64
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from runner.worker.masker import Masker
from tests.writers import WRITERS
from vault.grading import too_weak

CORPUS = Path(__file__).with_name("vectors") / "masking.json"
ALPHABETS = (
    "abcXYZ0189",
    "ab\"'\\\\%&<>/+=*$`{}[]~#;:@!? \n\t",
    "aé€😀\x00\x7f\x1fß漢\u2028 \r\n",
    "xy",
)
#: What is written around values; shares no run of characters with what writers make of one.
FRAME = "¦log line¦\n"


@dataclass(frozen=True, slots=True)
class Case:
    """Values, and the writes of a bot."""

    name: str
    values: list[bytes]
    writes: list[bytes]

    def document(self) -> dict[str, object]:
        written = b"".join(masked(self.values, self.writes))
        texts = {"values": self.values, "writes": self.writes, "written": [written]}
        return {"name": self.name} | {key: [base64.b64encode(each).decode() for each in texts[key]] for key in texts}


def masked(values: list[bytes], writes: list[bytes], *, added: bool = False) -> Iterator[bytes]:
    """What is written for some writes; with `added` the masker learns its values one by one."""
    masker = Masker([] if added else [("value", value) for value in values])
    for value in values if added else ():
        masker.add([("value", value)])
    stream = masker.stream()
    yield from map(stream.feed, writes)
    yield stream.flush()


def draw(seed: int) -> tuple[Case, list[bytes]]:
    """A case, and those parts of what is written that are forms of a value."""
    dice = random.Random(seed)
    values, forms, text = [], [], FRAME.encode()
    names = [dice.choice(sorted(WRITERS)) for _ in range(dice.randint(1, 4))]
    for name in names:
        alphabet = dice.choice(ALPHABETS)
        value = "".join(dice.choices(alphabet, k=dice.randint(4, 90))).strip()
        if too_weak(value.encode()):
            continue
        values.append(value.encode())
        left, right = frame(name)
        written = WRITERS[name](value)
        forms.append(written[len(left) : len(written) - len(right)])
        text += written + dice.choice((FRAME.encode(), b"", b" ", b"***"))
    edges = [0, *sorted(dice.randint(0, len(text)) for _ in range(dice.randint(0, 6))), len(text)]
    writes = [text[start:end] for start, end in pairwise(edges)]
    return Case(f"{seed}: {', '.join(names)}", values, writes), forms


def frame(writer: str) -> tuple[bytes, bytes]:
    """What the writer itself puts around a value: quotes, brackets, a name."""
    left, found, right = WRITERS[writer]("Q7").partition(b"Q7")
    return (left, right) if found else (b"", b"")


def broken(case: Case, forms: list[bytes]) -> str | None:
    """Which promise the case breaks."""
    data = b"".join(case.writes)
    whole = b"".join(masked(case.values, [data]))
    if b"".join(masked(case.values, case.writes)) != whole:
        return "another output for other writes"
    if b"".join(masked(case.values, [data[at : at + 1] for at in range(len(data))])) != whole:
        return "another output byte by byte"
    if b"".join(masked(case.values, case.writes, added=True)) != whole:
        return "another output with values added one by one"
    around = FRAME.encode() * 2 + b"".join(b"".join(frame(name)) for name in WRITERS)
    for form in forms:
        for at in range(len(form) - 5):
            run = form[at : at + 6]
            if run in whole and run not in around and b"*" not in run and not is_weak(run, case.values):
                return f"{run!r} survives"
    return None


def is_weak(run: bytes, values: list[bytes]) -> bool:
    """Whether the run may stand there for another reason: values of two letters leave such pieces anywhere."""
    return len(set(run)) <= 2 and any(len(set(value)) <= 2 for value in values)


def main(argv: list[str]) -> int:
    """Fuzzes for a time; non-zero when something got past the masker."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_masker", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="add broken cases to the corpus")
    parser.add_argument("--draw", type=int, default=0, metavar="N", help="add N cases that hold")
    arguments = parser.parse_args(argv)
    kept: list[Case] = []
    found = 0
    until, seed = time.monotonic() + arguments.seconds, arguments.seed
    while time.monotonic() < until and (not arguments.draw or len(kept) < arguments.draw):
        case, forms = draw(seed)
        problem = broken(case, forms)
        if problem:
            found += 1
            sys.stdout.write(f"{case.name}: {problem}\n  {case}\n")
        if bool(problem) if arguments.keep else bool(arguments.draw):
            kept.append(case)
        seed += 1
    sys.stdout.write(f"{seed - arguments.seed:,} cases from seed {arguments.seed}, {found} broken\n")
    if kept:
        cases = json.loads(CORPUS.read_text()) if CORPUS.exists() else []
        lines = [json.dumps(each) for each in [*cases, *(case.document() for case in kept)]]
        CORPUS.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
