"""Calls that pause before they try the same backend again.

The pause grows with each try and is drawn at random from its upper half, so that calls which failed
together do not come back together; what the backend itself asked for is honoured when it is longer.
Leaving is lazy: an entry whose call has gone, or rests again with another time, is skipped.
"""

from heapq import heappop, heappush
from math import inf

from baseload.core.dice import Dice

PAUSE_S_MIN = 0.25
PAUSE_S_MAX = 4.0


def pause_s(pauses: int, retry_after_s: float, rng: Dice) -> float:
    """Give how long to pause after `pauses` earlier ones."""
    longest = min(PAUSE_S_MIN * 2.0**pauses, PAUSE_S_MAX)
    own_s = longest * rng.uniform(0.5, 1.0)
    return max(own_s, retry_after_s * rng.uniform(1.0, 1.1))


class Rest:
    """All resting calls, by id."""

    __slots__ = ("_heap", "until")

    def __init__(self) -> None:
        self.until: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self.until)

    def add(self, call_id: int, until: float) -> None:
        """Let a call rest."""
        self.until[call_id] = until
        heappush(self._heap, (until, call_id))

    def leave(self, call_id: int) -> None:
        """Forget a call, whether it rests or not."""
        self.until.pop(call_id, None)
        if len(self._heap) > 2 * len(self.until) + 64:
            self._heap = sorted((until, call_id) for call_id, until in self.until.items())

    def deadline(self) -> float:
        """Give when the next call wakes, or infinity."""
        heap = self._heap
        while heap and self.until.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else inf

    def wake(self, now: float) -> list[int]:
        """Remove and give the calls whose pause is over."""
        awake = []
        while self.deadline() <= now:
            _, call_id = heappop(self._heap)
            del self.until[call_id]
            awake.append(call_id)
        return awake
