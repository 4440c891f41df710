"""The job's endpoint: what a running bot may ask, on one loopback listener per worker.

Each attempt has its own random token, and one more for each dialect that its bot speaks, valid until the attempt
ends; they reach its own assets only. A refusal is a 4xx at once, and in the audit. The attempt's masker knows every
value that can be asked for here, before it is answered.

    GET  /v1/assets                   names that the bot may see, one per line
    GET  /v1/assets/GROUP/NAME        the value, as bytes; 404 unknown, 409 unset
    PUT  /v1/assets/GROUP/NAME        the body is the value from now on; 403 unless the bot declares it in `writes`
    DELETE /v1/assets/GROUP/NAME      the asset has no value from now on; 403 as above
    POST /v1/masks                    the body is masked from now on; 422 too weak, 413 too large, 429 too many
    GET  /v1/sources                  names of the data sources that the bot may use, one per line
    GET  /v1/sources/NAME?OPTIONS     what the source gives, in chunks; 404 unknown, 409 busy, 422 a question that makes
                                      no sense, 502 the source failed
    GET, POST /v1/sources/NAME/WHAT   what else a kind of source can be asked
    PUT  /v1/progress                 how far the bot is, as JSON
    PUT  /v1/results/KEY              a result, as JSON
    POST /v1/work-items               a new work item, as JSON
    POST /v1/work-items/reservation   the next item of a tray; 204 none waits
    PUT  /v1/work-items/ID/completion how it went, or …/failure
    *    /compat/WORD/…               the dialect WORD, as its own clients speak it (`runner.worker.dialects`)

An answer of a source goes to the bot as it is read: a bot that does not read lets the source wait.
"""

from __future__ import annotations

import threading

from runner.worker.answering import HOST, Request, Server
from runner.worker.grant import Grant
from runner.worker.tokens import Tokens


class Endpoint:
    """The listener and the tokens that are valid now."""

    def __init__(self) -> None:
        self._tokens = Tokens()
        self._server = Server((HOST, 0), Request)
        self._server.tokens = self._tokens
        self._thread = threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True)

    @property
    def url(self) -> str:
        """The address that bots are told."""
        return f"http://{HOST}:{self._server.server_port}"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def admit(self, grant: Grant, dialect: str = "") -> str:
        """A new token for an attempt, in Botkeep's own words or a dialect; only its hash is kept here."""
        return self._tokens.admit(grant, dialect)

    def revoke(self, token: str) -> None:
        """End a token; what it could read is forgotten."""
        self._tokens.revoke(token)
