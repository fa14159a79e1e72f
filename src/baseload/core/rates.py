"""What do tokens cost, at which backend, at which time?

Prices are dated: of those for a backend and a model, the latest that has begun holds. Some backends
charge more in some hours of the day. What was spent before a new price began is not worked out
anew.

Times are text in UTC, as `2026-11-26T09:30`: text in this form is in the order of time.
"""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date

import msgspec

from baseload.config.tenancy import Peak, Price

DAY = 10
"""Signs of a day in a time."""
SATURDAY = 5


class Rate(msgspec.Struct, frozen=True, gc=False):
    """US dollars for a million tokens of each kind."""

    input: float
    cached: float
    output: float

    def cost_usd(self, prompt: int, cached: int, completion: int) -> float:
        """Give what tokens cost; `cached` are part of `prompt`."""
        fresh = prompt - cached
        return (fresh * self.input + cached * self.cached + completion * self.output) / 1e6

    def times(self, factor: float) -> "Rate":
        """Give it multiplied."""
        return Rate(self.input * factor, self.cached * factor, self.output * factor)


class Tariff:
    """All prices of a fleet."""

    def __init__(self, prices: Iterable[Price]) -> None:
        self._prices: dict[tuple[str, str], tuple[list[str], list[Price]]] = {}
        for price in sorted(prices, key=lambda price: price.since):
            starts, found = self._prices.setdefault((price.backend, price.model), ([], []))
            starts.append(price.since)
            found.append(price)

    def rate(self, backend: str, model: str, moment: str) -> Rate | None:
        """Give the rate that holds at a time, written `2026-11-26T09:30`; None if none is known."""
        if (found := self._prices.get((backend, model))) is None:
            return None
        starts, prices = found
        if not (place := bisect_right(starts, moment)):
            return None
        price = prices[place - 1]
        cached = price.cached_usd_mtok
        rate = Rate(
            price.input_usd_mtok,
            price.input_usd_mtok if cached is None else cached,
            price.output_usd_mtok,
        )
        is_peak = price.peak is not None and _is_in(price.peak, moment)
        return rate.times(price.peak.factor) if price.peak is not None and is_peak else rate


def _is_in(peak: Peak, moment: str) -> bool:
    """Say whether a time lies in hours that cost more."""
    day, clock = moment[:DAY], moment[DAY + 1 :]
    if day in peak.off_days:
        return False
    if peak.weekdays_only and date.fromisoformat(day).weekday() >= SATURDAY:
        return False
    for hours in peak.hours:
        start, _, end = hours.partition("-")
        is_within = start <= clock < end if start <= end else clock >= start or clock < end
        if is_within:
            return True
    return False
