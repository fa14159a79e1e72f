"""What were the last minutes like, second by second?

A nurse's chart: once a second the counters are read, and what is new since the last look becomes
one sample. Nothing is counted for it that would not be counted anyway but for two finer histograms
(`buckets`); of each backend the last minute is kept as well, and its last errors.

A call's time between tokens is a mean: from its first token to its end, divided by the events that
came after the first. So a call counts once, at its end, however long its answer was, and one pause
in a long answer hardly shows; the stall clock is for those.

Not here: what happened (`happenings`), what it means (`headline`), what it cost (`spending`).
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from itertools import islice

import msgspec

from baseload.core.facts import DROPPED, Fact
from baseload.core.gate import Gate
from baseload.gateway.live.buckets import EDGES_S, Percentiles, Step, percentiles, steps
from baseload.gateway.live.happenings import REASON_MAX, Happenings
from baseload.gateway.telemetry import POSTPONED, Telemetry

SAMPLES_MAX = 900
"""Seconds that are kept: a quarter of an hour shows what led to what."""
RECENT_S = 60
"""For shares and percentiles of a backend."""
BRISK_S = 10
"""For rates: short, since they say how things are now."""
ERRORS_MAX = 5
"""Different errors that are kept of a backend."""

ANSWERED, FAILED, REFUSED, OWN = "answered", "failed", "refused", "own"
REFUSALS = {
    Fact.LIMITED.label: "limit",
    Fact.SHED.label: "queue full",
    Fact.EXPIRED.label: "queue timeout",
    Fact.UNAVAILABLE.label: "no backend",
    Fact.PREEMPTED.label: "preempted",
    POSTPONED: "batch, postponed",
}
"""Facts with which calls end that were never sent, and what they are called on the page."""
GROUPS = (
    {fact.label: FAILED for fact in Fact}
    | dict.fromkeys(REFUSALS, REFUSED)
    | {Fact.DONE.label: ANSWERED, Fact.REJECTED.label: OWN, Fact.GONE.label: OWN}
)
"""`own`: the caller's own doing, who asked for what is not possible, or left."""
BLAMED = {fact.label for fact in Fact if DROPPED in (fact.breaker, fact.limit)}
"""Failures that say something of a backend."""
_STATUSES = {401: "no such key", 403: "not allowed", 429: "limit", 503: "stopping"}
"""Of requests that never became a call; all others are bad requests."""


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """One look: what ended in the `span_s` before it, and how things stood. Absent means 0.

    `at` is in seconds since 1970. Percentiles are in seconds, and absent if nothing was timed.
    """

    tick: int
    at: float
    span_s: float
    answered: int = 0
    failed: int = 0
    refused: int = 0
    own: int = 0
    refusals: dict[str, int] = {}
    first_token: Percentiles | None = None
    between_tokens: Percentiles | None = None
    waiting: int = 0
    in_flight: int = 0
    parked: int = 0


