"""How many calls at once make an engine write the most tokens?

Up to some number of calls an engine's tokens a second grow with them; beyond it each call only
makes the others slower. Where that knee is depends on the model, the hardware and what is asked,
and it moves. So it is looked for while calls are served: the engine is kept at a *level*, a number
of calls, for a few windows of time, and what it wrote in them is the level's rate. Then another
level is tried: twice as many calls while that helps, then between, until both neighbours of the
best level are known to be no better. From there on a neighbour is tried now and then, because the
knee moves, and if what a known level yields has changed, all is looked for anew.

Only windows count in which the engine was really kept at the level: with fewer calls there is
nothing to learn, and the level stays. A level is left as soon as it is surely better or worse than
the best other one, and else when its mean is sure enough, so noise costs time but no mistakes that
last. Of levels that yield about the same the smallest is the best: its first tokens are earlier. A
level at which the objectives are missed is none to stay at, however much it yields.

The rate is a mean and no median, because an engine's totals are exact over time, and what one look
misses the next one has. Hill climbing for a number of calls at once, and an estimate for each level
rather than a slope, is our own choice; what it must reach is stated by its tests.

Not here: how many calls the engine has (`filling`), and refusals (`limits`).
"""

from collections import deque
from math import sqrt
from typing import NamedTuple

RATIO = 2 ** (1 / 4)
"""Of neighbouring levels: near enough that the best one is within some per cent of any number."""
STRIDE = 4
"""Levels that a search jumps at first: it doubles the calls."""
START = 8
"""Level at which learning begins, if bounds and calls in flight allow: any engine bears it."""
SLACK = 0.15
"""Part of a level, one call at least, that may be missing for a window to count for it."""
WINDOWS_MAX = 12
"""Windows of a level that are remembered; with so many it is as sure as it will get."""
WINDOWS_MIN = 2
WINDOWS_SURE = 3
SURE = 0.015
"""Standard error of a level's rate, as a share of it, at which it is sure enough."""
NOISE_MIN = 0.02
"""Spread of windows that is assumed at least: two windows may be alike by chance."""
CLEAR = 2.0
"""Standard errors between two rates that settle which is better."""
NEAR = 0.02
"""Rates this near to the best one are as good."""
STALE_WINDOWS = 120
"""What a level yielded as many windows ago says nothing of now: two minutes, where windows are of
a second; those of a slow engine are longer."""
DWELL_WINDOWS = 30
"""Windows at the best level before a neighbour is tried again."""
SHIFT = 0.25
"""If a level's newest windows differ by this share from those before, all has changed."""
SHIFT_WINDOWS = 2
SHIFT_SPREADS = 2.0
"""And by so many times what those before differ among each other: some engines go by fits."""
LATE_SHARE_MAX = 0.05
"""Part of first tokens that may come later than the objective."""
LATE_MIN = 3
"""Late first tokens before a level is blamed: one may be anybody's."""


class Window(NamedTuple):
    """What an engine did in a short time that ended `at`.

    `calls` is the mean number in flight, `firsts` how many first tokens came, `late` how many of
    them after the objective.
    """

    at: float
    length_s: float
    tokens: float
    calls: float
    firsts: int = 0
    late: int = 0


class _Level:
    """What the newest windows of one number of calls showed."""

    __slots__ = ("windows",)

    def __init__(self) -> None:
        self.windows: deque[Window] = deque(maxlen=WINDOWS_MAX)

    def forget(self, before: float) -> None:
        """Drop what is too old."""
        while self.windows and self.windows[0].at < before:
            self.windows.popleft()

    def rate(self) -> float:
        """Give its tokens a second."""
        return sum(one.tokens for one in self.windows) / sum(one.length_s for one in self.windows)

    def error(self) -> float:
        """Give the standard error of its rate, as a share of the rate."""
        mean, number = self.rate(), len(self.windows)
        squares = sum((one.tokens / one.length_s / mean - 1.0) ** 2 for one in self.windows)
        return max(sqrt(squares / max(number - 1, 1)), NOISE_MIN) / sqrt(number)


