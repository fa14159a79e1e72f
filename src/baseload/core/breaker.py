"""When to stop asking a backend that keeps failing, and when to try it again.

Think of a fuse that mends itself: after a run of failures it opens and the backend is left alone
for a while; then a single call is let through as a probe. If the probe shows life, the fuse
closes; if not, it opens again and for twice as long. Calls that began before it opened and end
later say nothing: they tell of the past.

Deliberately not here: error rates over a window, and giving traffic back in steps.
"""

from enum import Enum
from math import inf

from baseload.core.facts import ALIVE, DROPPED, IGNORE, SUCCESS, Lesson

FAILURES_MAX = 5
"""Failures in a row that open the breaker: one is noise, a dead backend reaches five at once."""
OPEN_S_MIN = 1.0
OPEN_S_MAX = 30.0
"""An open breaker costs nothing while another backend answers, so being late by 30 s is cheap."""


class Phase(Enum):
    """Closed lets all calls through, open none, probing exactly one at a time."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


CLOSED, OPEN, PROBING = Phase


class Breaker:
    """One backend's fuse.

    `can_take` says whether a call may be sent, `deadline` when that changes by itself, or infinity.
    """

    __slots__ = ("can_take", "deadline", "failures", "open_s", "opened_at", "phase", "probe")

    phase: Phase
    failures: int
    open_s: float
    probe: int | None
    can_take: bool
    deadline: float

    def __init__(self) -> None:
        self.opened_at = -inf
        self.reset()

    def settle(self, now: float) -> None:
        """Become what time alone makes of it: an open breaker starts to probe."""
        if now >= self.deadline:
            self.phase, self.deadline = PROBING, inf
            self._await_probe()

    def take(self, call_id: int) -> None:
        """Know that a call is being sent; while probing it becomes the probe."""
        assert self.can_take
        if self.phase is PROBING:
            self.probe, self.can_take = call_id, False

    def learn(self, call_id: int, lesson: Lesson, taken_at: float, now: float) -> None:
        """Take the lesson of an attempt that was sent at `taken_at`.

        What was sent before the breaker last opened tells of the past, and teaches nothing.
        """
        if taken_at < self.opened_at:
            return
        if self.phase is CLOSED:
            if lesson is SUCCESS or lesson is ALIVE:
                self.failures = 0
            elif lesson is DROPPED:
                self.failures += 1
                if self.failures >= FAILURES_MAX:
                    self._open(now)
        elif self.probe == call_id:
            if lesson is IGNORE:
                self._await_probe()  # It proved nothing, so the next call probes.
            elif lesson is DROPPED:
                self.open_s = min(self.open_s * 2, OPEN_S_MAX)
                self._open(now)
            else:
                self.reset()

    def reset(self) -> None:
        """Close and forget: the backend has shown that it works, or is a new process."""
        self.phase, self.failures, self.open_s = CLOSED, 0, OPEN_S_MIN
        self.deadline = inf
        self._await_probe()

    def _await_probe(self) -> None:
        self.probe, self.can_take = None, True

    def _open(self, now: float) -> None:
        self.phase, self.failures, self.probe = OPEN, 0, None
        self.opened_at = now
        self.can_take, self.deadline = False, now + self.open_s
