"""One database behind one URL: a SQLite file, or PostgreSQL.

Everything that outlives the process is plain SQL in words that both understand, with `?` for
values. The tables come from numbered files (see `migrations`); a database that is newer than this
program is refused rather than guessed at.

A `Database` is one connection with a lock: whoever writes in a thread of their own opens their own.
It blocks, so the event loop never calls it. What broke is opened anew by the next statement that
stands outside of a transaction: a connection that was cut, a file that was moved or removed.

Not here: what the tables mean. Each has a module of its own.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, RLock
from time import monotonic
from typing import Any

from baseload.store.migrations import migrate
from baseload.store.urls import (
    DatabaseError,
    RefusedError,
    kind_of,
    reason_of,
    shown,
    sqlite_path,
)

__all__ = ["Database", "DatabaseError", "RefusedError", "Row", "kind_of", "shown", "sqlite_path"]

BUSY_S = 5.0
"""How long a writer waits for another process to finish its transaction."""
LOOK_S = 0.02
"""How soon a file that was busy while it was opened is tried again."""
CONNECT_S = 5
"""How long a connection to PostgreSQL may take, unless the URL says it: at start people wait."""
POSTGRESQL_SETTINGS = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "baseload",
}
"""So that a server that is no more is noticed within half a minute; the URL may say otherwise."""
FILE_MODE, FOLDER_MODE = 0o600, 0o700
"""Of what is made here: prompts of batches and hashes of keys are for nobody else to read."""
APPEND_MAX = 256
"""Rows that are added at once. SQLite gives the interpreter's lock away with each statement, and to
get it back from a busy event loop takes milliseconds: so there is one statement for all of them.
More would fall out of the processor's cache: SQLite keeps 80 bytes for each value that is bound."""
APPEND_MIN = 8
"""Statements are made for so many rows and for each double, so that each is compiled once; what is
left over of one is filled with zeros, which are bound and not added."""

Row = tuple[Any, ...]

_HARMLESS = ("SELECT", "BEGIN", "WITH")
_BEGIN = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "BEGIN"}
_REFUSALS = (sqlite3.DataError, sqlite3.IntegrityError, OverflowError, UnicodeError)