class Knee:
    """Learns the number of calls between `least` and `most` that an engine is given: `level`.

    `first_token_s` is judged by whoever makes the windows; `token_s`, the time between two tokens
    of one answer, follows from the rate.
    """

    def __init__(self, least: int, most: int, calls: int = 0, token_s: float | None = None) -> None:
        """`calls` are in flight already."""
        self.levels = levels_between(min(least, most), most)
        self.token_s = token_s
        start = min(max(START, calls), most)
        self._at = max(index for index, level in enumerate(self.levels) if level <= max(start, 1)
                       or index == 0)  # fmt: skip
        self._home = self._at
        self._known: dict[int, _Level] = {}
        self._stride = STRIDE
        self._is_searching, self._is_settling = True, True
        self._is_down_first = False
        self._since = 0.0
        """When the level became what it is."""

    @property
    def level(self) -> int:
        """How many calls the engine is to be given now."""
        return self.levels[self._at]

    @property
    def rate(self) -> float:
        """Tokens a second of the best level, as far as it is known; 0: not yet."""
        home = self._known.get(self._home)
        return home.rate() if home is not None else 0.0

    def measure(self, window: Window) -> None:
        """Take what the engine did; afterwards `level` may be another one."""
        level = self.level
        slack = max(1.0, SLACK * level)
        if not max(level - slack, level / 2) <= window.calls <= level + slack:
            return
        if window.tokens <= 0.0 or window.length_s <= 0.0:
            return
        if self._is_settling:  # Prompts of those who just came are read, others just end.
            self._is_settling = False
            return
        here = self._known.setdefault(self._at, _Level())
        here.windows.append(window)
        self._age(window.at - STALE_WINDOWS * window.length_s)
        if self._has_shifted(here):
            self._begin_anew(here)
        if self._is_enough(here):
            self._decide(window)

    # -- within ------------------------------------------------------------------------------

    def _age(self, before: float) -> None:
        for index in list(self._known):
            self._known[index].forget(before)
            if not self._known[index].windows:
                del self._known[index]

    def _has_shifted(self, here: _Level) -> bool:
        rates = [one.tokens / one.length_s for one in here.windows]
        newest, others = rates[-SHIFT_WINDOWS:], rates[:-SHIFT_WINDOWS]
        if len(others) < SHIFT_WINDOWS:
            return False
        before = sum(others) / len(others)
        spread = sqrt(sum((rate / before - 1.0) ** 2 for rate in others) / (len(others) - 1))
        shift = max(SHIFT, SHIFT_SPREADS * spread)
        if all(rate < before * (1 - shift) for rate in newest):
            self._is_down_first = True
            return True
        return all(rate > before * (1 + shift) for rate in newest)

    def _begin_anew(self, here: _Level) -> None:
        while len(here.windows) > SHIFT_WINDOWS:
            here.windows.popleft()
        # What has become slower is likely to bear less.
        self._known, self._home = {self._at: here}, self._at
        self._is_searching, self._stride = True, STRIDE

    def _is_enough(self, here: _Level) -> bool:
        """Say whether enough is known of the level to go on."""
        number = len(here.windows)
        if number < WINDOWS_MIN:
            return False
        if number == WINDOWS_MAX or not self._fits(here):
            return True
        others = [one.rate() for one in self._known.values() if one is not here]
        rate, error = here.rate(), here.error()
        if not others or abs(rate - max(others)) > CLEAR * error * rate + NEAR * rate:
            return True
        return number >= WINDOWS_SURE and error <= SURE

    def _fits(self, one: _Level) -> bool:
        """Say whether the objectives hold at a level."""
        firsts = sum(window.firsts for window in one.windows)
        late = sum(window.late for window in one.windows)
        if late >= LATE_MIN and late > LATE_SHARE_MAX * firsts:
            return False
        if self.token_s is None:
            return True
        calls_s = sum(window.calls * window.length_s for window in one.windows)
        return calls_s <= self.token_s * sum(window.tokens for window in one.windows)

    def _decide(self, window: Window) -> None:
        """Go to the level that is to be tried next, or to the best one."""
        now = window.at
        best = self._best()
        if best is None:  # The objectives are missed at all that are known: fewer calls.
            self._is_searching = True
            self._go(max(min(self._known) - self._stride, 0), now)
            return
        if best != self._home:
            if not self._is_searching:
                self._is_searching, self._stride = True, min(self._stride * 2, STRIDE)
            self._home = best
        if self._is_searching:
            if (other := self._unknown_near(best)) is not None:
                self._go(other, now)
                return
            self._is_searching, self._stride, self._is_down_first = False, 1, False
        if self._at == best and now - self._since >= DWELL_WINDOWS * window.length_s:
            self._try_again(best, now)
        else:
            self._go(best, now)

    def _best(self) -> int | None:
        """Give the smallest level that yields about the most; None: none holds the objectives."""
        rates = {index: one.rate() for index, one in self._known.items() if self._fits(one)}
        if not rates:
            return None
        enough = max(rates.values()) * (1 - NEAR)
        return min(index for index, rate in rates.items() if rate >= enough)

    def _unknown_near(self, best: int) -> int | None:
        """Give a level near the best one that is worth a try; None: both sides are known."""
        above = min((index for index in self._known if index > best), default=None)
        below = max((index for index in self._known if index < best), default=None)
        top = len(self.levels) - 1
        up = min(best + self._stride, top) if above is None and best < top else None
        # Fewer calls than needed cost tokens, more do not: so half as far.
        down = max(best - (self._stride + 1) // 2, 0) if below is None and best > 0 else None
        first, second = (down, up) if self._is_down_first else (up, down)
        if first is not None or second is not None:
            return second if first is None else first
        gap_above = 0 if above is None else above - best
        gap_below = 0 if below is None else best - below
        if max(gap_above, gap_below) <= 1:
            return None
        return best + gap_above // 2 if gap_above >= gap_below else best - gap_below // 2

    def _try_again(self, best: int, now: float) -> None:
        """Try the neighbour of which the least is known for the longest time."""
        seen = {
            index: self._known[index].windows[-1].at if index in self._known else 0.0
            for index in (best + 1, best - 1)
            if 0 <= index < len(self.levels)
        }
        if seen:
            index = min(seen, key=lambda index: seen[index])
            self._known.pop(index, None)
            self._go(index, now)

    def _go(self, index: int, now: float) -> None:
        if index != self._at:
            self._at, self._since, self._is_settling = index, now, True


def levels_between(least: int, most: int) -> list[int]:
    """Give the numbers of calls that are tried, both bounds among them."""
    levels: list[int] = []
    value = float(least)
    while value < most:
        if not levels or round(value) > levels[-1]:
            levels.append(round(value))
        value *= RATIO
    if levels and levels[-1] >= most:
        levels.pop()
    return [*levels, most]
