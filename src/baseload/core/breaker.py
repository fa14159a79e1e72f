"""When to stop asking a backend that keeps failing, and when to try it again.

Think of a fuse that mends itself: after a run of failures it opens and the backend is left alone
for a while; then a single call is let through as a probe. Only how that call *ends* decides, for a
stream that dies in its middle began well, too: if it ends well the fuse closes, if not it opens
again and for twice as long. A probe that hears nothing for that long makes room for another, since
it may be lost in a silence that is over. A backend that is back gets its traffic back in steps, and
a failure on the way up opens the fuse again at once. Calls that began before it opened and end
later say nothing: they tell of the past.

Two ways to open: failures in a row, which a dead backend reaches at once, and failures as a share,
for one that answers every other call. Envoy calls the first outlier detection; scoring at the end
of the stream is Finagle's and SMG's.

A backend that may be at zero replicas can also be *asleep*: nobody is there, and that is nobody's
fault. It is left alone for as long as it may take to come up, unless somebody sees it before; if
nobody has, one call is let through to try. Once it is up its traffic, too, comes in steps.
"""

from enum import Enum
from math import inf

from baseload.core.facts import ALIVE, DROPPED, IGNORE, SUCCESS, Lesson

FAILURES_MAX = 5
"""Failures in a row that open the breaker: one is noise, a dead backend reaches five at once."""
RATE_MAX = 0.5
"""Share of recent failures that opens it, whatever stands between them."""
RATE_WEIGHT = 0.1
RATE_SAMPLES_MIN = 10
OPEN_S_MIN = 0.5
OPEN_S_MAX = 4.0
"""A probe costs one call a failover, so looking every few seconds is cheap; being late is not."""
KEY_OPEN_S_MIN = 60.0
KEY_OPEN_S_MAX = 600.0
"""For a key that was refused: only a person brings it back to life."""
PROBE_STREAM_S = 5.0
"""A probe that has been streaming for so long has shown enough: answers may take minutes."""
PORTIONS = (0.25, 0.5, 1.0)
STEP_S = 1.0
"""A backend that is back gets a quarter of its limit, then half, then all, a second each."""


