"""Who used what, written down for every finished call: how, without keeping a call waiting?

The event loop puts a row into a list and goes on. A thread takes what has gathered, fifty times a
second, and writes it, a batch in each transaction. So a process that is killed loses what came
after the last commit, less than a tenth of a second ago, and one that stops in good order nothing.

A database that cannot be written (a full disk, a server that is down, a file that was removed)
stops no call. Rows wait in memory up to a bound, an alarm says since when and why, and once it
works again they are written. If a commit's answer was lost on the way, the ledger looks whether the
batch is there before it tries again: one row of it tells of all, and no row is written twice.

Not here: what stands in a row (`entry`), what is asked of them (`usage`), and what calls cost
(`gateway.books`).
"""

import logging
from threading import Event, Thread
from time import monotonic, time

import msgspec

from baseload.core.card import DAY_S
from baseload.store.database import APPEND_MAX, Database
from baseload.store.entry import Entry
from baseload.store.urls import DatabaseError, RefusedError

WRITE_S = 0.02
"""From one batch to the next: a fifth of what a killed process may lose, as writing takes time too,
and threads wait for each other. Rows that are written soon are still in the processor's cache."""
RETRY_S = 0.5
"""Between two tries to write, while it fails."""
ROWS_MAX = 200_000
"""Rows that may wait for the database: four minutes of 800 calls a second, some 150 MB."""
STUCK_S = 5.0
"""A database that takes longer than this for one batch is as good as down."""
CLOSE_S = 10.0
"""How long closing waits for the last rows to be written."""
PRUNE_S = 60.0
"""Between two looks for rows that are too old."""
PRUNE_ROWS = 5000
"""Old rows that are deleted in one transaction: well below a tenth of a second."""

_COLUMNS = tuple("key_name" if field == "key" else field for field in Entry.__struct_fields__)

logger = logging.getLogger("baseload.store")


class Alarm(msgspec.Struct, frozen=True):
    """Rows are not being written."""

    since: float
    """Seconds since 1970."""
    reason: str


