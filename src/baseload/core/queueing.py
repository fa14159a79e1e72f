"""Where calls wait for a permit: bounded, first come first served, and never past their time.

Calls that may use the same backends stand in the same *lane*; only the head of a lane is ever
looked at, so granting a permit costs the number of lanes and not the number of waiting calls. A
heap of expiry times beside the lanes is cleaned lazily: leaving is O(1), and an entry whose call
has left is skipped when its time comes.

Order between lanes is by arrival. Fairness between keys and priority classes belong here, later.
"""

from collections.abc import Hashable, Iterator
from heapq import heappop, heappush
from math import inf


class Line:
    """All waiting calls, by id, in lanes."""

    __slots__ = ("_expiries", "_lanes", "size_max", "waiting")

    def __init__(self, size_max: int) -> None:
        self.size_max = size_max
        self._lanes: dict[Hashable, dict[int, int]] = {}
        self.waiting: dict[int, tuple[Hashable, float]] = {}
        """Each waiting call's lane and the time at which it expires."""
        self._expiries: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self.waiting)

    def is_full(self) -> bool:
        """Say whether one more call would be too many."""
        return len(self.waiting) >= self.size_max

    def join(self, call_id: int, lane: Hashable, order: int, expires: float) -> None:
        """Stand at the end of a lane until `expires`; `order` is the arrival among all lanes."""
        assert call_id not in self.waiting
        assert not self.is_full()
        self._lanes.setdefault(lane, {})[call_id] = order
        self.waiting[call_id] = (lane, expires)
        heappush(self._expiries, (expires, call_id))

    def leave(self, call_id: int) -> bool:
        """Step out, from wherever in the lane; False if the call was not waiting."""
        if (place := self.waiting.pop(call_id, None)) is None:
            return False
        lane = self._lanes[place[0]]
        del lane[call_id]
        if not lane:
            del self._lanes[place[0]]
        if len(self._expiries) > 2 * len(self.waiting) + 64:
            # Those who left early must not pile up in the heap while the others wait.
            self._expiries = sorted(
                (expires, call_id) for call_id, (_, expires) in self.waiting.items()
            )
        return True

    def heads(self) -> Iterator[int]:
        """Give the first call of each lane, longest waiting first."""
        firsts = [next(iter(lane.items())) for lane in self._lanes.values()]
        return iter([call_id for call_id, _ in sorted(firsts, key=lambda first: first[1])])

    def deadline(self) -> float:
        """Give the time at which the next waiting call expires, or infinity."""
        heap = self._expiries
        while heap and self._is_stale(heap[0]):
            heappop(heap)
        return heap[0][0] if heap else inf

    def expire(self, now: float) -> list[int]:
        """Remove and give the calls whose time is over, in the order of their expiry."""
        expired = []
        while self.deadline() <= now:
            _, call_id = heappop(self._expiries)
            self.leave(call_id)
            expired.append(call_id)
        return expired

    def _is_stale(self, entry: tuple[float, int]) -> bool:
        place = self.waiting.get(entry[1])
        return place is None or place[1] != entry[0]
