"""Data sources by name, through the job's endpoint: the runner holds the connection, and this side what it gives.

Promises that nothing is kept that was not asked for, and that the errors of a source are one kind of error whose
sentence names the source.
"""

from __future__ import annotations

from botkeep.errors import SourceError, UnknownSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse

    from botkeep.mail import Message


class Source:
    """One data source of this bot; nothing is opened before something is asked."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """`name` as `botkeep source list` shows it."""
        self.name = name

    def ask(self, what: str = "", *, method: str = "GET", body: bytes = b"", **options: str) -> HTTPResponse:
        """The answer as it comes; read it to its end or close it before the next question.

        Raises:
            UnknownSource: when this bot may use no such source in this environment.
            SourceError: when the source cannot be used; the sentence says why.
            EndpointUnreachable: when the runner does not answer.
        """
        from urllib.parse import quote, urlencode  # noqa: PLC0415 - most bots never need it

        from botkeep import endpoint  # noqa: PLC0415

        path = "/v1/sources/" + "/".join(quote(part, safe="") for part in (self.name, what) if part)
        answer = endpoint.ask(f"{path}?{urlencode(options)}" if options else path, method=method, body=body)
        if answer.status == 200:
            return answer
        sentence = answer.read().decode(errors="replace")
        if answer.status == 404:
            raise UnknownSource(sentence)
        raise SourceError(sentence)

    def messages(self) -> Iterator[Message]:
        """The messages of a mailbox, as `botkeep.mail` says; raises what `ask` raises."""
        from botkeep.mail import messages  # noqa: PLC0415 - most bots never need it

        return messages(self)

    def __repr__(self) -> str:
        """The name only."""
        return f"<data source {self.name}>"


def source(name: str) -> Source:
    """The data source of that name, as the environment of this job has it."""
    return Source(name)
