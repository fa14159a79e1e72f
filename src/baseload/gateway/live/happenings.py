"""What has happened, in the order in which it did, in words?

A diary for whoever is called at night: failovers and resumes, lights that turned, breakers that
opened, backends that came and went, what operators did. It is short, since nobody reads more, and
a storm must not wash it away: what happens many times becomes one line with a count, every ten
seconds as long as it lasts.

Lights and breakers are not listened to; how they stand is compared once a second, so a change that
was taken back within a second is not told.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from baseload.core.breaker import ASLEEP, CLOSED, OPEN
from baseload.core.gate import Gate
from baseload.core.overload import GREEN, RED, Level
from baseload.core.seat import Seat

KEPT_MAX = 200
"""Lines of the diary: more than an operator scrolls through, some tens of kilobytes."""
PENDING_MAX = 64
"""Different things of a second; what goes beyond is told as one."""
REPEAT_S = 10.0
"""What goes on and on is told at once, and then every so often with its count."""
REASON_MAX = 200
"""Characters of a backend's own words that are kept."""

GOOD, NOTE, WARN, BAD = "good", "note", "warn", "bad"


class Happening(msgspec.Struct, frozen=True):
    """One line. `at` is in seconds since 1970, `tick` the sample it was written with.

    `kind` is `failover`, `resume`, `breaker`, `level`, `backend`, `operator`, `engine`, `worker` or
    `alarm`; `tone` is `good`, `note`, `warn` or `bad`.
    """

    tick: int
    at: float
    kind: str
    tone: str
    words: str
    backend: str = ""
    count: int = 1


_Way = tuple[str, str, str]
"""What moved, from where, to where."""


class _Stand(msgspec.Struct, frozen=True):
    """How a backend stood at the last look."""

    is_up: bool
    is_left_alone: bool
    is_asleep: bool
    level: Level


class _Pending(msgspec.Struct):
    """What has happened since the last look, some times over."""

    kind: str
    source: str
    target: str
    reason: str
    count: int = 0


class Happenings:
    """The diary of one gateway."""

    def __init__(self, gate: Gate) -> None:
        self.kept: deque[Happening] = deque(maxlen=KEPT_MAX)
        self._gate = gate
        self._pending: dict[_Way, _Pending] = {}
        self._told: dict[_Way, float] = {}
        """When what still goes on was told last."""
        self._notes: deque[tuple[str, str, str, str]] = deque(maxlen=PENDING_MAX)
        self._stands: dict[str, _Stand] = {}

    def since(self, tick: int) -> list[Happening]:
        """Give the lines that were written after a tick."""
        return [one for one in self.kept if one.tick > tick]

    # -- as it happens -----------------------------------------------------------------------

    def moved(self, kind: str, source: str, target: str, reason: str) -> None:
        """Hear that a call or an answer went from one backend to another."""
        key = (kind, source, target)
        found = self._pending.get(key)
        if found is None:
            if len(self._pending) >= PENDING_MAX:
                key = (kind, "several backends", "others")
            found = self._pending.setdefault(key, _Pending(kind, key[1], key[2], ""))
        found.reason = reason
        found.count += 1

    def note(self, kind: str, tone: str, words: str, backend: str = "") -> None:
        """Take a line as it is, to be written at the next look."""
        self._notes.append((kind, tone, words, backend))

    # -- once a second -----------------------------------------------------------------------

    def look(self, tick: int, at: float) -> None:
        """Write down what has happened, and what has changed."""
        for kind, tone, words, backend in self._notes:
            self.kept.append(Happening(tick, at, kind, tone, words, backend))
        self._notes.clear()
        self._tell_moves(tick, at)
        before, self._stands = self._stands, {}
        for name, seat in self._gate.seats.items():
            self._stands[name] = after = _stand(seat)
            if name in before and before[name] != after:
                for kind, tone, words in _changes(name, seat, before[name], after):
                    self.kept.append(Happening(tick, at, kind, tone, words, name))

    def _tell_moves(self, tick: int, at: float) -> None:
        told = self._told
        for way in [way for way, last in told.items() if not 0 <= at - last < REPEAT_S]:
            del told[way]
        for way in [way for way in self._pending if way not in told]:
            one = self._pending.pop(way)
            told[way] = at
            tone = GOOD if one.kind == "resume" else WARN
            line = Happening(tick, at, one.kind, tone, _words(one), one.source, one.count)
            self.kept.append(line)


def _stand(seat: Seat) -> _Stand:
    phase = seat.breaker.phase
    is_asleep = phase is ASLEEP
    return _Stand(seat.is_up, not (phase is CLOSED or is_asleep), is_asleep, seat.detector.level)


def _words(one: _Pending) -> str:
    reason = f": {one.reason[:REASON_MAX]}" if one.reason else ""
    if one.kind == "resume":
        what = "An answer" if one.count == 1 else f"{one.count} answers"
        where = "there again" if one.source == one.target else f"at {one.target}"
        return f"{what} that broke off at {one.source} went on {where}{reason}"
    what = "A call" if one.count == 1 else f"{one.count} calls"
    return f"{what} failed at {one.source} and went to {one.target}{reason}"


def _changes(
    name: str, seat: Seat, before: _Stand, after: _Stand
) -> Iterable[tuple[str, str, str]]:
    if before.is_up != after.is_up:
        yield ("backend", GOOD, f"{name} is up") if after.is_up else (
            "backend", BAD, f"{name} is down"
        )  # fmt: skip
    if before.is_left_alone != after.is_left_alone:
        if not after.is_left_alone:
            yield "breaker", GOOD, f"{name} answers again and gets its calls back in steps"
        elif seat.breaker.phase is OPEN:
            yield "breaker", BAD, f"{name} failed too often and is left alone for a while"
        else:
            yield "breaker", WARN, f"{name} failed too often and is being tried with one call"
    if after.is_asleep and not before.is_asleep:
        yield "breaker", WARN, f"{name} is asleep: nobody is there, and calls wait for it"
    elif before.is_asleep and not after.is_asleep and not after.is_left_alone:
        yield "breaker", GOOD, f"{name} has come up"
    if before.level != after.level:
        why = f": {seat.detector.reason}" if seat.detector.reason else ""
        words = f"{name} turned from {before.level.name.lower()} to {after.level.name.lower()}"
        tone = BAD if after.level is RED else GOOD if after.level is GREEN else WARN
        yield "level", tone, words + why
