"""Does a tape's gate decide again as it did when the tape was made?

A gate is made from the setup at the tape's head, with dice from the same seed, and is fed the same
events in the same order. Every ask and every reply of every flow is compared with the recorded one,
and so are the gate's own notices, which a tape shows as what the flows were told. The first
difference ends it: what comes after follows from it.

A recording that was killed has no end. It is replayed as far as it goes, and that is said. Not
here: the world. Nothing is sent anywhere, and a decision that is not the recorded one is not
carried on with.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import BinaryIO

import msgspec

from baseload.core.facts import (
    ADMITTED,
    EXPIRED,
    PREEMPTED,
    SHED,
    UNAVAILABLE,
    Call,
    Fact,
    Told,
)
from baseload.core.flow import Flow, carry
from baseload.core.gate import Gate
from baseload.core.records import (
    Announced,
    Began,
    Decision,
    Ended,
    Event,
    Heard,
    Hedged,
    Line,
    Ordered,
    Reconfigured,
    Relayed,
    Replied,
    Saw,
    Sent,
    TapeError,
    Ticked,
)
from baseload.core.tape import (
    BLOCK_BYTES_MAX,
    BLOCK_HEAD_BYTES,
    CLOSED,
    HEAD_BYTES_MAX,
    NAME,
    TITLES,
    Head,
    block_length,
    decision,
    read_block,
    read_head,
)

STORY_LINES_MAX = 10_000
"""Lines kept of the one call whose story is wanted."""
FAILURES_MAX = 10
CUT = "cut"
"""How a tape ends that has no end."""
_NOTICES = frozenset({ADMITTED, EXPIRED, SHED, PREEMPTED, UNAVAILABLE})


class Use(msgspec.Struct):
    """What one backend was asked for."""

    attempts: int = 0
    hedges: int = 0
    resumed: int = 0
    relays: int = 0


class Difference(msgspec.Struct, frozen=True):
    """Where the gate first decided otherwise; None stands for nothing at all."""

    event: int
    """The number of the event that it followed from, counted from 1."""
    now: float
    call_id: int
    expected: Line | None
    actual: Line | None


class Verdict(msgspec.Struct):
    """What came of a replay. Times are those of the driver's clock, in seconds."""

    head: Head
    events: int = 0
    calls: int = 0
    first: float = 0.0
    last: float = 0.0
    end: str = CUT
    """`cut`, or why the recording ended."""
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    uses: dict[str, Use] = msgspec.field(default_factory=dict)
    failures: list[str] = msgspec.field(default_factory=list)
    """The first errors that core itself raised, with their events: defects, kept on tape. It then
    decided nothing, and unless there is a difference nothing was recorded either."""
    difference: Difference | None = None
    story: list[tuple[float, Line]] = msgspec.field(default_factory=list)


def replay(path: Path, call_id: int | None = None) -> Verdict:
    """Take a tape's decisions again, and keep the lines of one call if they are wanted.

    Raises TapeError for a file that is no tape or is damaged, OSError if it cannot be read.
    """
    with path.open("rb") as file:
        reader = _Reader(file)
        player = _Player(reader.head, call_id)
        try:
            _play(reader, player)
        except TapeError as error:
            events = player.verdict.events
            raise TapeError(f"{error}; the {events} events before it are as recorded") from error
    return player.verdict


def _play(reader: "_Reader", player: "_Player") -> None:
    """Play line after line, to the end of the tape or the first difference."""
    verdict = player.verdict
    for line in reader.lines():
        if verdict.end != CUT:
            raise TapeError("it goes on after its own end")
        if isinstance(line, Ended):
            verdict.end = line.why
        else:
            player.play(line)
            if verdict.difference is not None:
                return
    if verdict.end == CLOSED:
        player.finish()


