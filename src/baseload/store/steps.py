"""What is out at Redis: calls that wait for a verdict, and the step that carries them there.

Not here: what becomes of either (`shared_counters`).
"""

from collections.abc import Callable

from baseload.core.quota import Hold, Verdict

Then = Callable[[Verdict], None]


class Ask:
    """One call that waits for its verdict."""

    __slots__ = ("asked_at", "hold", "is_decided", "then")

    def __init__(self, hold: Hold, then: Then, asked_at: float) -> None:
        self.hold, self.then, self.asked_at = hold, then, asked_at
        self.is_decided = False

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for the verdict any more."""
        return self.is_decided or self.hold.is_settled


class Step:
    """One step that is out."""

    __slots__ = ("asks", "is_late", "is_whole_news", "names", "sent_at")

    def __init__(
        self, asks: list[Ask], names: list[str], is_whole_news: bool, sent_at: float
    ) -> None:
        self.asks, self.names = asks, names
        self.is_whole_news, self.sent_at = is_whole_news, sent_at
        self.is_late = False
