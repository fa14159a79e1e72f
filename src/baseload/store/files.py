"""Files that callers have sent, or will fetch: kept in the database, in parts.

They stand beside the jobs that read and write them, so one transaction covers both, and whichever
replica goes on with a job finds them. A caller sees only their own.

Not here: what is in a file.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from baseload.store.database import Database

PART_BYTES = 256 * 1024
"""A file is kept and given in pieces of this size, so that no reader holds all of a large one."""
PAGE_MAX = 10_000
"""Files that one page of a list may hold, as in OpenAI's API."""
_NEWEST_FIRST = """
    SELECT id, name, purpose, bytes, created_at FROM files
    WHERE owner = ? AND (? = '' OR purpose = ?)
    AND (? = '' OR created_at < (SELECT created_at FROM files WHERE id = ?)
         OR (created_at = (SELECT created_at FROM files WHERE id = ?) AND id < ?))
    ORDER BY created_at DESC, id DESC LIMIT ?"""
_OLDEST_FIRST = """
    SELECT id, name, purpose, bytes, created_at FROM files
    WHERE owner = ? AND (? = '' OR purpose = ?)
    AND (? = '' OR created_at > (SELECT created_at FROM files WHERE id = ?)
         OR (created_at = (SELECT created_at FROM files WHERE id = ?) AND id > ?))
    ORDER BY created_at, id LIMIT ?"""


class StoredFile(NamedTuple):
    """What is known of a file; `created_at` is in seconds since 1970."""

    id: str
    name: str
    purpose: str
    bytes: int
    created_at: int


class Files:
    """All files. It blocks: call it from a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, file_id: str, owner: str, name: str, purpose: str, pieces: Iterable[bytes], now: float
    ) -> StoredFile:
        """Keep a new file."""
        with self._database.transaction():
            return self.put(file_id, owner, name, purpose, pieces, now)

    def put(
        self, file_id: str, owner: str, name: str, purpose: str, pieces: Iterable[bytes], now: float
    ) -> StoredFile:
        """Keep a new file, within a transaction of the caller's."""
        size = number = 0
        for number, part in enumerate(_parts(pieces)):
            size += len(part)
            self._database.run("INSERT INTO file_parts VALUES (?, ?, ?)", file_id, number, part)
        made = StoredFile(file_id, name, purpose, size, int(now))
        self._database.run(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)",
            file_id, owner, name, purpose, size, int(now),
        )  # fmt: skip
        return made

    def find(self, file_id: str, owner: str) -> StoredFile | None:
        """Give one of the owner's files."""
        rows = self._database.run(
            "SELECT id, name, purpose, bytes, created_at FROM files WHERE id = ? AND owner = ?",
            file_id, owner,
        )  # fmt: skip
        return StoredFile(*rows[0]) if rows else None

    def page(
        self, owner: str, after: str, purpose: str, limit: int, *, is_newest_first: bool = True
    ) -> list[StoredFile]:
        """Give up to `limit` of the owner's files, in the order in which they came."""
        sql = _NEWEST_FIRST if is_newest_first else _OLDEST_FIRST
        values = (owner, purpose, purpose, after, after, after, after, min(limit, PAGE_MAX))
        return [StoredFile(*row) for row in self._database.run(sql, *values)]

    def bytes_of(self, owner: str, least: int = 0) -> int:
        """Give how much an owner has here; no file counts for less than `least` bytes."""
        rows = self._database.run(
            "SELECT COALESCE(SUM(CASE WHEN bytes < ? THEN ? ELSE bytes END), 0) FROM files"
            " WHERE owner = ?",
            least, least, owner,
        )  # fmt: skip
        return int(rows[0][0])

    def parts(self, file_id: str) -> Iterator[bytes]:
        """Give a file's content, piece by piece; nothing, if there is no such file."""
        number = 0
        while rows := self._database.run(
            "SELECT content FROM file_parts WHERE file_id = ? AND number = ?", file_id, number
        ):
            yield bytes(rows[0][0])
            number += 1

    def delete(self, file_id: str) -> None:
        """Forget a file."""
        with self._database.transaction():
            self._database.run("DELETE FROM file_parts WHERE file_id = ?", file_id)
            self._database.run("DELETE FROM files WHERE id = ?", file_id)

    def delete_old(self, before: float) -> int:
        """Forget files from before a time that no unfinished batch needs; say how many."""
        rows = self._database.run(
            "SELECT id FROM files WHERE created_at < ? AND id NOT IN"
            " (SELECT input_file_id FROM batches WHERE status IN ('validating', 'in_progress'))",
            int(before),
        )
        for (file_id,) in rows:
            self.delete(file_id)
        return len(rows)


def _parts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut pieces of any size into parts of one size."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= PART_BYTES:
            yield bytes(held[:PART_BYTES])
            del held[:PART_BYTES]
    if held:
        yield bytes(held)
