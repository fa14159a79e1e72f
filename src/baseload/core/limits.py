"""How many calls a backend may carry at once.

A limit only learns a number; who holds a permit is the gate's business. In this version the number
is the configured `concurrency` and never moves. A learning limit takes its place with the same two
names: `limit`, and `learn` with what one attempt showed.
"""

from typing import Protocol

from baseload.core.facts import Lesson


class Limit(Protocol):
    """What the gate asks of any limit."""

    @property
    def limit(self) -> int:
        """Calls that the backend may carry now."""

    def learn(self, lesson: Lesson, in_flight: int, now: float) -> None:
        """Take one attempt's lesson, with the calls in flight when it ended."""


class FixedLimit:
    """The operator's number."""

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        assert limit >= 1
        self.limit = limit

    def learn(self, lesson: Lesson, in_flight: int, now: float) -> None:
        """Learn nothing."""
