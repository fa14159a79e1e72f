"""One backend as the gate sees it: is it up, how many permits are out, how many there are."""

from baseload.core.breaker import CLOSED, Breaker
from baseload.core.limits import Limit


class Seat:
    """A backend's permits and its breaker. The gate alone changes it."""

    __slots__ = ("breaker", "busy_until", "in_flight", "is_up", "limit", "name")

    def __init__(self, name: str, limit: Limit) -> None:
        self.name = name
        self.limit = limit
        self.breaker = Breaker()
        self.in_flight = 0
        self.busy_until = 0.0
        """Until when the backend has asked to be left alone, as callers are told."""
        self.is_up = True

    def is_usable(self) -> bool:
        """Say whether the backend may be asked at all, permits aside."""
        return self.is_up and self.breaker.can_take

    def can_take(self) -> bool:
        """Say whether a call may be sent here now."""
        return self.in_flight < self.limit.limit and self.is_up and self.breaker.can_take

    def take(self, call_id: int) -> None:
        """Give out a permit; the caller has seen that `can_take`."""
        self.in_flight += 1
        if self.breaker.phase is not CLOSED:
            self.breaker.take(call_id)

    def release(self) -> None:
        """Take a permit back."""
        assert self.in_flight > 0
        self.in_flight -= 1
