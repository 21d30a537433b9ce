"""Connections to PostgreSQL: how one is opened, what a statement on it can come to, and a pool of them.

The statements are run on libpq as prepared ones (``psycopg.pq``): half the work of a psycopg cursor,
and one plan for each text whatever the size of its numbers. The pool is a few lines of our own: it
has no threads that a fork would lose, and a database that is down is reported at once, not by a timeout.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from paysession import StoreError
from paysession.store import storable
from paysession_sql.forks import generation, watch
from paysession_sql.places import Call, Places

try:
    import psycopg
    from psycopg import pq
    from psycopg.adapt import Transformer
except ImportError as error:  # an installation for SQLite alone
    raise StoreError(
        f"PostgreSQL needs psycopg: pip install 'paysession-sql[postgresql]' ({error})"
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg import Connection as Psycopg

    from paysession_sql.statements import Statement

__all__ = ["Connection", "Lost", "Pool", "Refused", "connect", "shown"]

POOL_SIZE: Final = 16
"""How many connections a process opens at most, unless the URL says ``pool_size=``."""

WAIT: Final = 30.0
"""Seconds that a thread waits for a connection while all are in use."""

# Of libpq: give up a server that does not answer the connect, and notice a peer that is gone for good.
_CONNECT: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "application_name": "paysession",
}

# Of the server, for each connection. What is set for durability beyond "on" is left alone.
_SESSION: Final = """
SELECT set_config('statement_timeout', '30s', false), set_config('lock_timeout', '10s', false),
    set_config('idle_in_transaction_session_timeout', '60s', false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)
"""

_GONE: Final = (b"FATAL", b"PANIC")
_UNPREPARED: Final = "26000"
_PREPARED_ALREADY: Final = "42P05"


class Lost(Exception):
    """The connection broke while a statement ran: whether it was carried out is not known."""


class Refused(Exception):
    """The server refused a statement: it certainly had no effect.

    Args:
        state: The SQLSTATE.
        message: The server's words.
    """

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


def _split(url: str) -> tuple[str, int]:
    """Return the URL as libpq wants it, and the size of the pool."""
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        size = int(query.pop("pool_size", POOL_SIZE))
    except ValueError:
        raise StoreError(f"{shown(url)!r:.200} is no database URL") from None
    if size < 1:
        raise StoreError("pool_size is at least 1")
    query = {**_CONNECT, **query}
    return f"postgresql://{parts.netloc}{parts.path}?{urlencode(query, quote_via=quote)}", size


def shown(url: str) -> str:
    """Return a URL without its password."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    query = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] != "password"], safe="/")
    return f"{parts.scheme}://{user.partition(':')[0]}{at}{host}{parts.path}{query and '?'}{query}"


def connect(url: str, *, autocommit: bool = False) -> Psycopg:
    """Open a connection of psycopg.

    Args:
        url: The database.
        autocommit: Whether each statement is a transaction of its own.

    Raises:
        StoreError: The server cannot be reached, or does not let us in.
    """
    try:
        # psycopg would prepare what it runs often, under names that connections behind a proxy share.
        return psycopg.connect(_split(url)[0], autocommit=autocommit, prepare_threshold=None)
    except psycopg.Error as error:
        raise StoreError(f"the database {shown(url)} cannot be reached: {_line(error)}") from None


def _line(error: object) -> str:
    return " ".join(str(error).split())


class Connection:
    """One connection, with the statements that it has prepared."""

    def __init__(self, url: str) -> None:
        self._psycopg = connect(url, autocommit=True)
        self._libpq = self._psycopg.pgconn
        self._prepared: set[bytes] = set()
        self._gone = False
        try:
            self._psycopg.execute(_SESSION)
        except BaseException as error:
            self.close()
            if not isinstance(error, psycopg.Error):
                raise
            raise StoreError(f"the database {shown(url)} cannot be reached: {_line(error)}") from None

    @property
    def broken(self) -> bool:
        """Whether it can carry no further statement."""
        return self._gone or self._libpq.status != pq.ConnStatus.OK

    def run(self, statement: Statement, parameters: Sequence[Any]) -> list[Any]:
        """Run a statement, in a transaction of its own, and return its rows.

        Raises:
            Lost: The connection broke.
            Refused: The server refused it.
        """
        values = [_FORMS[type(value)](value) for value in parameters]
        try:
            return self._run(statement, values)
        except Refused as refusal:
            if refusal.state != _UNPREPARED:
                raise
            # A proxy between us and the server gave us another of its connections, and may give us a third
            # one after preparing. Text and parameters in one message always reach the same connection.
            self._prepared.discard(statement.name)
            return self._run(statement, values, prepared=False)

    def _run(self, statement: Statement, values: list[bytes | None], *, prepared: bool = True) -> list[Any]:
        name = statement.name
        try:
            if prepared:
                if name not in self._prepared:
                    self._prepare(statement)
                result = self._libpq.exec_prepared(name, values)  # type: ignore[arg-type]  # None is NULL
            else:
                result = self._libpq.exec_params(statement.text.encode(), values)
            self._check(result)
        except psycopg.OperationalError as error:
            self._gone = True
            raise Lost(_line(error)) from None
        rows = Transformer(self._psycopg)
        rows.set_pgresult(result)
        return rows.load_rows(0, result.ntuples, tuple)

    def _prepare(self, statement: Statement) -> None:
        try:
            self._check(self._libpq.prepare(statement.name, statement.text.encode()))
        except Refused as refusal:
            if refusal.state != _PREPARED_ALREADY:
                raise
        self._prepared.add(statement.name)

    def _check(self, result: pq.abc.PGresult) -> None:
        if result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            return
        message = _line(result.error_message.decode("utf-8", "replace"))
        severity = result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED)
        if self._libpq.status == pq.ConnStatus.BAD or severity is None or severity in _GONE:
            self._gone = True
            raise Lost(message)
        state = result.error_field(pq.DiagnosticField.SQLSTATE) or b""
        raise Refused(state.decode(), message)

    def close(self) -> None:
        """Close it."""
        self._psycopg.close()

    def disown(self) -> None:
        """Cut a forked child's copy off from the server, without a word to it: the parent goes on."""
        null = os.open(os.devnull, os.O_RDWR)
        try:
            os.dup2(null, self._libpq.socket, inheritable=False)
        except psycopg.Error:
            pass  # it has no socket: it is closed, or lost
        finally:
            os.close(null)


