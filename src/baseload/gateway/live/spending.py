"""Who has used how much in the last hour and day, and what has it cost?

A purse for each key: what was spent this minute, the last hour's minutes and the last day's hours,
each with its sum beside it, so that adding and asking cost nothing and only the change of a minute
does a little work. All of it is memory of this process since its start; what must be right to the
cent is in the ledger.

Not here: what a call took and cost (`books`).
"""

from collections import deque

import msgspec

KEYS_MAX = 256
"""Keys that have a purse; those who come later share one, called `others`."""
OTHERS = "(others)"
NOBODY = "(no key)"
"""Whoever calls without a key."""
MINUTES = 60
HOURS = 24
MINUTE_S = 60.0

Sum = tuple[int, int, int, int, int, float]


class Spent(msgspec.Struct, frozen=True, gc=False):
    """What was used in a time. `unpriced` calls have no known price and are not in `cost_usd`."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    unpriced: int = 0
    cost_usd: float = 0.0


class KeyView(msgspec.Struct, frozen=True):
    """One key's use."""

    name: str
    hour: Spent
    day: Spent


_NOTHING: Sum = (0, 0, 0, 0, 0, 0.0)


class _Purse:
    """What one key has spent."""

    __slots__ = ("cached", "calls", "completion", "cost_usd", "day", "hour", "hours", "minutes",
                 "prompt", "so_far", "unpriced")  # fmt: skip

    def __init__(self) -> None:
        self.minutes: deque[Sum] = deque([_NOTHING] * (MINUTES - 1), MINUTES - 1)
        self.hours: deque[Sum] = deque([_NOTHING] * (HOURS - 1), HOURS - 1)
        self.hour = self.day = self.so_far = _NOTHING
        """The sums of both, and that of the whole minutes of the hour that has begun."""
        self._empty()

    def _empty(self) -> None:
        self.calls = self.prompt = self.cached = self.completion = self.unpriced = 0
        self.cost_usd = 0.0

    def now(self) -> Sum:
        """Give this minute's sum."""
        return (
            self.calls, self.prompt, self.cached, self.completion, self.unpriced, self.cost_usd,
        )  # fmt: skip

    def turn(self, is_new_hour: bool) -> None:
        """Begin a new minute, and perhaps a new hour."""
        this = self.now()
        self._empty()
        self.hour = _minus(_plus(self.hour, this), self.minutes[0])
        self.minutes.append(this)
        self.so_far = _plus(self.so_far, this)
        if is_new_hour:
            self.day = _minus(_plus(self.day, self.so_far), self.hours[0])
            self.hours.append(self.so_far)
            self.so_far = _NOTHING

    def is_unused(self) -> bool:
        """Say whether nothing was spent in a day."""
        return not (self.calls or self.so_far[0] or self.day[0])


class Spending:
    """The purses of all keys."""

    def __init__(self) -> None:
        self._purses: dict[str, _Purse] = {}
        self._minute = 0
        self._turns_at: float | None = None

    def add(
        self, key: str, prompt: int, cached: int, completion: int, cost_usd: float | None
    ) -> None:
        """Take what a call has used."""
        purse = self._purses.get(key)
        if purse is None:
            purse = self._open(key)
        purse.calls += 1
        purse.prompt += prompt
        purse.cached += cached
        purse.completion += completion
        if cost_usd is None:
            purse.unpriced += 1
        else:
            purse.cost_usd += cost_usd

    def look(self, now: float) -> None:
        """Let minutes pass, by a clock that never runs back; those slept through are empty."""
        if self._turns_at is None:
            self._turns_at = now + MINUTE_S
        turns = 0
        while now >= self._turns_at and turns < MINUTES * HOURS:
            self._turns_at += MINUTE_S
            turns += 1
            self._minute += 1
            is_new_hour = self._minute % MINUTES == 0
            for purse in self._purses.values():
                purse.turn(is_new_hour)
        if turns:
            self._tidy()
        if now >= self._turns_at:
            self._turns_at = now + MINUTE_S

    def view(self) -> list[KeyView]:
        """Give what each key has used, most expensive first, then by calls."""
        keys = []
        for name, purse in self._purses.items():
            if not purse.is_unused():
                now = purse.now()
                day = _plus(_plus(purse.day, purse.so_far), now)
                hour = _plus(purse.hour, now)
                keys.append(KeyView(name or NOBODY, _spent(hour), _spent(day)))
        keys.sort(key=lambda key: (-key.day.cost_usd, -key.day.calls, key.name))
        return keys

    def _open(self, key: str) -> _Purse:
        if len(self._purses) >= KEYS_MAX:
            key = OTHERS
        return self._purses.setdefault(key, _Purse())

    def _tidy(self) -> None:
        """Once all purses are given out, take back those of keys that have gone."""
        if len(self._purses) >= KEYS_MAX:
            for name in [name for name, purse in self._purses.items() if purse.is_unused()]:
                del self._purses[name]


def _plus(one: Sum, other: Sum) -> Sum:
    return tuple(a + b for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


def _minus(one: Sum, other: Sum) -> Sum:
    return tuple(a - b for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


def _spent(total: Sum) -> Spent:
    return Spent(*total[:5], round(max(total[5], 0.0), 6))
