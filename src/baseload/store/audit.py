"""Who changed what on the operator's port, from where, and how did it end?

One row a change, refused ones included, newest first when read. It is kept by count: beyond
`ROWS_MAX` the oldest go. Values are short descriptions, so that a row can be read by itself; no
secret is among them, which is the writer's duty.

A row may be handed over twice, by a writer who could not know whether the first time succeeded; it
is written once.

Not here: what is to be audited, and what happens when it cannot be written (`web/journal`).
"""

import msgspec

from baseload.store.database import Database

ROWS_MAX = 100_000
"""Rows kept: years of an operator's work, some tens of megabytes."""
PRUNE_EVERY = 64
"""Writes between two looks for rows that are too old; the table may grow this much beyond."""
CHARACTERS_MAX = 500
"""Longest text of one column; the rest is cut."""
_COLUMNS = "at, request_id, who, address, action, target, was, became, result"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One row."""

    at: float
    """Seconds since 1970."""
    request_id: str
    who: str
    """`token`, or `loopback` where none is asked for."""
    address: str
    """The address that the request came from; behind a proxy, the proxy's."""
    action: str
    """The operation's name in the API's description, as `disable_backend`."""
    target: str
    """The backend or key that it was about; empty: the whole gateway."""
    was: str = ""
    became: str = ""
    result: str
    """`done`, or why not."""


class AuditLog:
    """The table of changes. Blocks; raises `DatabaseError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._written = 0

    def write(self, change: Change) -> None:
        """Add a row, unless it is there already."""
        values = [
            value[:CHARACTERS_MAX].replace("\x00", "\N{REPLACEMENT CHARACTER}")
            if isinstance(value, str)
            else value
            for value in msgspec.structs.astuple(change)
        ]
        self._database.run(
            f"INSERT INTO audit ({_COLUMNS}) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? "  # noqa: S608
            "WHERE NOT EXISTS (SELECT 1 FROM audit WHERE at = ? AND request_id = ?)",
            *values,
            *values[:2],
        )
        if self._written % PRUNE_EVERY == 0:
            self._prune()
        self._written += 1

    def newest(self, limit: int, before: float | None = None) -> list[Change]:
        """Give rows, newest first; with `before`, only those of an earlier time."""
        where, values = ("WHERE at < ? ", (before,)) if before is not None else ("", ())
        rows = self._database.run(
            f"SELECT {_COLUMNS} FROM audit {where}ORDER BY at DESC LIMIT ?",  # noqa: S608
            *values,
            limit,
        )
        names = Change.__struct_fields__
        return [Change(**dict(zip(names, row, strict=True))) for row in rows]

    def _prune(self) -> None:
        self._database.run(
            "DELETE FROM audit WHERE at < (SELECT at FROM audit ORDER BY at DESC LIMIT 1 OFFSET ?)",
            ROWS_MAX - 1,
        )