class Timing(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a sample's percentiles were made of: of several, this can be joined, and they cannot."""

    first_token: tuple[Step, ...]
    between_tokens: tuple[Step, ...]


class Error(msgspec.Struct):
    """Something that went wrong at a backend, some times over; `at` is the last time."""

    fact: str
    reason: str
    at: float
    count: int = 1


class Second(msgspec.Struct, frozen=True, gc=False):
    """What a backend did in one second."""

    attempts: int
    failures: int
    answered: int
    first_token: tuple[Step, ...]


class Recent:
    """A backend's last minute, and its last errors, the newest first."""

    def __init__(self) -> None:
        self.seconds: deque[Second] = deque(maxlen=RECENT_S)
        self.errors: deque[Error] = deque(maxlen=ERRORS_MAX)
        self._sums = [0] * (len(EDGES_S) + 1)

    def add(self, second: Second) -> None:
        """Take one more second; the oldest goes."""
        if len(self.seconds) == RECENT_S:
            for place, count in self.seconds[0].first_token:
                self._sums[place] -= count
        for place, count in second.first_token:
            self._sums[place] += count
        self.seconds.append(second)

    def failed(self, fact: str, reason: str, at: float) -> None:
        """Note an error; one that is known already is counted."""
        reason = reason[:REASON_MAX]
        for place, error in enumerate(self.errors):
            if error.fact == fact and error.reason == reason:
                error.at = at
                error.count += 1
                if place:
                    del self.errors[place]
                    self.errors.appendleft(error)
                return
        self.errors.appendleft(Error(fact, reason, at))

    def brisk(self) -> list[Second]:
        """Give the last seconds."""
        return list(islice(reversed(self.seconds), BRISK_S))

    def first_token(self) -> Percentiles | None:
        """Give the percentiles of the last minute."""
        return percentiles(self.first_tokens())

    def first_tokens(self) -> list[Step]:
        """Give the buckets in which the last minute's first tokens lie."""
        return [(place, count) for place, count in enumerate(self._sums) if count]


class Pulse:
    """What is kept of the last minutes of one gateway."""

    def __init__(self, gate: Gate, telemetry: Telemetry) -> None:
        self.tick = 0
        """Counts looks."""
        self.samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        self.timings: deque[Timing] | None = None
        """Of each sample what its percentiles were made of, if `keep_timings` was called."""
        self.happenings = Happenings(gate)
        self.recent: defaultdict[str, Recent] = defaultdict(Recent)
        """By backend; names come from the fleet alone."""
        self._gate, self._telemetry = gate, telemetry
        self._looked_at: float | None = None
        self._outcomes: dict[str, Counter[str]] = {}
        self._bad: Counter[int] = Counter()
        self._attempts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._first: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(EDGES_S) + 1))
        self._between = [0] * (len(EDGES_S) + 1)

    def keep_timings(self) -> None:
        """Keep what percentiles are made of: to be called before the first sample."""
        assert not self.samples
        self.timings = deque(maxlen=SAMPLES_MAX)

    def failed(self, backend: str, fact: Fact, reason: str, at: float) -> None:
        """Hear that an attempt was no answer."""
        self.recent[backend].failed(fact.label, reason, at)

    def look(self, now: float, in_flight: int, at: float | None = None) -> None:
        """Take a sample. `now` is on a clock that never runs back, `at` since 1970."""
        at = time.time() if at is None else at
        span_s = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        self.tick += 1
        outcomes, refusals = self._what_ended()
        first = self._each_backend(outcomes)
        new = self._telemetry.between_tokens.counts
        between, self._between = steps(self._between, new), new[:]
        groups: Counter[str] = Counter()
        for ended in outcomes.values():
            for label, count in ended.items():
                groups[GROUPS.get(label, FAILED)] += count
        bad = sum(self._new_bad(refusals))
        if span_s:  # The first look has nothing before it to be new since.
            self.samples.append(
                Sample(
                    self.tick, at, round(span_s, 3), groups[ANSWERED], groups[FAILED],
                    groups[REFUSED] + bad, groups[OWN], dict(refusals),
                    percentiles(first), percentiles(between), len(self._gate.line), in_flight,
                    sum(seat.parked for seat in self._gate.seats.values()),
                )
            )  # fmt: skip
            if self.timings is not None:
                self.timings.append(Timing(tuple(first), between))
        self.happenings.look(self.tick, at)

    def since(self, tick: int) -> list[Sample]:
        """Give the samples taken after a tick."""
        new = min(max(self.tick - tick, 0), len(self.samples))
        return list(islice(self.samples, len(self.samples) - new, None))

    # -- within ------------------------------------------------------------------------------

    def _what_ended(self) -> tuple[dict[str, Counter[str]], Counter[str]]:
        """Give what is new since the last look: outcomes by backend, and refusals by reason."""
        totals: dict[str, Counter[str]] = {}
        for (_model, backend), series in self._telemetry.all_series():
            totals.setdefault(backend, Counter()).update(series.outcomes)
        before, self._outcomes = self._outcomes, totals
        fresh = {
            backend: counts - before.get(backend, Counter()) for backend, counts in totals.items()
        }
        refusals: Counter[str] = Counter()
        for counts in fresh.values():
            for label, count in counts.items():
                if label in REFUSALS:
                    refusals[REFUSALS[label]] += count
        return fresh, refusals

    def _new_bad(self, refusals: Counter[str]) -> Iterator[int]:
        """Add requests that never became a call, by why, and give their numbers."""
        before, self._bad = self._bad, Counter(self._telemetry.refused)
        for status, count in (self._bad - before).items():
            refusals[_STATUSES.get(status, "bad request")] += count
            yield count

    def _each_backend(self, outcomes: dict[str, Counter[str]]) -> list[Step]:
        """Note what each backend did; give the first tokens of all."""
        telemetry, all_first = self._telemetry, Counter[int]()
        failures: Counter[str] = Counter()
        for (backend, fact), count in telemetry.failures.items():
            if fact in BLAMED:
                failures[backend] += count
        for name in self._gate.seats:
            counts = telemetry.first_tokens[name].counts
            first, self._first[name] = steps(self._first[name], counts), counts[:]
            attempts = telemetry.attempts[name]
            self.recent[name].add(
                Second(
                    attempts - self._attempts[name],
                    failures[name] - self._failures[name],
                    outcomes.get(name, Counter())[Fact.DONE.label],
                    first,
                )
            )
            self._attempts[name] = attempts
            for place, count in first:
                all_first[place] += count
        self._failures = failures
        return sorted(all_first.items())
