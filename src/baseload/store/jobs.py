"""Batches: jobs of many requests that may wait, and what has become of each of them.

A batch is one row, and each of its requests another, so that what is done is known line by line
and a process that dies loses nothing that it had written down. Whoever runs a batch holds a lease
on it and renews it; of several replicas one runs it, and when that one is gone another goes on.
What a line comes to is written once: a result that comes twice is not counted twice.

Not here: running the lines, and OpenAI's objects (`apis.batch`).
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from baseload.apis.batch import WINDOW_S, Line, Mistake, NewBatch
from baseload.store.database import Database, Row
from baseload.store.files import Files

LEASE_S = 5.0
"""How long a batch is left alone after its runner, which speaks up every second, was last heard."""
PAGE_MAX = 100
"""Batches that one page of a list may hold, as in OpenAI's API."""
CHUNK = 500
"""Rows that are read at once where all of them are wanted."""
RESULTS_CHUNK = 16
"""Results that are read at once: each may have megabytes."""
WAITING, DONE, FAILED = range(3)
UNFINISHED = ("validating", "in_progress", "cancelling")

_PAGE = """
    SELECT * FROM batches WHERE owner = ?
    AND (? = '' OR created_at < (SELECT created_at FROM batches WHERE id = ?)
         OR (created_at = (SELECT created_at FROM batches WHERE id = ?) AND id < ?))
    ORDER BY created_at DESC, id DESC LIMIT ?"""

_FREE = """
    SELECT id FROM (
        SELECT id, created_at, runner, ROW_NUMBER() OVER (
            PARTITION BY owner ORDER BY CASE WHEN runner = ? THEN 0 ELSE 1 END, created_at, id
        ) AS turn
        FROM batches WHERE status IN (?, ?, ?) AND (runner = ? OR leased_until < ?)
    ) AS found
    WHERE runner <> ? AND turn <= ? ORDER BY turn, created_at, id LIMIT ?"""


class Batch(NamedTuple):
    """One batch. `times` are when it became what, in seconds since 1970."""

    id: str
    owner: str
    endpoint: str
    input_file_id: str
    completion_window: str
    metadata: dict[str, str] | None
    status: str
    errors: list[dict[str, Any]]
    times: dict[str, int]
    created_at: int
    expires_at: int
    total: int
    completed: int
    failed: int
    output_file_id: str | None
    error_file_id: str | None

    def as_object(self) -> dict[str, Any]:
        """Give it as OpenAI's clients expect it."""
        names = (
            "in_progress", "finalizing", "completed", "failed", "expired", "cancelling",
            "cancelled",
        )  # fmt: skip
        return {
            "id": self.id, "object": "batch", "endpoint": self.endpoint,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.input_file_id, "completion_window": self.completion_window,
            "status": self.status, "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id, "created_at": self.created_at,
            "expires_at": self.expires_at,
            **{f"{name}_at": self.times.get(name) for name in names},
            "request_counts": {
                "total": self.total, "completed": self.completed, "failed": self.failed,
            },
            "metadata": self.metadata,
        }  # fmt: skip


class Waiting(NamedTuple):
    """A line that is still to be run."""

    number: int
    custom_id: str
    body: bytes


class Result(NamedTuple):
    """What a line came to; `text` is the line of the file that says so."""

    number: int
    is_good: bool
    text: bytes


