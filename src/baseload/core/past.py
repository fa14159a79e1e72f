"""What has been spent today and this month, by whom, also by those who had no budget then?

A budget may come while a process runs: with a reload, or with new terms of a key. What was spent
before that counts all the same, as it would after a restart. So money is added up here for each key
and model, whether or not anything limits them, and a scope that gets a budget begins with its sum.

Not here: what a budget has room for (`quota`, `card`). What was spent before this process began is
known from the ledger, once, at its start.
"""

from collections.abc import Mapping

from baseload.core.card import day_of, month_of

Spent = Mapping[str, tuple[float, float]]
"""US dollars that scopes have spent already: this day, and this month."""


class _Purse:
    """What one key has spent on one model."""

    __slots__ = ("day", "day_usd", "month", "month_usd")

    def __init__(self) -> None:
        self.day, self.month = -1, 0
        self.day_usd = self.month_usd = 0.0

    def roll(self, day: int) -> None:
        """Begin a new day, and maybe a new month."""
        if day <= self.day:
            return
        self.day, self.day_usd = day, 0.0
        if (month := month_of(day)) != self.month:
            self.month, self.month_usd = month, 0.0


class Past:
    """All money of a process: what it has spent, and what others had before it."""

    def __init__(self, before: Spent | None, before_s: float) -> None:
        """`before_s` is when `before` was looked up, on the calendar."""
        self._before = before or {}
        self.day = day_of(before_s)
        """The day on which this process began."""
        self._purses: dict[tuple[str, str], _Purse] = {}
        self._by_scope: dict[str, list[_Purse]] = {}

    def spend(self, key: str, model: str, usd: float, unix_s: float) -> None:
        """Add what a call has cost, whatever limits it."""
        purse = self._purses.get((key, model))
        if purse is None:
            purse = self._open(key, model)
        day = day_of(unix_s)
        if day > purse.day:
            purse.roll(day)
        purse.day_usd += usd
        purse.month_usd += usd

    def own(self, scope: str, day: int) -> tuple[float, float]:
        """Give what a scope has spent in this process, of a day and of its month."""
        purses = self._by_scope.get(scope, ())
        for purse in purses:
            purse.roll(day)
        return sum(purse.day_usd for purse in purses), sum(purse.month_usd for purse in purses)

    def before(self, scope: str, day: int) -> tuple[float, float]:
        """Give what a scope had spent before this process, as far as it counts on a day."""
        day_usd, month_usd = self._before.get(scope, (0.0, 0.0))
        if day <= self.day:
            return day_usd, month_usd
        return 0.0, month_usd if month_of(day) == month_of(self.day) else 0.0

    def _open(self, key: str, model: str) -> _Purse:
        purse = self._purses[key, model] = _Purse()
        for scope in (f"key:{key}", f"key:{key}/model:{model}", f"model:{model}"):
            self._by_scope.setdefault(scope, []).append(purse)
        return purse
