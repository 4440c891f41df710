"""Shows every value it can get at, in every form it can think of, on both outputs and in files; then ends as told.

Parameters: `gate`, a named pipe to wait at first; `end`, how to end. All other parameters are shown, too.
"""

import base64
import contextlib
import json
import os
import signal
import sys
import urllib.parse
from pathlib import Path

import botkeep


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
    values |= {str(text).encode() for text in parameters.values()}
    for number, value in enumerate(sorted(values)):
        for output in (sys.stdout.buffer, sys.stderr.buffer):
            show(output, value)
        for variable in ("HOME", "TMPDIR", "BOTKEEP_OUTPUT_DIR"):
            (Path(os.environ[variable]) / f"leak-{number}").write_bytes(b"".join(forms(value)))
    end(parameters.get("end"), b"\n".join(values).decode(errors="replace"))


def show(output, value: bytes) -> None:
    for form in forms(value):
        output.write(b"before " + form + b" after\n" + form + b"\n")
    for piece in (b"in two writes: ", value[: len(value) // 2], value[len(value) // 2 :], b"\n"):
        output.write(piece)
        output.flush()


def forms(value: bytes):
    text = value.decode(errors="surrogateescape")
    yield value
    for lead in (b"", b"u", b"u:"):
        yield base64.b64encode(lead + value)
        yield base64.urlsafe_b64encode(lead + value + b"; and more")
    yield base64.encodebytes(value)
    yield value.hex().encode()
    yield value.hex().upper().encode()
    yield urllib.parse.quote(value, safe="").encode()
    yield urllib.parse.quote(value).encode()
    yield urllib.parse.quote_plus(value).encode()
    for encoding in ("utf-16-le", "utf-16-be"):
        yield text.encode(encoding, "surrogatepass")
    for ascii_only in (True, False):
        yield json.dumps({"value": text}, ensure_ascii=ascii_only).encode(errors="surrogateescape")
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
