"""Runs batches: patient work, done when there is room, and done once.

Each line of a batch is a call like any other, in the batch class: it waits behind all others, gives
up its permit to an urgent one, and resumes or fails over like them. A refusal for want of room is
no answer to a line; it is asked again later, with fewer at once, until the batch's day is over.
What lines come to is written down ten times a second; after a crash what was not is run again.

Each try is a call of its own: one that its key's limits let in is a request to them, and a line in
the ledger once it was sent. One that they refuse takes nothing. A line that is beyond the whole of
a limit fails at once: it would be refused for a day.

How many lines are out at once is felt for: one more for every so many that go well, half as many
after a refusal, up to what the fleet file allows. Where it is the limits of a key that refuse, only
its own batch waits: for the others there is room.

Whose batch it is, is asked again every second: without its key it ends, and limits that have
changed hold for what is left of it.

Not here: what is kept of a batch (`store.jobs`), and what callers are told of it (`filing`).
"""

import asyncio
import logging
import re
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Protocol, TypeVar
from uuid import uuid4

from baseload.apis.batch import read_lines, result_line
from baseload.apis.openai import error_body
from baseload.gateway.answering import Caller
from baseload.gateway.routes import Route
from baseload.gateway.server import Busy
from baseload.gateway.tenants import Tenant
from baseload.store.jobs import Batch, Jobs, Result, Waiting

LOOK_S = 1.0
"""How often it is looked whether there is something to run."""
FLUSH_S = 0.1
"""How much of the latest a crash makes run again."""
BATCHES_MAX = 16
"""Batches that one gateway runs beside each other; the others wait their turn."""
OWN_BATCHES_MAX = 4
"""Of one owner: whose limits are used up for the day must leave room for others."""
QUEUED_MAX = 256
"""Lines of one batch that are read ahead."""
ROOM_START = 4.0
TRIES_MAX = 5
"""How often a line may fail by a fault of backends; refusals for want of room do not count."""
REST_S = 1.0
"""The pause after a refusal that does not name one."""
REST_S_MAX = 60.0
ANSWER_BYTES_MAX = 16 << 20
STOP_S_MAX = 10.0
"""How long the last results of a stopping gateway may take to be written."""
SWEEP_S = 3600.0
NO_ROOM = 507
_NO_ROOM_BODY = error_body(
    "There is no room to keep this answer: delete files, or ask for less.",
    "invalid_request_error", "too_much_kept", None, "",
)  # fmt: skip
_WANT_OF_ROOM = frozenset((408, 429, 503))
_RETRY_AFTER = re.compile(rb"(?i)(?:^|\n)retry-after: *(\d+)")
_LIMITED = b"\nretry-after-ms: "
"""Stands in a refusal by limits (`quotas`), and in no other."""
_HOPELESS = b"\nx-should-retry: false"
"""Stands there, too, where it is of no use; without a time to come back it never will be."""

logger = logging.getLogger("baseload.gateway")
_T = TypeVar("_T")


class Desk(Protocol):
    """Where calls begin."""

    def ask(
        self, caller: Caller, tenant: Tenant, route: Route, body: bytes, wish: bytes,
        request_id: bytes,
    ) -> None:  # fmt: skip
        """Begin a call, or refuse it."""

    def route_of(self, path: bytes) -> Route | None:
        """Say how a path is answered."""

    def tenant_of(self, owner: str) -> Tenant | None:
        """Give whose key has this name now; None if there is no such key any more."""


class LineCall:
    """One line of a batch while it is out: the caller of its call."""

    def __init__(self, runner: "Runner", work: "_Work", line: Waiting, request_id: bytes) -> None:
        self.busy: Busy | None = None
        self.work, self.line, self.request_id = work, line, request_id
        self._runner = runner
        self._status, self._head, self._pieces, self._bytes = 0, b"", [b""], 0

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """Take a whole answer."""
        self.busy = None
        self._runner.heard(self, status, head, body)

    def begin(self, status: int, head: bytes, first: bytes) -> None:
        """Take the beginning of one that is too large to come at once."""
        self._status, self._head = status, head
        self.write(first)

    def write(self, body: bytes) -> None:
        """Take more of it."""
        self._bytes += len(body)
        self._pieces.append(body)
        if self._bytes > ANSWER_BYTES_MAX and (busy := self.busy) is not None:
            self.abort()
            busy.caller_gone()

    def end(self, last: bytes) -> None:
        """Take the end of it."""
        self.answer(self._status, self._head, b"".join([*self._pieces, last]))

    def abort(self) -> None:
        """Hear that it broke off."""
        self.answer(502, b"", b'{"error": {"message": "The answer broke off."}}')