class Jobs:
    """All batches. It blocks: call it from a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.files = Files(database)

    # -- what callers do ---------------------------------------------------------------------

    def add(self, batch_id: str, owner: str, new: NewBatch, now: float) -> Batch:
        """Take in a batch; its file is looked at by whoever runs it."""
        self._database.run(
            "INSERT INTO batches VALUES"
            " (?, ?, ?, ?, ?, ?, 'validating', '[]', '{}', ?, ?, 0, 0, 0, NULL, NULL, '', 0)",
            batch_id, owner, new.endpoint, new.input_file_id, new.completion_window,
            json.dumps(new.metadata), int(now), int(now) + WINDOW_S,
        )  # fmt: skip
        found = self.find(batch_id, owner)
        assert found is not None
        return found

    def find(self, batch_id: str, owner: str) -> Batch | None:
        """Give one of the owner's batches."""
        rows = self._database.run(
            "SELECT * FROM batches WHERE id = ? AND owner = ?", batch_id, owner
        )
        return _batch(rows[0]) if rows else None

    def page(self, owner: str, after: str, limit: int) -> list[Batch]:
        """Give up to `limit` of the owner's batches, the newest first."""
        values = (owner, after, after, after, after, min(limit, PAGE_MAX))
        rows = self._database.run(_PAGE, *values)
        return [_batch(row) for row in rows]

    def unfinished(self, owner: str) -> int:
        """Give how many batches of an owner are not finished."""
        return int(
            self._database.run(
                "SELECT COUNT(*) FROM batches WHERE owner = ? AND status IN (?, ?, ?)",
                owner, *UNFINISHED,
            )[0][0]
        )  # fmt: skip

    def cancel(self, batch_id: str, now: float) -> None:
        """Ask for an end; whoever runs it sees to it."""
        with self._database.transaction():
            self._become(batch_id, "cancelling", now, "validating", "in_progress")

    # -- what its runner does ----------------------------------------------------------------

    def claim(self, runner: str, now: float, most: int, most_own: int) -> list[Batch]:
        """Take over batches that nobody runs; give all that are ours.

        There are up to `most` in all and `most_own` of one owner; owners have their turns.
        """
        with self._database.transaction():
            mine = self._database.run(
                "UPDATE batches SET leased_until = ? WHERE runner = ? AND status IN (?, ?, ?)"
                " RETURNING id",
                now + LEASE_S, runner, *UNFINISHED,
            )  # fmt: skip
            free = self._database.run(
                _FREE, runner, *UNFINISHED, runner, now,
                runner, most_own, max(most - len(mine), 0),
            )  # fmt: skip
            for (batch_id,) in free:
                self._database.run(
                    "UPDATE batches SET runner = ?, leased_until = ? WHERE id = ?"
                    " AND leased_until < ?",
                    runner, now + LEASE_S, batch_id, now,
                )  # fmt: skip
        rows = self._database.run(
            "SELECT * FROM batches WHERE runner = ? AND status IN (?, ?, ?)"
            " ORDER BY created_at, id",
            runner, *UNFINISHED,
        )  # fmt: skip
        return [_batch(row) for row in rows]

    def release(self, runner: str) -> None:
        """Let another go on with what this one ran."""
        self._database.run("UPDATE batches SET leased_until = 0 WHERE runner = ?", runner)

    def begin(self, batch_id: str, lines: list[Line], wrong: list[Mistake], now: float) -> None:
        """Lay out a batch's lines, or fail it with what is wrong with its file."""
        with self._database.transaction():
            self._database.run("DELETE FROM batch_lines WHERE batch_id = ?", batch_id)
            if wrong:
                errors = json.dumps(
                    [
                        {"code": one.code, "message": one.message, "line": one.line,
                         "param": one.param}
                        for one in wrong
                    ]
                )  # fmt: skip
                self._database.run("UPDATE batches SET errors = ? WHERE id = ?", errors, batch_id)
                self._become(batch_id, "failed", now)
                return
            self._database.run_many(
                "INSERT INTO batch_lines VALUES (?, ?, ?, ?, 0, ?)",
                [
                    (batch_id, number, line.custom_id, bytes(line.body), b"")
                    for number, line in enumerate(lines)
                ],
            )
            self._database.run("UPDATE batches SET total = ? WHERE id = ?", len(lines), batch_id)
            self._become(batch_id, "in_progress", now, "validating")

    def waiting(self, batch_id: str, after: int, limit: int) -> list[Waiting]:
        """Give lines that are to be run, in order, those beyond number `after`."""
        rows = self._database.run(
            "SELECT number, custom_id, body FROM batch_lines WHERE batch_id = ? AND state = 0"
            " AND number > ? ORDER BY number LIMIT ?",
            batch_id, after, limit,
        )  # fmt: skip
        return [Waiting(row[0], row[1], bytes(row[2])) for row in rows]

    def save(self, batch_id: str, runner: str, results: Iterable[Result]) -> bool:
        """Write down what lines came to; False if the batch is no longer this runner's."""
        with self._database.transaction():
            if not self._database.run(
                "SELECT 1 FROM batches WHERE id = ? AND runner = ?", batch_id, runner
            ):
                return False
            counts = [0, 0]
            for one in results:
                changed = self._database.run(
                    "UPDATE batch_lines SET state = ?, result = ? WHERE batch_id = ?"
                    " AND number = ? AND state = 0 RETURNING number",
                    DONE if one.is_good else FAILED, one.text, batch_id, one.number,
                )  # fmt: skip
                counts[one.is_good] += len(changed)
            self._database.run(
                "UPDATE batches SET failed = failed + ?, completed = completed + ? WHERE id = ?",
                *counts, batch_id,
            )  # fmt: skip
        return True

    def finish(
        self, batch: Batch, status: str, names: tuple[str, str], missing: str, now: float
    ) -> None:
        """Make the files of results, and end the batch as `completed`, `expired`, `cancelled`.

        `names` are the ids of the two files. Lines that were not run are told as `missing`, one of
        OpenAI's codes, if it is not empty.
        """
        with self._database.transaction():
            if missing:
                self._give_up(batch.id, missing)
            made: list[str | None] = []
            for state, file_id, what in zip(
                (DONE, FAILED), names, ("output", "error"), strict=True
            ):
                has_any = self._database.run(
                    "SELECT 1 FROM batch_lines WHERE batch_id = ? AND state = ? LIMIT 1",
                    batch.id, state,
                )  # fmt: skip
                made.append(file_id if has_any else None)
                if has_any:
                    name = f"{batch.id}_{what}.jsonl"
                    pieces = self._results(batch.id, state)
                    self.files.put(file_id, batch.owner, name, "batch_output", pieces, now)
            self._database.run(
                "UPDATE batches SET output_file_id = ?, error_file_id = ? WHERE id = ?",
                *made, batch.id,
            )  # fmt: skip
            self._become(batch.id, status, now)
            self._database.run("DELETE FROM batch_lines WHERE batch_id = ?", batch.id)

    def delete_old(self, before: float) -> None:
        """Forget batches that ended and files that are from before a time."""
        self._database.run(
            "DELETE FROM batches WHERE created_at < ? AND status NOT IN (?, ?, ?)",
            int(before), *UNFINISHED,
        )  # fmt: skip
        self.files.delete_old(before)

    # -- within ------------------------------------------------------------------------------

    def _become(self, batch_id: str, status: str, now: float, *only: str) -> None:
        """Move on to another status, from `only` these where they are given."""
        rows = self._database.run("SELECT status, times FROM batches WHERE id = ?", batch_id)
        if rows and (not only or rows[0][0] in only):
            times = json.dumps(json.loads(rows[0][1]) | {status: int(now)})
            self._database.run(
                "UPDATE batches SET status = ?, times = ? WHERE id = ?", status, times, batch_id
            )

    def _give_up(self, batch_id: str, code: str) -> None:
        """Say of the lines that were not run why they never will be."""
        what = "expired before it could be run" if code == "batch_expired" else "was cancelled"
        after = -1
        while lines := self.waiting(batch_id, after, CHUNK):
            after = lines[-1].number
            for line in lines:
                text = json.dumps({
                    "id": f"batch_req_{batch_id}_{line.number}", "custom_id": line.custom_id,
                    "response": None, "error": {"code": code, "message": f"This request {what}."},
                })  # fmt: skip
                self._database.run(
                    "UPDATE batch_lines SET state = ?, result = ? WHERE batch_id = ?"
                    " AND number = ?",
                    FAILED, text.encode(), batch_id, line.number,
                )  # fmt: skip

    def _results(self, batch_id: str, state: int) -> Iterator[bytes]:
        after = -1
        while rows := self._database.run(
            "SELECT number, result FROM batch_lines WHERE batch_id = ? AND state = ?"
            " AND number > ? ORDER BY number LIMIT ?",
            batch_id, state, after, RESULTS_CHUNK,
        ):  # fmt: skip
            after = rows[-1][0]
            for _, result in rows:
                yield bytes(result) + b"\n"


def _batch(row: Row) -> Batch:
    """Give a row of the table, whose columns begin with the fields of a batch."""
    values = list(row[: len(Batch._fields)])
    for place in (5, 7, 8):  # metadata, errors, times
        values[place] = json.loads(values[place])
    return Batch(*values)
