"""How much room will calls take together at their worst moment, if one more comes?

All write at one speed, so when a call ends, those with more left to write have each written as much
as it had left: the sum is highest at one of these ends. The ends are put in order once; what one
more call would make of them is then found without looking at all of them again, because many that
wait may be asked about between two events.
"""

from bisect import bisect_right
from collections.abc import Iterable
from math import inf


class Outlook:
    """Calls as they stand now: each has so many tokens left to write, and holds so many already."""

    __slots__ = ("_after", "_before", "_held", "_lefts")

    def __init__(self, calls: Iterable[tuple[float, float]]) -> None:
        rows = sorted(calls, reverse=True)
        self._lefts = [-left for left, _ in rows]
        self._held, self._before = [0.0], [0.0]
        """Of so many calls with the most left: what they hold, and their highest sum."""
        longer = []
        for number, (left, holds) in enumerate(rows, 1):
            self._held.append(self._held[-1] + holds)
            top = self._held[-1] + number * left
            self._before.append(max(self._before[-1], top))
            longer.append(top + left)
        self._after = [-inf]
        """The highest sums at the ends of the others, were there one more call that writes then."""
        for top in reversed(longer):
            self._after.append(max(self._after[-1], top))
        self._after.reverse()

    def peak(self, left: float, holds: float) -> float:
        """Give the most tokens that all will hold together with one more call."""
        at = bisect_right(self._lefts, -left)
        own = self._held[at] + holds + (at + 1) * left
        return max(self._before[at], own, self._after[at] + holds)