class _Work:
    """One batch that is run here."""

    def __init__(
        self, batch: Batch, tenant: Tenant, route: Route, kept_bytes: int, room: float
    ) -> None:
        self.batch, self.tenant, self.route = batch, tenant, route
        self.kept_bytes = kept_bytes
        """What its owner keeps here, its own results included."""
        self.room = room
        """How many of its lines its key's limits may let be out at once, as felt for."""
        self.rest_until = -inf
        """It was refused for want of room, or by its key's limits, which are no one else's."""
        self.queue: deque[Waiting] = deque()
        self.read_to = -1
        self.is_read = False
        self.out: dict[int, LineCall] = {}
        self.results: list[Result] = []
        self.tries: Counter[int] = Counter()

    def belong_to(self, tenant: Tenant, room: float) -> None:
        """Hear whose it is now; by other limits there may be room at once."""
        if tenant.scopes != self.tenant.scopes:
            self.rest_until, self.room = -inf, room
        self.tenant = tenant

    def has_turn(self, now: float) -> bool:
        """Whether a line of it may go out now."""
        return bool(self.queue) and now >= self.rest_until and len(self.out) < int(self.room)


class Runner:
    """All batches that this gateway runs. Make it inside the loop; `start` and `stop` it."""

    def __init__(
        self, jobs: Jobs, desk: Desk, concurrency: int, keep_s: float, thread: ThreadPoolExecutor,
        storage_bytes: int,
    ) -> None:  # fmt: skip
        """`thread` is where the store is called; it must have a single one.

        `storage_bytes` is what one owner may keep; results beyond it are not kept.
        """
        self._storage_bytes = storage_bytes
        self.jobs = jobs
        self.room = min(ROOM_START, concurrency)
        """How many lines may be out at once, as felt for."""
        self._desk = desk
        self._concurrency = concurrency
        self._keep_s = keep_s
        self._thread = thread
        self._loop = asyncio.get_running_loop()
        self._name = uuid4().hex
        self._works: dict[str, _Work] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._looked_at = self._swept_at = -inf

    @property
    def in_flight(self) -> int:
        """How many lines are out; asked from any thread."""
        return sum(len(work.out) for work in list(self._works.values()))

    @property
    def batches(self) -> int:
        """How many batches are run here; asked from any thread."""
        return len(self._works)

    def start(self) -> None:
        """Begin to run what there is."""
        self._task = self._loop.create_task(self._run())

    def wake(self) -> None:
        """Hear that there may be something new."""
        self._looked_at = -inf
        self._wake.set()

    def pause(self) -> None:
        """Send no more lines out; those that are out may end."""
        self._is_stopping = True

    async def stop(self) -> None:
        """Write down the last results, and leave the rest to another."""
        self._is_stopping = True
        for work in self._works.values():
            self._abandon(work)
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=STOP_S_MAX)
            self._task.cancel()

    # -- lines -------------------------------------------------------------------------------

    def heard(self, call: LineCall, status: int, head: bytes, body: bytes) -> None:
        """Hear what one line came to; it may be asked again."""
        work, line = call.work, call.line
        if work.out.pop(line.number, None) is not call:
            return
        if status < 400:
            self.room = min(self.room + 1.0 / self.room, self._concurrency)
            work.room = min(work.room + 1.0 / work.room, self._concurrency)
            # It has given back what it did not use: perhaps that is enough for the next.
            work.rest_until = min(work.rest_until, self._loop.time() + REST_S)
        elif self._may_try_again(work, line, status, head):
            work.queue.append(line)
            return
        name = f"batch_req_{work.batch.id}_{line.number}"
        request_id = call.request_id.decode()
        text = result_line(name, line.custom_id, status, request_id, body)
        if work.kept_bytes + len(text) > self._storage_bytes:
            status = NO_ROOM
            text = result_line(name, line.custom_id, status, request_id, _NO_ROOM_BODY)
        work.kept_bytes += len(text)
        work.results.append(Result(line.number, status < 400, text))
        self._loop.call_soon(self._launch)

    def _may_try_again(self, work: _Work, line: Waiting, status: int, head: bytes) -> bool:
        if status in _WANT_OF_ROOM:
            found, now = _RETRY_AFTER.search(head), self._loop.time()
            if found is None and _HOPELESS in head:
                return False
            wish_s = float(found[1]) if found else REST_S
            if _LIMITED not in head:
                self.room = max(1.0, self.room / 2)
            elif now >= work.rest_until:  # Of those that were refused together, the first.
                work.room = max(1.0, work.room / 2)
            work.rest_until = now + min(max(wish_s, REST_S), REST_S_MAX)
            return True
        work.tries[line.number] += 1
        return status >= 500 and work.tries[line.number] < TRIES_MAX

    def _launch(self) -> None:
        """Send lines out while there is room, of each batch in turn."""
        now = self._loop.time()
        works = deque(work for work in self._works.values() if work.has_turn(now))
        room = int(self.room) - self.in_flight
        while works and room > 0 and not self._is_stopping:
            work = works.popleft()
            line = work.queue.popleft()
            request_id = f"{work.batch.id}-{line.number}".encode()
            call = work.out[line.number] = LineCall(self, work, line, request_id)
            self._desk.ask(call, work.tenant, work.route, line.body, b"batch", request_id)
            room -= 1
            if work.has_turn(now):
                works.append(work)

    def _abandon(self, work: _Work) -> None:
        """Want no more of the lines that are out; they are still to be run."""
        out, work.out = list(work.out.values()), {}
        work.queue.extend(call.line for call in out)
        for call in out:
            if call.busy is not None:
                call.busy.caller_gone()

    # -- batches -----------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                await self._step()
            except Exception:
                logger.exception("batches: a look failed; it is tried again")
            if self._is_stopping and not self.in_flight:
                break
            self._wake.clear()
            pause_s = FLUSH_S if self._works else LOOK_S
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
        await self._flush()
        await self._in_thread(self.jobs.release, self._name)

    async def _step(self) -> None:
        """Write down what there is, see what is to be run, and send it out."""
        await self._flush()
        if self._is_stopping:
            return  # What is not done now is the next one's to go on with, and to finish.
        now = self._loop.time()
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            batches = await self._in_thread(
                self.jobs.claim, self._name, time.time(), BATCHES_MAX, OWN_BATCHES_MAX
            )
            await self._take_up(batches)
            if now - self._swept_at >= SWEEP_S:
                self._swept_at = now
                await self._in_thread(self.jobs.delete_old, time.time() - self._keep_s)
        for work in list(self._works.values()):
            await self._go_on(work)
        self._launch()

    async def _flush(self) -> None:
        for work in list(self._works.values()):
            await self._write_down(work)

    async def _write_down(self, work: _Work) -> None:
        """Write down what lines of one batch came to."""
        results, work.results = work.results, []
        if not results:
            return
        try:
            is_ours = await self._in_thread(self.jobs.save, work.batch.id, self._name, results)
        except Exception:
            work.results = results + work.results  # A full disk, say: it is tried again.
            raise
        if not is_ours:
            self._abandon(work)
            self._works.pop(work.batch.id, None)

    async def _take_up(self, batches: list[Batch]) -> None:
        """Begin what is new, and drop what is another's by now."""
        ours = {batch.id for batch in batches}
        for batch_id in [batch_id for batch_id in self._works if batch_id not in ours]:
            self._abandon(self._works.pop(batch_id))
        for batch in batches:
            work, tenant = self._works.get(batch.id), self._desk.tenant_of(batch.owner)
            route = self._desk.route_of(batch.endpoint.encode())
            if tenant is None or route is None:
                await self._end_early(batch, work, "cancelled")
            elif work is not None:
                work.batch = batch
                work.belong_to(tenant, self._concurrency)
            else:
                route = route._replace(api="batch")
                kept = await self._in_thread(self.jobs.files.bytes_of, batch.owner)
                self._works[batch.id] = _Work(batch, tenant, route, kept, self._concurrency)

    async def _go_on(self, work: _Work) -> None:
        """Bring one batch a step further."""
        batch = work.batch
        if batch.status == "cancelling" or time.time() >= batch.expires_at:
            status = "cancelled" if batch.status == "cancelling" else "expired"
            await self._end_early(batch, work, status)
        elif batch.status == "validating":
            await self._in_thread(self._lay_out, batch)
            self._looked_at = -inf
            del self._works[batch.id]  # It is taken up anew with its lines, or has failed.
        elif not work.is_read and len(work.queue) < QUEUED_MAX // 2:
            lines = await self._in_thread(self.jobs.waiting, batch.id, work.read_to, QUEUED_MAX)
            work.queue.extend(lines)
            work.is_read = len(lines) < QUEUED_MAX
            work.read_to = lines[-1].number if lines else work.read_to
        elif work.is_read and not (work.queue or work.out or work.results):
            del self._works[batch.id]
            await self._finish(batch, "completed", "")

    async def _end_early(self, batch: Batch, work: _Work | None, status: str) -> None:
        """Leave what is out, keep what is done, and say of the rest why it never will be."""
        if work is not None:
            self._abandon(work)
            work.queue.clear()
            await self._write_down(work)
            if self._works.pop(batch.id, None) is None:
                return  # It was no longer ours.
        await self._finish(batch, status, f"batch_{status}")

    def _lay_out(self, batch: Batch) -> None:
        content = b"".join(self.jobs.files.parts(batch.input_file_id))
        lines, wrong = read_lines(content, batch.endpoint)
        self.jobs.begin(batch.id, lines, wrong, time.time())

    async def _finish(self, batch: Batch, status: str, missing: str) -> None:
        names = (f"file-{uuid4().hex}", f"file-{uuid4().hex}")
        await self._in_thread(self.jobs.finish, batch, status, names, missing, time.time())
        logger.info("batch %s: %s", batch.id, status)

    async def _in_thread(self, call: Callable[..., _T], *args: object) -> _T:
        return await self._loop.run_in_executor(self._thread, call, *args)
