"""When to stop asking a backend that keeps failing, and when to try it again.

Think of a fuse that mends itself: after a run of failures it opens and the backend is left alone
for a while; then a single call is let through as a probe. If the probe shows life, the fuse
closes; if not, it opens again and for twice as long. Calls that began before it opened and end
later say nothing: they tell of the past.

Deliberately not here: error rates over a window, and giving traffic back in steps.
"""

from enum import Enum
from math import inf

from baseload.core.facts import Lesson

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


class Breaker:
    """One backend's fuse. `deadline` is when it changes by itself, or infinity."""

    __slots__ = ("deadline", "failures", "open_s", "phase", "probe")

    def __init__(self) -> None:
        self.phase = Phase.CLOSED
        self.failures = 0
        self.open_s = OPEN_S_MIN
        self.probe: int | None = None
        self.deadline = inf

    def settle(self, now: float) -> None:
        """Become what time alone makes of it: an open breaker starts to probe."""
        if now >= self.deadline:
            self.phase, self.probe, self.deadline = Phase.PROBING, None, inf

    def can_take(self) -> bool:
        """Say whether a call may be sent to this backend."""
        return self.phase is Phase.CLOSED or (self.phase is Phase.PROBING and self.probe is None)

    def take(self, call_id: int) -> None:
        """Know that a call is being sent; while probing it becomes the probe."""
        if self.phase is not Phase.CLOSED:
            assert self.can_take()
            self.probe = call_id

    def learn(self, call_id: int, lesson: Lesson, now: float) -> None:
        """Take the lesson of a call's attempt. While open, and from bystanders, none is taken."""
        if self.phase is Phase.CLOSED:
            if lesson is Lesson.SUCCESS:
                self.failures = 0
            elif lesson is Lesson.DROPPED:
                self.failures += 1
                if self.failures >= FAILURES_MAX:
                    self._open(now)
        elif self.probe == call_id:
            if lesson is Lesson.IGNORE:
                self.probe = None  # It proved nothing, so the next call probes.
            elif lesson is Lesson.DROPPED:
                self.open_s = min(self.open_s * 2, OPEN_S_MAX)
                self._open(now)
            else:
                self.reset()

    def reset(self) -> None:
        """Close and forget: the backend has shown that it works, or is a new process."""
        self.phase, self.failures, self.open_s = Phase.CLOSED, 0, OPEN_S_MIN
        self.probe, self.deadline = None, inf

    def _open(self, now: float) -> None:
        self.phase, self.failures, self.probe = Phase.OPEN, 0, None
        self.deadline = now + self.open_s
