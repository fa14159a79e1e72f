"""How many extra attempts may be out at once?

A retry helps one call and burdens everybody else. When all is well there are few, and each is worth
its price; when all goes wrong everyone wants one, and that is what turns an overload into a
collapse. So extra attempts may be no more than a share of the calls that are live, with a few
always allowed, since a share of almost nothing is nothing. This is the retry budget of Envoy and
Finagle; a fixed number of retries for each call has no such bound.

Not here: which call deserves an attempt, and where.
"""


class Budget:
    """Extra attempts: up to `share` of live calls, and `least` in any case. `out` are out now."""

    __slots__ = ("least", "out", "share")

    def __init__(self, share: float, least: int) -> None:
        assert share >= 0
        assert least >= 0
        self.share = share
        self.least = least
        self.out = 0

    def can_take(self, live: int) -> bool:
        """Say whether one more may go out while `live` calls are in flight."""
        return self.out < self.least or self.out + 1 <= self.share * live

    def take(self) -> None:
        """Count an extra attempt as out; the caller has seen that `can_take`."""
        self.out += 1

    def release(self) -> None:
        """Count one as over, however it ended."""
        assert self.out > 0
        self.out -= 1