def _text(value: str) -> bytes:
    # The core hands over nothing else; but what libpq is given ends at the first NUL.
    return storable(value).encode()


class _Forms(dict[type, "Callable[[Any], bytes | None]"]):
    """How each type of parameter is written in PostgreSQL's text form; a subclass as its base."""

    def __missing__(self, type_: type) -> Callable[[Any], bytes | None]:
        form = self[type_] = next(self[base] for base in type_.__mro__ if base in self)
        return form


_FORMS: Final = _Forms(
    {
        type(None): lambda _: None,
        str: _text,
        int: b"%d".__mod__,
        bool: lambda value: b"t" if value else b"f",
        bytes: lambda value: b"\\x" + value.hex().encode(),
    }
)


class Pool:
    """The connections to a database: the last that was used is used next. Thread-safe.

    Each process has its own; a forked child leaves its parent's alone.

    Args:
        url: The database.

    Raises:
        StoreError: The URL is none.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._size = _split(url)[1]
        self._closed = False
        self._of_process: dict[int, Places[Connection]] = {}
        watch(self)

    def run(self, statement: Statement, parameters: Sequence[Any], *, fresh: bool = False) -> list[Any]:
        """Run a statement, in a transaction of its own, and return its rows.

        Args:
            statement: The statement.
            parameters: Its parameters.
            fresh: Not on a connection that may have been broken a while ago.

        Raises:
            Lost: The connection broke.
            Refused: The server refused the statement.
            StoreError: There is no connection: the pool is closed, the database cannot be reached, or
                all are in use.
        """
        places = self._places()
        call = Call()
        try:
            if fresh:
                places.close_idle()
            place = self._take(places, call)
            connection = places.connections.get(place)
            if connection is None:
                connection = places.connections[place] = Connection(self.url)
            rows = connection.run(statement, parameters)
            places.leave(call)
        except BaseException:
            places.drop(call, _is_broken)
            places.leave(call, broken_off=True)
            raise
        return rows

    def _places(self) -> Places[Connection]:
        """Return the places of this process: one that was forked gets places of its own."""
        process = generation()
        places = self._of_process.get(process)
        if places is None:
            places = self._of_process.setdefault(process, Places(awaited=self._size))
            places.closed = self._closed
        return places

    def _take(self, places: Places[Connection], call: Call) -> int:
        """Take a place for a call, as soon as there is one."""
        last = monotonic() + WAIT
        turn = not places.waiting
        while True:
            if turn:
                for place in range(self._size):
                    if places.take(place, call):
                        if places.closed:
                            places.stop(call)
                        places.step_out(call)
                        return place
            if call.woken is None:
                # A place that became free before anybody saw this call in the line is taken at once, unless
                # there is somebody ahead, who was woken for it.
                turn = places.line_up(call)
                continue
            left = last - monotonic()
            if left <= 0:
                raise StoreError(f"all {self._size} connections were in use for {WAIT:.0f} s: see pool_size")
            places.wait(call, left)
            turn = True

    def before_fork(self) -> None:
        """Nothing: a call may go on in the parent during a fork."""

    def after_fork_in_parent(self) -> None:
        """Nothing: the parent keeps its connections."""

    def after_fork_in_child(self) -> None:
        """Cut off what the child inherited: the server would not notice that the parent has died."""
        for places in self._of_process.values():
            for connection in list(places.connections.values()):
                connection.disown()

    def close(self) -> None:
        """Close the pool: calls that run are waited for, later ones are a `StoreError`."""
        self._closed = True
        self._places().close()


def _is_broken(connection: Connection) -> bool:
    return connection.broken