class _Reader:
    """A tape's head and lines, from a file. `at` is how many bytes of it were understood."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        title = file.read(len(TITLES[0]))
        if title and not any(known.startswith(title) for known in TITLES):
            if not title.startswith(NAME):
                raise TapeError("it is no tape: these begin with `baseload tape`")
            form = title[len(NAME) :].decode("ascii", "replace").strip()
            raise TapeError(f"it is a tape of form {form}, which this version does not read")
        self.at = len(title)
        parts = self._block(HEAD_BYTES_MAX)
        if parts is None:
            raise TapeError("it ends before its head does, so there is nothing to replay")
        self.head = read_head(*parts)

    def lines(self) -> Iterator[Line]:
        """Give line after line; at a block that is not whole, the file ends."""
        while True:
            at = self.at
            try:
                parts = self._block(BLOCK_BYTES_MAX)
                if parts is None:
                    return
                lines = read_block(*parts)
            except TapeError as error:
                raise TapeError(f"it is damaged at byte {at}: {error}") from error
            yield from lines

    def _block(self, most: int) -> tuple[bytes, bytes] | None:
        head = self._file.read(BLOCK_HEAD_BYTES)
        if len(head) < BLOCK_HEAD_BYTES:
            return None
        length = block_length(head, most)
        body = self._file.read(length)
        if len(body) < length:
            return None
        self.at += len(head) + length
        return head, body


class _Player:
    """A gate and its flows, fed line by line."""

    def __init__(self, head: Head, call_id: int | None) -> None:
        self.verdict = Verdict(head, first=head.now, last=head.now)
        try:
            self._gate = Gate(head.setup, Random(head.setup.seed))  # noqa: S311 - dice, no secret
            self._models = head.setup.models
        except Exception as error:  # Whatever a setup can do wrong, this file did.
            raise TapeError(f"no gate can be made from its setup: {error!r}") from error
        self._watched = call_id
        self._flows: dict[int, Flow] = {}
        self._newest = 0
        self._given: Decision | None = None
        """What came of the latest event, until the recorded decision is compared with it."""
        self._notices: deque[tuple[int, Call, Fact]] = deque()
        """What the gate has to say, each with the event at which it said so."""

    def play(self, line: Event | Decision) -> None:
        """Feed an event, or compare a decision."""
        if isinstance(line, Decision):
            self._note(line.call_id, line)
            self._compare(line)
            return
        if self._given is not None:
            self._differ(self._given.call_id, None, self._given)
            return
        verdict = self.verdict
        verdict.events += 1
        verdict.last = line.now
        match line:
            case Heard():
                self._hear(line)
            case Began():
                self._begin(line)
            case Announced() | Saw() | Ordered():
                self._must_know(line.backend)
                self._try(lambda: self._happen(line))
            case _:
                self._try(lambda: self._happen(line))
        notices = self._gate.notices
        while notices:
            self._notices.append((verdict.events, *notices.popleft()))

    def _happen(self, line: Event) -> None:
        """Feed an event of the world."""
        gate, now = self._gate, line.now
        match line:
            case Ticked():
                gate.tick(now)
            case Announced():
                gate.announce(line.backend, line.is_up, now)
            case Saw():
                gate.observe(line.backend, line.sight(), now)
            case Ordered():
                gate.order(line.backend, line.is_open, now)
            case Reconfigured():
                self._models = line.setup.models
                gate.reconfigure(line.setup, now)

    def finish(self) -> None:
        """Compare what is left when all was recorded: nothing may be."""
        if self._given is not None:
            self._differ(self._given.call_id, None, self._given)
        elif (notice := self._next_notice()) is not None:
            event, call, fact = notice
            self._differ(call.id, None, self._as_heard(call, fact), event)

    def _begin(self, line: Began) -> None:
        call = line.call()
        if call.model not in self._models:
            raise TapeError(f"call {call.id} wants a model that its setup does not have")
        if call.id in self._flows:
            raise TapeError(f"call {call.id} begins twice")
        self._newest = max(self._newest, call.id)
        self.verdict.calls += 1
        self._note(call.id, line)
        self._flows[call.id] = carry(call, self._gate, line.now)
        self._step(call.id, None)

    def _hear(self, line: Heard) -> None:
        told = line.told()
        self._note(line.call_id, line)
        if line.call_id not in self._flows:
            if line.call_id > self._newest:
                raise TapeError(f"call {line.call_id} is told something before it begins")
            return  # A call that has ended is left alone.
        if told.fact in _NOTICES:
            notice = self._next_notice()
            said = None if notice is None else (notice[1].id, notice[2])
            if said != (line.call_id, told.fact):
                actual = None if notice is None else self._as_heard(notice[1], notice[2])
                self._differ(line.call_id, line, actual)
                return
            self._notices.popleft()
        self._step(line.call_id, told)

    def _step(self, call_id: int, told: Told | None) -> None:
        flow = self._flows[call_id]

        def step() -> None:
            try:
                ask = flow.send(told)  # type: ignore[arg-type]  # None is how a generator starts
            except StopIteration as end:
                ask = end.value
                del self._flows[call_id]
            self._given = decision(call_id, ask)

        self._try(step)

    def _compare(self, line: Decision) -> None:
        given, self._given = self._given, None
        if given != line:
            self._differ(line.call_id, line, given)
            return
        if isinstance(line, Replied):
            self.verdict.outcomes[line.fact] += 1
        elif isinstance(line, Sent | Relayed):
            use = self.verdict.uses.setdefault(line.backend, Use())
            if isinstance(line, Relayed):
                use.relays += 1
            else:
                use.attempts += 1
                use.hedges += isinstance(line, Hedged)
                use.resumed += line.is_resumed

    def _try(self, do: Callable[[], None]) -> None:
        """Feed core; an error of its own is kept, as the gateway would go on after it."""
        try:
            do()
        except Exception as error:  # noqa: BLE001 - whatever a defect raises
            self.verdict.failures.append(f"event {self.verdict.events}: {error!r}")
            del self.verdict.failures[FAILURES_MAX:]

    def _must_know(self, backend: str) -> None:
        if backend not in self._gate.seats:
            raise TapeError(f"event {self.verdict.events} is about a backend not in its setup")

    def _next_notice(self) -> tuple[int, Call, Fact] | None:
        """Give what the gate has to say next to a call that is still there."""
        notices = self._notices
        while notices and notices[0][1].id not in self._flows:
            notices.popleft()
        return notices[0] if notices else None

    def _as_heard(self, call: Call, fact: Fact) -> Heard:
        return Heard(call.id, fact.label, self.verdict.last, 0.0, "", 0.0, 0)

    def _note(self, call_id: int, line: Line) -> None:
        if call_id == self._watched and len(self.verdict.story) < STORY_LINES_MAX:
            self.verdict.story.append((self.verdict.last, line))

    def _differ(
        self, call_id: int, expected: Line | None, actual: Line | None, event: int = 0
    ) -> None:
        verdict = self.verdict
        verdict.difference = Difference(
            event or verdict.events, verdict.last, call_id, expected, actual
        )
