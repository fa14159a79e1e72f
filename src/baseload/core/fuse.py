"""May a helper be asked now that is useful but never needed, or is it better left alone?

A helper is worth a few milliseconds and no more. Each answer is in time, late, or never comes. A
few late ones in a row, or one that failed, blow the fuse; then nobody asks on a call's behalf, and
only a look from behind the scenes, after a pause, can mend it. A helper that blows it again and
again is left alone for longer each time.

Not here: backends, whose breaker weighs much more (`breaker`), and what is done without the helper.
"""

from math import inf

LATE_MAX = 3
"""Late answers in a row: one can be chance, and each costs one call its few milliseconds."""
OPEN_S_MIN = 0.25
OPEN_S_MAX = 1.0
"""A look costs no call anything, so there is no reason to wait for long."""
STEADY = 64
"""After so many answers in time, what happened before is forgotten."""


class Fuse:
    """`is_whole`: calls may ask. `deadline`: when to look after a blown one, or infinity."""

    __slots__ = ("_in_time", "_late", "deadline", "is_whole", "open_s")

    def __init__(self) -> None:
        self.is_whole = True
        self.deadline = inf
        self.open_s = OPEN_S_MIN
        self._late = self._in_time = 0

    def answered(self) -> None:
        """An answer came in time."""
        self.is_whole = True
        self.deadline = inf
        self._late = 0
        self._in_time += 1
        if self._in_time >= STEADY:
            self.open_s = OPEN_S_MIN

    def late(self, now: float) -> None:
        """An answer came late."""
        self._late += 1
        if self._late >= LATE_MAX or not self.is_whole:
            self.failed(now)

    def failed(self, now: float) -> None:
        """No answer came, or none that can be understood."""
        self.is_whole = False
        self.deadline = now + self.open_s
        self.open_s = min(2 * self.open_s, OPEN_S_MAX)
        self._late = self._in_time = 0
