"""What a posted form holds: text fields and files, read with limits and never kept on a disk.

A field whose name begins with `value` is write-only: it is left out of what a refused form is shown with again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import Request

from console import text
from runner.archive import MAX_SIZE, MAX_TABLES
from runner.errors import Invalid

#: Bytes of the largest part of a form: a bot's archive. What a whole body may have is the edge's to say.
LARGEST_PART = MAX_SIZE + MAX_TABLES

#: Fields and files of a form; a bot with some hundred parameters has as many.
MOST = 1000

#: How a browser sends one.
_KINDS = ("application/x-www-form-urlencoded", "multipart/form-data")

#: Names of fields that are never shown again begin so.
WRITE_ONLY = "value"


class Form(Mapping[str, str]):
    """The fields of a form by name, each the last of its name; a browser's line ends become one character."""

    def __init__(self, texts: Mapping[str, Sequence[str]], files: Mapping[str, Sequence[tuple[str, bytes]]]) -> None:
        self._texts = texts
        self._files = files

    def __getitem__(self, name: str) -> str:
        return self._texts[name][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __repr__(self) -> str:
        return f"Form({', '.join(self._texts)})"

    def words(self, name: str) -> str:
        """A field without white space at its ends; empty where it is missing."""
        return self.get(name, "").strip()

    def every(self, name: str) -> Sequence[str]:
        """Every value of a field that may be there several times: boxes that are ticked."""
        return self._texts.get(name, ())

    def files(self, name: str) -> Sequence[tuple[str, bytes]]:
        """Names and contents of the files that were chosen in a field."""
        return self._files.get(name, ())

    def kept(self) -> dict[str, str]:
        """What a refused form is shown with again: everything but write-only fields and the token."""
        return {name: self[name] for name in self if not name.startswith(WRITE_ONLY) and name != "csrf"}


class _InMemory(MultiPartParser):
    """Starlette's parser, which writes no part of a form to a file: it may be a value."""

    spool_max_size = LARGEST_PART + 1


def is_one(request: Request) -> bool:
    """Whether a request says that its body is a form."""
    return _kind(request) in _KINDS


async def parse(request: Request) -> Form:
    """The form of a request, read once however often it is asked for.

    Raises:
        Invalid: for a body that is no form, or text that cannot be stored.
        HTTPException: 413 for too many or too large parts.
    """
    if not hasattr(request.state, "form"):
        request.state.form = await _read(request)
    form: Form = request.state.form
    return form


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read(request: Request) -> Form:
    kind = _kind(request)
    if kind == "multipart/form-data":
        return await _parts(request)
    if kind not in {"application/x-www-form-urlencoded", ""}:
        raise Invalid("Send a form: as application/x-www-form-urlencoded or multipart/form-data.")
    data = await FormParser(request.headers, request.stream()).parse()
    if len(data.multi_items()) > MOST:
        raise HTTPException(413)
    return await _form(data)


async def _parts(request: Request) -> Form:
    parser = _InMemory(
        Headers(raw=request.headers.raw),
        request.stream(),
        max_files=MOST,
        max_fields=MOST,
        max_part_size=LARGEST_PART,
    )
    try:
        data = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith(("Too many", "Part exceeded")):
            raise HTTPException(413) from None
        raise Invalid("The form cannot be read: its parts are malformed.") from None
    try:
        return await _form(data)
    finally:
        await data.close()


async def _form(data: FormData) -> Form:
    texts: dict[str, list[str]] = {}
    files: dict[str, list[tuple[str, bytes]]] = {}
    for name, value in data.multi_items():
        if isinstance(value, UploadFile):
            content = await value.read()
            if value.filename or content:  # an empty choice is sent as a file without a name
                files.setdefault(_storable(name), []).append((_storable(value.filename or ""), content))
        else:
            texts.setdefault(_storable(name), []).append(_storable(value).replace("\r\n", "\n"))
    return Form(texts, files)


def _storable(given: str) -> str:
    try:
        return text.storable(given)
    except ValueError as error:
        raise Invalid(f"A field of the form cannot be used: {error}.") from None
