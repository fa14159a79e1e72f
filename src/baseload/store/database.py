"""One database behind one URL: a SQLite file, or PostgreSQL.

Everything that outlives the process is plain SQL in words that both understand, with `?` for
values. The tables come from numbered files beside this one (`sql/0001_….sql`), each run once and in
order; a database that is newer than this program is refused rather than guessed at.

A `Database` is one connection with a lock: whoever writes in a thread of their own opens their own.
It blocks, so the event loop never calls it.

Not here: what the tables mean. Each has a module of its own.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.parse import unquote, urlsplit

from baseload.errors import BaseloadError

BUSY_S = 5.0
"""How long a writer waits for another process to finish its transaction."""
Row = tuple[Any, ...]

_BEGIN = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "BEGIN"}
_NAME = re.compile(r"(\d{4})_\w+\.sql")


class DatabaseError(BaseloadError):
    """The database cannot be opened or used; says which, and never repeats a password."""


class Database:
    """One connection. Raises `DatabaseError`."""

    def __init__(self, url: str) -> None:
        self.kind = kind_of(url)
        self.where = shown(url)
        self._lock = RLock()
        try:
            if self.kind == "sqlite":
                self._connection: Any = _open_sqlite(url)
                self._errors: type[Exception] = sqlite3.Error
            else:
                self._connection, self._errors = _open_postgresql(url)
        except OSError as error:
            raise DatabaseError(f"{self.where}: {error.strerror or error}") from error
        self._migrate()

    def run(self, sql: str, *values: object) -> list[Row]:
        """Run one statement; give its rows, if it has any."""
        with self._lock, self._wrapped():
            cursor = self._connection.execute(self._worded(sql), values)
            rows: list[Row] = cursor.fetchall() if cursor.description else []
            return rows

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for many rows."""
        with self._lock, self._wrapped():
            cursor = self._connection.cursor()
            cursor.executemany(self._worded(sql), rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of it or nothing; not to be nested."""
        with self._lock:
            self.run(_BEGIN[self.kind])
            try:
                yield
            except BaseException:
                self.run("ROLLBACK")
                raise
            self.run("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    # -- within ------------------------------------------------------------------------------

    @contextmanager
    def _wrapped(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise DatabaseError(f"{self.where}: {reason[0]}") from error

    def _worded(self, sql: str) -> str:
        return sql if self.kind == "sqlite" else sql.replace("%", "%%").replace("?", "%s")

    def _migrate(self) -> None:
        """Bring the tables to the form that this program knows."""
        files = sorted(
            (int(match[1]), file)
            for file in resources.files("baseload.store").joinpath("sql").iterdir()
            if (match := _NAME.fullmatch(file.name))
        )
        self.run("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY)")
        done = {row[0] for row in self.run("SELECT number FROM migrations")}
        if unknown := done - {number for number, _ in files}:
            raise DatabaseError(
                f"{self.where}: it was made by a newer baseload (migration {max(unknown)}); "
                "run that one, or name another database"
            )
        for number, file in files:
            if number in done:
                continue
            with self.transaction():
                if self.run("SELECT 1 FROM migrations WHERE number = ?", number):
                    continue  # Another process was quicker.
                for statement in file.read_text().split(";\n"):
                    if statement.strip():
                        self.run(statement)
                self.run("INSERT INTO migrations VALUES (?)", number)


def kind_of(url: str) -> str:
    """Say which database a URL names; raises `DatabaseError` for one that is not known."""
    scheme = url.partition("://")[0].lower()
    if scheme in ("postgresql", "postgres"):
        return "postgresql"
    if scheme == "sqlite":
        return "sqlite"
    raise DatabaseError(f"{shown(url)}: not `sqlite:///FILE` or `postgresql://HOST/NAME`")


def shown(url: str) -> str:
    """Give a URL without its password."""
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:***@", url)


def sqlite_path(url: str) -> str:
    """Give the file of `sqlite:///relative` or `sqlite:////absolute`; empty: in memory."""
    return unquote(urlsplit(url).path.removeprefix("/"))


def _open_sqlite(url: str) -> sqlite3.Connection:
    path = sqlite_path(url) or ":memory:"
    try:
        if path != ":memory:":
            path = str(Path(path).expanduser())
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode=WAL")
        # Through a crash of the process nothing is lost; of the machine, the last commits may be.
        connection.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.Error as error:
        raise DatabaseError(f"{shown(url)}: {error}") from error
    return connection


def _open_postgresql(url: str) -> tuple[Any, type[Exception]]:
    try:
        import psycopg  # noqa: PLC0415 - an extra, needed only here
    except ImportError as error:
        raise DatabaseError(f"{shown(url)}: needs `pip install baseload[postgresql]`") from error
    try:
        return psycopg.connect(url, autocommit=True), psycopg.Error
    except psycopg.Error as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DatabaseError(f"{shown(url)}: {reason[0]}") from error
