"""Simulated time: a heap of things to do, and a clock that jumps to the next of them.

Two things due at the same instant happen in the order in which they were asked for. Nothing else
is promised about ties; do not compare worlds on them.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count


class Kernel:
    """The clock and the heap. `now` starts at 0 and is in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Have `do` called when the clock reaches `when`."""
        assert when >= self.now, "the past cannot be changed"
        heappush(self._heap, (when, next(self._order), do))

    def run(self, steps_max: int) -> None:
        """Run until nothing is left to do; `steps_max` bounds a world that never ends."""
        for _ in range(steps_max):
            if not self._heap:
                return
            self.now, _, do = heappop(self._heap)
            do()
        assert not self._heap, f"still busy after {steps_max} steps"
