"""What the drivers share that follow PEP 249 without ways of their own: SQL Server, Oracle, ODBC."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from runner.worker.failures import SourceFailed, Step
from runner.worker.sql.login import Login, reach
from runner.worker.sql.paramstyle import Paramstyle

#: Rows that a driver gets from the server at once.
ARRAY = 200


class Generic:
    """One connection of a PEP 249 driver; a subclass connects, and says how its transactions begin."""

    PARAMSTYLE: Paramstyle = "qmark"

    def __init__(self, login: Login) -> None:
        """Connect to the first place that takes us. Raises `SourceFailed`."""
        self.login = login
        self._cursor: Any = None
        self._closed = False
        self.connection = self._connected()

    def connect(self, place: Any) -> Any:  # noqa: ANN401 - the drivers are optional, so their types are unknown
        """A connection to one address; raises what the driver does."""
        raise NotImplementedError

    def begin(self, *, read_only: bool) -> None:
        """See `drivers.Driver`; a server that knows no such transaction is made to forget its changes at the end."""
        self._read_only = read_only

    def run(self, query: str, parameters: Any) -> tuple[list[str], list[str]]:  # noqa: ANN401
        """See `drivers.Driver`."""
        with self.asked():
            self._cursor = self.connection.cursor()
            self._cursor.arraysize = ARRAY
            if parameters:
                self._cursor.execute(query, parameters)
            else:
                self._cursor.execute(query)
            columns = self._cursor.description or ()
        return [each[0] for each in columns], ["" for _ in columns]

    def fetch(self, most: int) -> list[Any]:
        """See `drivers.Driver`."""
        with self.asked():
            return list(self._cursor.fetchmany(most))

    def end(self, *, commit: bool) -> None:
        """See `drivers.Driver`."""
        cursor, self._cursor = self._cursor, None
        with self.asked():
            if cursor is not None:
                cursor.close()
            if commit:
                self.connection.commit()
            else:
                self.connection.rollback()

    def interrupt(self) -> None:
        """See `drivers.Driver`."""
        self._closed = True
        stop = getattr(self.connection, "cancel", None) or getattr(self._cursor, "cancel", None)
        if stop is not None:
            with contextlib.suppress(Exception):
                stop()

    def close(self) -> None:
        """See `drivers.Driver`."""
        self._closed = True
        with contextlib.suppress(Exception):
            self.connection.close()

    @contextlib.contextmanager
    def asked(self) -> Any:  # noqa: ANN401
        """Make failures of the driver those of the source."""
        since = time.monotonic()
        try:
            yield
        except SourceFailed:
            raise
        except Exception as error:  # each driver has a tree of its own
            if self._closed:
                raise SourceFailed(Step.QUERY, "it was interrupted") from None
            if time.monotonic() - since >= self.login.timeout:
                why = f"no answer within {self.login.timeout:g} s"
                raise SourceFailed(Step.QUERY, why, field="timeout") from None
            raise SourceFailed(Step.QUERY, self.login.fault(Step.QUERY, _words(error)).detail, field="query") from None

    def _connected(self) -> Any:  # noqa: ANN401
        failure: SourceFailed | None = None
        for place in self.login.places:
            try:
                reach(place, self.login.connect_timeout).close()
                return self.connect(place)
            except SourceFailed as error:
                if not error.retriable:
                    raise
                failure = error
            except Exception as error:
                words = _words(error)
                name = "password" if "login" in words.lower() or "password" in words.lower() else ""
                raise self.login.fault(Step.AUTHENTICATED, words, name=name) from None
        assert failure is not None  # noqa: S101 - a connection has a host, and a host a place
        raise failure


def _words(error: BaseException) -> str:
    """A driver's words; some give bytes, some a tuple."""
    parts = [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in error.args]
    return " ".join(parts) or type(error).__name__