class Phase(Enum):
    """Closed lets all calls through, open none, probing one at a time; asleep none, then one."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"
    ASLEEP = "asleep"


CLOSED, OPEN, PROBING, ASLEEP = Phase


class Breaker:
    """One backend's fuse.

    `can_take` says whether a call may be sent, `portion` how much of the backend's limit is given
    to it while it recovers, `deadline` when that changes by itself, or infinity.
    """

    __slots__ = ("can_take", "deadline", "elders", "failures", "heeds_from", "is_alive", "open_s",
                 "phase", "portion", "probe", "rate", "samples")  # fmt: skip

    phase: Phase
    failures: int
    open_s: float
    probe: int | None
    can_take: bool
    deadline: float
    portion: float
    is_alive: bool
    elders: set[int]

    def __init__(self) -> None:
        self.heeds_from = -inf
        """Attempts that were sent before teach nothing."""
        self.reset()

    def settle(self, now: float) -> None:
        """Become what time alone makes of it: open turns to probing, recovering to whole."""
        while now >= self.deadline:
            if self.phase is OPEN:
                self.phase = PROBING
                self._await_probe()
            elif self.phase is ASLEEP and self.probe is None:
                self._await_probe()
            elif self.phase is not CLOSED:
                if self.is_alive:
                    self.recover(self.deadline)  # The probe has streamed for long enough.
                else:
                    assert self.probe is not None
                    self.elders.add(self.probe)
                    self._await_probe()
            else:
                step = PORTIONS.index(self.portion) + 1
                self.portion = PORTIONS[step]
                self.deadline = self.deadline + STEP_S if self.portion < 1 else inf

    def take(self, call_id: int, now: float) -> None:
        """Know that a call is being sent; while probing, or asleep, it becomes the probe."""
        assert self.can_take
        if self.phase is not CLOSED:
            self.probe, self.can_take = call_id, False
            self.deadline = now + min(self.open_s, OPEN_S_MAX)

    def learn(self, call_id: int, lesson: Lesson, taken_at: float, now: float) -> None:
        """Take the lesson of an attempt that was sent at `taken_at`.

        What was sent before the breaker last opened, or before the probe that found the backend
        well again, tells of the past and teaches nothing.
        """
        if taken_at < self.heeds_from:
            return
        if self.phase is CLOSED:
            if lesson is SUCCESS:
                self._succeeded()
            elif lesson is DROPPED:
                self._failed(now)
        elif self.probe == call_id:
            self._probed(lesson, taken_at, now)
        elif call_id in self.elders:
            self.elders.remove(call_id)
            if lesson is ALIVE or lesson is SUCCESS:
                self.probe = call_id
                self._probed(lesson, taken_at, now)

    def _succeeded(self) -> None:
        self.failures = 0
        if self.rate:
            self._weigh(0.0)
        if self.portion == 1.0:
            self.open_s = OPEN_S_MIN

    def _failed(self, now: float) -> None:
        self.failures += 1
        self._weigh(1.0)
        is_row = self.failures >= FAILURES_MAX
        is_most = self.rate > RATE_MAX and self.samples >= RATE_SAMPLES_MIN
        if is_row or is_most or self.portion < 1.0:
            self._open(now, OPEN_S_MAX)

    def _probed(self, lesson: Lesson, taken_at: float, now: float) -> None:
        if lesson is IGNORE:
            self._await_probe()  # It proved nothing, so the next call probes.
            return
        if lesson is DROPPED:
            self._open(now, OPEN_S_MAX)
            return
        self.heeds_from = taken_at
        if lesson is ALIVE:
            self.is_alive, self.can_take = True, False
            self.deadline = now + PROBE_STREAM_S
        else:
            self.recover(now)

    def kill(self, now: float) -> None:
        """Open at once and for long: the backend refuses our key."""
        self.open_s = max(self.open_s, KEY_OPEN_S_MIN)
        self._open(now, KEY_OPEN_S_MAX)

    def sleep(self, now: float, for_s: float) -> None:
        """Take no call for so long, and blame nobody: there is no process yet."""
        self.reset(now)
        self.phase, self.can_take, self.deadline = ASLEEP, False, now + for_s

    def recover(self, now: float) -> None:
        """Close, and take calls again in steps: whoever is back must not be overrun."""
        self.phase, self.failures = CLOSED, 0
        self.rate, self.samples = 0.0, 0
        self.portion, self.deadline = PORTIONS[0], now + STEP_S
        self.elders.clear()
        self._await_probe()

    def reset(self, now: float = -inf) -> None:
        """Close and forget: the backend is a new process."""
        self.phase, self.failures, self.open_s = CLOSED, 0, OPEN_S_MIN
        self.rate, self.samples = 0.0, 0
        self.portion, self.deadline = 1.0, inf
        self.elders = set()  # Earlier probes that are still out.
        self.heeds_from = max(self.heeds_from, now)
        self._await_probe()

    def _weigh(self, failed: float) -> None:
        self.samples += 1
        self.rate += RATE_WEIGHT * (failed - self.rate)
        if self.rate < RATE_WEIGHT / 100:
            self.rate, self.samples = 0.0, 0

    def _await_probe(self) -> None:
        self.probe, self.is_alive, self.can_take = None, False, True
        if self.phase is not CLOSED:
            self.deadline = inf

    def _open(self, now: float, open_s_max: float) -> None:
        """Open, never for less than was already announced."""
        until = self.deadline if self.phase is OPEN else now
        self.phase, self.failures, self.probe = OPEN, 0, None
        self.heeds_from = now
        self.elders.clear()
        self.can_take, self.deadline = False, max(until, now + self.open_s)
        self.open_s = min(self.open_s * 2, open_s_max)
