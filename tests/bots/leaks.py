"""Shows every value it can get at, in every form it can think of, on both outputs and in files; then ends as told.

By itself, by a child, and by what Python prints of errors. Parameters: `gate`, a named pipe to wait at first;
`end`, how to end. All other parameters are shown, too. A value that it makes itself, the SHA-256 of GLOBAL.APIKEY in
hexadecimal, is named to the runner first.
"""

import base64
import contextlib
import hashlib
import html
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
import traceback
import urllib.parse
import warnings
from pathlib import Path

import botkeep

#: A child: each value in two writes on both outputs, and a traceback that quotes the last.
CHILD = """
import base64, sys
for line in sys.stdin.buffer:
    value = base64.b64decode(line)
    for output in (sys.stdout.buffer, sys.stderr.buffer):
        for piece in (b"a child: ", value[:len(value) // 2], value[len(value) // 2:], b"\\n"):
            output.write(piece)
            output.flush()
raise RuntimeError(value)
"""


def main() -> None:
    parameters = botkeep.parameters()
    if "gate" in parameters:
        Path(parameters["gate"]).read_bytes()
    values = {os.fsencode(text) for name, text in os.environ.items() if name.startswith("KLANGO_")}
    for path in Path(os.environ["BOTKEEP_ASSET_DIR"]).glob("*.*"):
        if path.name != "parameters.json":  # two encodings, one in the other, are beyond the masker
            values.add(path.read_bytes())
    for name in botkeep.assets:
        with contextlib.suppress(botkeep.NoValue):
            values.add(botkeep.asset_bytes(name))
    with contextlib.suppress(botkeep.UnknownAsset, botkeep.NoValue):
        made = hashlib.sha256(botkeep.asset_bytes("GLOBAL.APIKEY")).hexdigest()
        assert botkeep.mask(made)
        values.add(made.encode())
    values |= {str(text).encode() for text in parameters.values()}
    for number, value in enumerate(sorted(values)):
        for output in (sys.stdout.buffer, sys.stderr.buffer):
            show(output, value)
        for variable in ("HOME", "TMPDIR", "BOTKEEP_OUTPUT_DIR"):
            (Path(os.environ[variable]) / f"leak-{number}").write_bytes(b"".join(forms(value)))
    show_by_others(sorted(values))
    end(parameters.get("end"), b"\n".join(values).decode(errors="replace"))


def show(output, value: bytes) -> None:
    for form in forms(value):
        output.write(b"before " + form + b" after\n" + form + b"\n")
    for piece in (b"in two writes: ", value[: len(value) // 2], value[len(value) // 2 :], b"\n"):
        output.write(piece)
        output.flush()


def show_by_others(values: list[bytes]) -> None:
    """By a child process, by tracebacks, warnings and log records, and by a thread that ends with an error."""
    subprocess.run([sys.executable, "-c", CHILD], input=b"\n".join(map(base64.b64encode, values)), check=False)
    for value in values:
        text = value.decode(errors="surrogateescape")
        try:
            log_in(text)
        except RuntimeError:
            traceback.print_exc()
            logging.getLogger("portal").exception("no login with %s or %r", text, value)
        warnings.warn(text, stacklevel=1)
        thread = threading.Thread(target=int, args=(text + "x",))
        thread.start()
        thread.join()


def log_in(password: str) -> None:
    raise RuntimeError({"password": password}) from ValueError(password)


def forms(value: bytes):
    text = value.decode(errors="surrogateescape")
    yield value
    for lead in (b"", b"u", b"u:"):
        yield base64.b64encode(lead + value)
        yield base64.urlsafe_b64encode(lead + value + b"; and more")
    yield base64.encodebytes(value)
    yield base64.encodebytes(value).replace(b"\n", b"\r\n")
    yield value.hex().encode()
    yield value.hex().upper().encode()
    yield urllib.parse.quote(value, safe="").encode()
    yield urllib.parse.quote(value).encode()
    yield urllib.parse.quote_plus(value).encode()
    for encoding in ("utf-16-le", "utf-16-be"):
        yield text.encode(encoding, "surrogatepass")
    for ascii_only in (True, False):
        yield json.dumps({"value": text}, ensure_ascii=ascii_only).encode(errors="surrogateescape")
    yield "".join(f"%{byte:02x}" if not chr(byte).isalnum() or byte > 127 else chr(byte) for byte in value).encode()
    yield html.escape(text).encode(errors="surrogateescape")
    yield html.escape(text).encode("ascii", "xmlcharrefreplace")
    yield shlex.quote(text).encode(errors="surrogateescape")
    yield json.dumps(json.dumps(text)).encode()
    for mark in (b"'", b'"', b"}", b"%"):
        yield value.replace(mark, mark * 2)
    yield value.replace(b"\\", b"\\\\").replace(b"'", b"\\'")
    yield repr(value).encode()
    yield repr({"value": text}).encode(errors="surrogateescape")
    yield ascii(text).encode()


def end(how: str | None, everything: str) -> None:
    if how == "raise":
        password = everything
        raise RuntimeError(f"the login failed with {password}")
    if how == "exit":
        sys.exit(everything)
    if how == "business":
        raise botkeep.BusinessError(everything)
    if how == "signal":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
