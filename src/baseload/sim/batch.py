"""When does each of many answers end, if all of them share one speed that keeps changing?

Picture one ribbon of tokens that runs for everybody: a writer steps on it, and has written its
answer when the ribbon has moved by the answer's length. So a change of speed moves every end and
costs nothing for each writer, and no token is an event of its own.

Not here: what the speed depends on, and what an end means (`provider`).
"""

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf

from baseload.sim.kernel import Kernel

NEAR = 1e-6
"""Part of a token that rounding may leave."""


class Batch:
    """Writers that share one speed, in tokens a second for each of them."""

    def __init__(self, kernel: Kernel, speed: float) -> None:
        self._kernel = kernel
        self._speed = speed
        self._place = 0.0
        """How far the ribbon has run; it was looked at when time was `_seen_at`."""
        self._seen_at = kernel.now
        self._ends: list[tuple[float, int]] = []
        self._stops: dict[int, Callable[[], None]] = {}
        self._next = 0
        self._alarm = inf

    def place(self) -> float:
        """Give how many tokens a writer that was always here would have written by now."""
        now = self._kernel.now
        self._place += (now - self._seen_at) * self._speed
        self._seen_at = now
        return self._place

    def join(self, tokens: float, stop: Callable[[], None]) -> int:
        """Begin to write so many tokens; `stop` is called when they are written. Give a number."""
        self._next += 1
        self._stops[self._next] = stop
        heappush(self._ends, (self.place() + tokens, self._next))
        self._announce()
        return self._next

    def leave(self, number: int) -> None:
        """Stop writing, whether the end was reached or not."""
        self._stops.pop(number, None)

    def retune(self, speed: float) -> None:
        """Write at another speed from now on (over 0)."""
        self.place()
        self._speed = speed
        self._announce()

    def _announce(self) -> None:
        """Have the next end looked at in time; a look too early costs little and does no harm."""
        ends = self._ends
        while ends and ends[0][1] not in self._stops:
            heappop(ends)
        if not ends:
            return
        due = self._seen_at + max(ends[0][0] - self._place, 0.0) / self._speed
        if due < self._alarm:
            self._alarm = due
            self._kernel.at(due, lambda: self._ring(due))

    def _ring(self, due: float) -> None:
        if due != self._alarm:
            return  # An earlier one was set since, and has set its own successor.
        self._alarm = inf
        place, ends = self.place() + NEAR, self._ends
        while ends and ends[0][0] <= place:
            if (stop := self._stops.pop(heappop(ends)[1], None)) is not None:
                stop()
        self._announce()
