"""When may a dead engine be started again?

Pure arithmetic over how the last starts went. A server that dies once is started again almost at
once; one that keeps dying is given ever longer pauses, like a hand that is burnt; one that has
never come up in a row of starts is given up, because something is wrong that no start will mend.

There is no jitter: each engine belongs to one gateway on one machine, so there is no herd.
"""

from dataclasses import dataclass

PAUSE_FIRST_S = 0.25
PAUSE_MAX_S = 15.0
STEADY_S = 60.0
"""A server that was ready for this long has proved itself: its death counts as a first one."""

RESTARTS_MAX = 8
"""Starts in a row that may end before the server was ever ready."""


def backoff_s(attempt: int) -> float:
    """Return the pause before a restart, in seconds; `attempt` counts from 0.

    Doubles from PAUSE_FIRST_S up to PAUSE_MAX_S.
    """
    doublings = min(attempt, 16)  # Far beyond the cap already, and 2.0**n cannot overflow.
    return float(min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0**doublings))


@dataclass(frozen=True, slots=True)
class Record:
    """How the last starts went: deaths in a row that came early, and starts that never got ready.

    `early` counts deaths since the server last stood for STEADY_S; `unready` counts starts since
    it was last ready at all.
    """

    early: int = 0
    unready: int = 0

    def after_death(self, ready_s: float | None) -> "Record":
        """Return the record after a death; `ready_s` is how long it was ready, None for never."""
        if ready_s is None:
            return Record(self.early + 1, self.unready + 1)
        return Record(1 if ready_s >= STEADY_S else self.early + 1, 0)

    def pause_s(self) -> float:
        """Return how long to wait before the next start: 0 before the first one."""
        return backoff_s(self.early - 1) if self.early else 0.0

    def is_hopeless(self) -> bool:
        """Tell whether starting it yet again is no use."""
        return self.unready >= RESTARTS_MAX