class Database:
    """One connection. Raises `DatabaseError`."""

    def __init__(self, url: str, *, must_exist: bool = False) -> None:
        """With `must_exist`, a SQLite file that is not there is an error and not made."""
        self.kind = kind_of(url)
        self.where = shown(url)
        self._url = url
        self._path = ""
        """SQLite's file; empty in memory."""
        self._lock = RLock()
        self._connection: Any = None
        self._is_within = False
        """A transaction is open, so nothing may be opened anew."""
        self._file = (0, 0)
        self._inserts: dict[tuple[str, int], str] = {}
        self._errors: tuple[type[Exception], ...] = (sqlite3.Error, *_REFUSALS)
        self._refusals: tuple[type[Exception], ...] = _REFUSALS
        if self.kind == "postgresql":
            self._know_psycopg()
        elif path := sqlite_path(url):
            self._path = str(Path(path).expanduser())
            if must_exist and not Path(self._path).exists():
                raise DatabaseError(f"{self.where}: there is no such file; `baseload up` makes it")
        self._open(may_make_folder=not must_exist)

    def run(self, sql: str, *values: object) -> list[Row]:
        """Run one statement; give its rows, if it has any."""
        with self._lock:
            try:
                return self._run(sql, values)
            except DatabaseError:
                # A server that was restarted is noticed only now; to ask it again harms nothing.
                if not self._is_lost() or not sql.startswith(_HARMLESS) or self._is_within:
                    raise
            return self._run(sql, values)

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for many rows."""
        with self._lock, self._wrapped():
            self._mend()
            cursor = self._connection.cursor()
            cursor.executemany(self._worded(sql), rows)

    def append(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Add rows, all or none, in the way that costs least.

        At most `APPEND_MAX` of them.
        """
        with self._lock, self._wrapped():
            self._mend()
            if self.kind == "sqlite":
                self._insert(f"{table} ({', '.join(columns)})", rows)
                return
            with self._connection.cursor() as cursor, cursor.copy(
                f"COPY {table} ({', '.join(columns)}) FROM STDIN"
            ) as copy:  # fmt: skip
                for row in rows:
                    copy.write_row(row)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of it or nothing; not to be nested."""
        with self._lock:
            self.run(_BEGIN[self.kind])
            self._is_within = True
            try:
                yield
                self.run("COMMIT")
            except BaseException:
                with suppress(DatabaseError):  # Many errors have ended it already.
                    self.run("ROLLBACK")
                raise
            finally:
                self._is_within = False

    def close(self) -> None:
        """Close the connection; a statement that comes later opens it anew."""
        with self._lock, suppress(*self._errors):
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    # -- within ------------------------------------------------------------------------------

    def _run(self, sql: str, values: Sequence[object]) -> list[Row]:
        with self._wrapped():
            self._mend()
            cursor = self._connection.execute(self._worded(sql), values)
            rows: list[Row] = cursor.fetchall() if cursor.description else []
            return rows

    @contextmanager
    def _wrapped(self) -> Iterator[None]:
        try:
            yield
        except self._refusals as error:
            raise RefusedError(f"{self.where}: {reason_of(error, self._url)}") from error
        except self._errors as error:
            raise DatabaseError(f"{self.where}: {_hinted(reason_of(error, self._url))}") from error
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise DatabaseError(f"{self.where}: {error.strerror or error}{where}") from error

    def _worded(self, sql: str) -> str:
        return sql if self.kind == "sqlite" else sql.replace("%", "%%").replace("?", "%s")

    def _insert(self, table: str, rows: Sequence[Sequence[object]]) -> None:
        """Add rows to SQLite with one statement."""
        count, width, size = len(rows), len(rows[0]), APPEND_MIN
        while size < count:
            size *= 2
        if (sql := self._inserts.get((table, size))) is None:
            marks = ",".join([f"({','.join('?' * width)})"] * size)
            sql = f"INSERT INTO {table} SELECT * FROM (VALUES {marks}) LIMIT ?"  # noqa: S608
            self._inserts[table, size] = sql
        values: list[object] = []
        for row in rows:
            values += row
        values += [0] * ((size - count) * width)
        values.append(count)
        self._connection.execute(sql, values)

    def _mend(self) -> None:
        """Open anew what broke, unless a transaction is open: that one must fail."""
        if not self._is_within and self._is_lost():
            self.close()
            self._open(may_make_folder=False)

    def _is_lost(self) -> bool:
        """Whether the connection is closed, or its file is no longer the one of that name."""
        if self._connection is None:
            return True
        if self.kind == "postgresql":
            return bool(self._connection.closed)
        return self._file != _identity(self._path)

    def _open(self, *, may_make_folder: bool) -> None:
        with self._wrapped():
            if self.kind == "sqlite":
                self._connection = _open_sqlite(self._path, may_make_folder=may_make_folder)
                self._file = _identity(self._path)
            else:
                self._connection = _open_postgresql(self._url)
        try:
            migrate(self)
        except BaseException:
            self.close()
            raise

    def _know_psycopg(self) -> None:
        try:
            import psycopg  # noqa: PLC0415 - an extra, needed only here
        except ImportError as error:
            raise DatabaseError(
                f"{self.where}: needs `pip install baseload[postgresql]`"
            ) from error
        self._refusals = (psycopg.DataError, psycopg.IntegrityError, OverflowError, UnicodeError)
        self._errors = (psycopg.Error, *self._refusals)


def _hinted(reason: str) -> str:
    """Add what helps to SQLite's tersest words."""
    for words, hint in (
        ("unable to open database file", "is there such a folder, and may it be written?"),
        ("readonly database", "file and folder must be writable for this user"),
        ("is not a database", "move the file away, and a new one is begun"),
        ("is malformed", "move the file away, and a new one is begun"),
        ("database is locked", "another process holds it"),
    ):
        if words in reason:
            return f"{reason}; {hint}"
    return reason


def _identity(path: str) -> tuple[int, int]:
    """Tell a file from another that has come in its place."""
    try:
        found = os.stat(path)  # noqa: PTH116 - before each statement, and `Path.stat` is a detour
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino


def _open_sqlite(path: str, *, may_make_folder: bool) -> sqlite3.Connection:
    if path and may_make_folder:
        Path(path).parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    if path:
        with suppress(OSError):  # Where nothing can be made, SQLite says so.
            # The files that SQLite makes beside it get the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE))
    connection = sqlite3.connect(
        path or ":memory:", timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    give_up_at = monotonic() + BUSY_S
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal":
                # SQLite does not wait for its turn here: several processes may begin one file.
                connection.execute("PRAGMA journal_mode=WAL")
            # Through a crash of the process nothing is lost; of the machine, the last commits may.
            connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.OperationalError as error:
            if "locked" in str(error) and monotonic() < give_up_at:
                Event().wait(LOOK_S)
                continue
            connection.close()
            raise
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _open_postgresql(url: str) -> Any:
    import psycopg  # noqa: PLC0415 - an extra, needed only here
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - the same

    said = conninfo_to_dict(url)
    settings = {name: value for name, value in POSTGRESQL_SETTINGS.items() if name not in said}
    return psycopg.connect(url, autocommit=True, **settings)  # type: ignore[arg-type]