class Ledger:
    """One process's ledger. Raises `DatabaseError` if the database cannot be opened."""

    def __init__(self, url: str, keep_days: int = 0) -> None:
        """`keep_days` is after how many days rows are deleted; 0: never."""
        self.where = ""
        self.written = 0
        """Rows that are in the database."""
        self.lost = 0
        """Rows that came while the buffer was full, that the database refused for what stood in
        them, or that were still waiting when the ledger was closed."""
        self.pruned = 0
        """Old rows that were deleted."""
        self._rows: list[Entry] = []
        """What waits. Taken from the front, and only after it was written; added to at the end.
        Each of these is one step under the interpreter's lock, so neither side takes another."""
        self._keep_s = keep_days * DAY_S
        self._failing: Alarm | None = None
        self._asked_at = 0.0
        """When the database was given the batch that is being written; 0 if there is none."""
        self._retried = 0
        """How many rows the batch had whose fate is not known."""
        self._singly = 0
        """How many rows are written one by one, as one of them is refused."""
        self._prune_at = monotonic()
        self._stop, self._give_up = Event(), Event()
        self._database = Database(url)
        self.where = self._database.where
        self._thread = Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    # -- the event loop's side ---------------------------------------------------------------

    def enter(self, entry: Entry) -> None:
        """Take a row. Never blocks, never raises."""
        rows = self._rows
        if len(rows) < ROWS_MAX:
            rows.append(entry)
        else:
            self.lost += 1

    @property
    def waiting(self) -> int:
        """How many rows are not written yet."""
        return len(self._rows)

    @property
    def alarm(self) -> Alarm | None:
        """Why rows are not being written, if they are not."""
        if (failing := self._failing) is not None:
            return failing
        asked_at = self._asked_at
        if asked_at and (stuck_s := monotonic() - asked_at) > STUCK_S:
            return Alarm(time() - stuck_s, f"{self.where}: no answer for {stuck_s:.0f} s")
        if len(self._rows) >= ROWS_MAX:
            return Alarm(time(), f"{self.where}: more rows come than it takes")
        return None

    def close(self, wait_s: float = CLOSE_S) -> None:
        """Write what waits, for so long at most; nothing may be entered any more. Blocks."""
        self._stop.set()
        self._thread.join(wait_s)
        self._give_up.set()
        if self._thread.is_alive() and self._failing is not None:
            self._thread.join(RETRY_S)
        if left := len(self._rows):
            self.lost += left
            logger.error("the ledger is closed and %d rows are lost: %s", left, self.alarm)

    # -- the thread's side -------------------------------------------------------------------

    def _work(self) -> None:
        pause_s = WRITE_S
        while not self._stop.wait(pause_s):
            began = monotonic()
            is_well = self._write()
            if is_well and began >= self._prune_at:
                self._prune(began)
            pause_s = max(WRITE_S - (monotonic() - began), 0.0) if is_well else RETRY_S
        while not self._write() and not self._give_up.wait(RETRY_S):
            pass
        self._database.close()

    def _write(self) -> bool:
        """Write all that waits; say whether that worked. Never raises."""
        rows = self._rows
        while rows:
            batch = rows[: self._retried or (1 if self._singly else APPEND_MAX)]
            self._asked_at = monotonic()
            try:
                self._write_batch(batch)
            except RefusedError as error:
                if len(batch) > 1:
                    self._retried, self._singly = 0, len(batch)
                    continue
                self.lost += 1
                logger.error("a row is lost: %s", error)  # noqa: TRY400 - it says what is wrong
            except DatabaseError as error:
                self._retried = len(batch)
                self._fail(str(error))
                return False
            except Exception as error:
                self._retried = len(batch)
                logger.exception("the ledger failed in an unforeseen way")
                self._fail(repr(error))
                return False
            else:
                self.written += len(batch)
            finally:
                self._asked_at = 0.0
            self._retried = 0
            self._singly = max(self._singly - len(batch), 0)
            del rows[: len(batch)]
        self._recover()
        return True

    def _write_batch(self, batch: list[Entry]) -> None:
        """Write rows in one transaction, unless that happened already."""
        if not self._retried or not self._has(batch[0]):
            self._database.append("calls", _COLUMNS, [_row(entry) for entry in batch])

    def _has(self, entry: Entry) -> bool:
        """Whether a row is in the database: nobody else has its id and its time to the last bit."""
        sql = "SELECT 1 FROM calls WHERE at = ? AND request_id = ?"
        return bool(self._database.run(sql, entry.at, entry.request_id))

    def _fail(self, reason: str) -> None:
        """Raise the alarm, or go on with it."""
        if self._failing is None:
            logger.error(
                "the ledger cannot be written: %s; calls go on, and up to %d rows are kept "
                "until it can", reason, ROWS_MAX,
            )  # fmt: skip
            self._failing = Alarm(time(), reason)
        else:
            self._failing = Alarm(self._failing.since, reason)

    def _recover(self) -> None:
        """End the alarm, if there is one."""
        if (failing := self._failing) is not None:
            self._failing = None
            logger.warning(
                "the ledger is written again, after %.0f s; %d rows are lost",
                time() - failing.since, self.lost,
            )  # fmt: skip

    def _prune(self, now: float) -> None:
        """Delete a bounded number of rows that are too old."""
        self._prune_at = now + PRUNE_S
        if not self._keep_s:
            return
        database, before = self._database, time() - self._keep_s
        try:
            bound = database.run(
                "SELECT at FROM calls WHERE at < ? ORDER BY at LIMIT 1 OFFSET ?",
                before, PRUNE_ROWS - 1,
            )  # fmt: skip
            with database.transaction():
                upto = bound[0][0] if bound else before
                gone = database.run("SELECT COUNT(*) FROM calls WHERE at <= ?", upto)[0][0]
                database.run("DELETE FROM calls WHERE at <= ?", upto)
        except DatabaseError as error:
            logger.warning("old rows of the ledger cannot be deleted: %s", error)
            return
        self.pruned += int(gone)
        if bound:
            self._prune_at = now  # There is more.


def _row(entry: Entry) -> tuple[object, ...]:
    """Give the columns; `+` makes plain integers, which both databases take without a detour."""
    return (
        entry.at, entry.request_id, entry.key, entry.api, entry.model, entry.served, entry.backend,
        entry.outcome, +entry.priority, entry.attempts, entry.resumes, +entry.is_hedged,
        +entry.is_stream, entry.queue_s, entry.first_token_s, entry.total_s, entry.prompt_tokens,
        entry.cached_tokens, entry.completion_tokens, entry.reasoning_tokens, +entry.is_estimated,
        entry.cost_usd, entry.energy_j,
    )  # fmt: skip
