"""How does a database come to have the tables that this program knows?

Tables come from numbered files beside this one (`sql/0001_….sql`), each run once and in order, and
all that are missing in one transaction: two processes that start together never meet half a table.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib import resources
from typing import Any, Protocol

from baseload.store.urls import DatabaseError

LOCK = 0x6261_7365
"""The number under which processes take turns in PostgreSQL; any, but always the same."""
_NAME = re.compile(r"(\d{4})_\w+\.sql")
_FIND = {
    "sqlite": "SELECT name FROM sqlite_master WHERE name = 'migrations'",
    "postgresql": "SELECT name FROM (SELECT to_regclass('migrations') AS name) AS found "
    "WHERE name IS NOT NULL",
}


class Connection(Protocol):
    """What is brought to its form."""

    kind: str
    where: str

    def run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement; give its rows."""

    def transaction(self) -> AbstractContextManager[None]:
        """Do all of it or nothing."""


def migrate(database: Connection) -> None:
    """Bring the tables to the form that this program knows; nothing is written if they have it."""
    known = dict(_files())
    done = _done(database)
    if unknown := done - known.keys():
        raise DatabaseError(
            f"{database.where}: it was made by a newer baseload (migration {max(unknown)}); "
            "run that one, or name another database"
        )
    if done == known.keys():
        return
    with database.transaction():
        if database.kind == "postgresql":
            database.run("SELECT pg_advisory_xact_lock(?)", LOCK)
        database.run("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY)")
        done = _done(database)  # Another process may have been quicker.
        for number, text in known.items():
            if number in done:
                continue
            for statement in text.split(";\n"):
                if statement.strip():
                    database.run(statement)
            database.run("INSERT INTO migrations VALUES (?)", number)


def _files() -> Iterator[tuple[int, str]]:
    """Give all migrations in order, with their text."""
    files = resources.files("baseload.store").joinpath("sql").iterdir()
    for file in sorted(files, key=lambda file: file.name):
        if match := _NAME.fullmatch(file.name):
            yield int(match[1]), file.read_text()


def _done(database: Connection) -> set[int]:
    if not database.run(_FIND[database.kind]):
        return set()
    return {row[0] for row in database.run("SELECT number FROM migrations")}
