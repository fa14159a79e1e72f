"""What has one scope used, and when does enough of it come free?

Picture a minute cut into 240 *slices*. What is used is written into the slice of its moment, and a
slice counts until all of it is more than a minute old; so in no minute whatever is more used than
is allowed, and what was used is counted a slice too long at most: 0.4 % of the window. Tokens are
written down as reserved, and corrected in that very slice when the call is settled: what a call
takes counts from the moment at which it was let in.

Money has no window. What is spent belongs to the day and the month (UTC) in which the call ended,
as in the ledger; what calls in flight may cost is kept apart and counts until they are settled.

Not here: whether a call may go on, which can hang on several cards (`quota`).
"""

from collections import deque
from datetime import date
from math import inf

from baseload.config.tenancy import Limits

SLICES = 240
"""Slices of a window: each stands for 0.4 % of it, so as much is given away at most."""
SPAN = SLICES + 1
"""A window that ends within a slice reaches into so many."""
DAY_S = 86_400
ENDLESS = 1 << 62
"""Stands for no limit: more than anybody uses, and compared faster than an infinite number."""
PLACE_WAIT_S = 1.0
"""When to try again for a place among the calls at once: nobody knows when one of them ends."""
_ORDINAL_1970 = date(1970, 1, 1).toordinal()

Cell = list[int]
"""A slice in which something was used: its number, requests, tokens. A number below 0: expired."""


def day_of(unix_s: float) -> int:
    """Give the day (UTC), counted from 1970."""
    return int(unix_s // DAY_S)


def month_of(day: int) -> int:
    """Give the month of a day, counted from the year 0."""
    when = date.fromordinal(_ORDINAL_1970 + day)
    return when.year * 12 + when.month - 1


def month_end_s(day: int) -> float:
    """Give when the month of a day ends, in seconds since 1970."""
    month = month_of(day) + 1
    return (date(month // 12, month % 12 + 1, 1).toordinal() - _ORDINAL_1970) * float(DAY_S)


class Card:
    """The use of one scope, and the limits that it is held against; endless where there is none.

    `others_day_usd` and `others_month_usd` were spent before this process, or by its siblings.
    """

    __slots__ = (
        "cells", "concurrency", "day", "day_ends_s", "gone", "has_budget", "held_usd", "in_flight",
        "limits", "month", "others_day_usd", "others_month_usd", "requests", "rpm", "spent_day_usd",
        "spent_month_usd", "tokens", "tpm", "usd_day", "usd_month",
    )  # fmt: skip

    rpm: float
    tpm: float
    concurrency: float
    usd_day: float
    usd_month: float
    has_budget: bool

    def __init__(self, limits: Limits) -> None:
        self.cells: deque[Cell] = deque()
        self.gone = -1
        """Slices up to this one have expired."""
        self.requests = self.tokens = self.in_flight = 0
        self.held_usd = 0.0
        """What the calls in flight may cost."""
        self.day, self.month = -1, 0  # None yet: the very first day begins its month, too.
        self.day_ends_s = 0.0
        """When another day begins, in seconds since 1970: until then there is nothing to roll."""
        self.spent_day_usd = self.spent_month_usd = 0.0
        self.others_day_usd = self.others_month_usd = 0.0
        self.fit(limits)

    def fit(self, limits: Limits) -> None:
        """Be held against these limits from now on; what was used stays."""
        self.limits = limits
        self.rpm = ENDLESS if limits.rpm is None else limits.rpm
        self.tpm = ENDLESS if limits.tpm is None else limits.tpm
        self.concurrency = ENDLESS if limits.concurrency is None else limits.concurrency
        self.usd_day = inf if limits.usd_day is None else limits.usd_day
        self.usd_month = inf if limits.usd_month is None else limits.usd_month
        self.has_budget = limits.usd_day is not None or limits.usd_month is not None

    # -- the window --------------------------------------------------------------------------

    def cell(self, index: int) -> Cell:
        """Give the cell of a slice; almost always it is the last one."""
        cells = self.cells
        if cells and cells[-1][0] >= index:
            return cells[-1] if cells[-1][0] == index else self._earlier(index)
        cell = [index, 0, 0]
        cells.append(cell)
        return cell

    def expire(self, gone: int) -> None:
        """Let go of the slices up to this one."""
        cells = self.cells
        while cells and cells[0][0] <= gone:
            cell = cells.popleft()
            self.requests -= cell[1]
            self.tokens -= cell[2]
            cell[0] = -1
        self.gone = max(self.gone, gone)

    def free_at(self, kind: int, enough: float) -> int:
        """Give the slice whose expiry leaves at most `enough` requests (1) or tokens (2)."""
        left = self.tokens if kind == 2 else self.requests
        for cell in self.cells:
            left -= cell[kind]
            if left <= enough:
                return cell[0]
        return self.last

    @property
    def last(self) -> int:
        """The last slice in which something was used; -1 if there is none."""
        return self.cells[-1][0] if self.cells else -1

    def _earlier(self, index: int) -> Cell:
        """Give the cell of a slice that is not the last: a clock was set back, or news is late."""
        cells = self.cells
        index = max(index, self.gone + 1)
        place = len(cells)
        while place and cells[place - 1][0] > index:
            place -= 1
        if place and cells[place - 1][0] == index:
            return cells[place - 1]
        cell = [index, 0, 0]
        cells.insert(place, cell)
        return cell

    # -- money -------------------------------------------------------------------------------

    def roll(self, day: int) -> None:
        """Begin a new day, and maybe a new month; a clock that was set back begins none."""
        if day <= self.day:
            return
        self.day = day
        self.day_ends_s = (day + 1.0) * DAY_S
        self.spent_day_usd = self.others_day_usd = 0.0
        month = month_of(day)
        if month != self.month:
            self.month = month
            self.spent_month_usd = self.others_month_usd = 0.0

    def day_usd(self) -> float:
        """Give what is spent of a day's budget, calls in flight included."""
        return self.others_day_usd + self.spent_day_usd + self.held_usd

    def month_usd(self) -> float:
        """Give the same for the month."""
        return self.others_month_usd + self.spent_month_usd + self.held_usd

    def parts_used(self, day: int) -> tuple[float | None, float | None]:
        """Give which part of the day's and of the month's budget is used on a day, if it has them.

        It changes nothing, so it may be asked on any thread. Of a budget of nothing there is no
        part.
        """
        day_usd, month_usd = self.day_usd(), self.month_usd()
        if day > self.day:  # It has not been rolled yet.
            day_usd = self.held_usd
            if month_of(day) != self.month:
                month_usd = self.held_usd
        return (
            day_usd / self.usd_day if 0 < self.usd_day < inf else None,
            month_usd / self.usd_month if 0 < self.usd_month < inf else None,
        )

    def spend(self, usd: float) -> None:
        """Write down what a call cost."""
        self.spent_day_usd += usd
        self.spent_month_usd += usd

    def is_idle(self, day: int) -> bool:
        """Whether nothing would be lost with this card. Expired slices must be let go of before."""
        if self.in_flight or self.cells:
            return False
        if self.month and month_of(day) != self.month:
            return True
        return not (self.spent_month_usd or self.others_month_usd)


def is_spent(used: float, usd: float, most: float) -> bool:
    """Say whether a budget of `most` has no room for a call; one of nothing has none at all."""
    return used >= most or used + usd > most
