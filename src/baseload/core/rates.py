"""What do tokens cost, at which backend, from which day on?

Prices are dated: of those for a backend and a model, the latest that has begun holds. What was
spent before a new price began is not worked out anew.
"""

from bisect import bisect_right
from collections.abc import Iterable

import msgspec

from baseload.config.tenancy import Price


class Rate(msgspec.Struct, frozen=True, gc=False):
    """US dollars for a million tokens of each kind."""

    input: float
    cached: float
    output: float

    def cost_usd(self, prompt: int, cached: int, completion: int) -> float:
        """Give what tokens cost; `cached` are part of `prompt`."""
        fresh = prompt - cached
        return (fresh * self.input + cached * self.cached + completion * self.output) / 1e6


class Tariff:
    """All prices of a fleet."""

    def __init__(self, prices: Iterable[Price]) -> None:
        self._rates: dict[tuple[str, str], tuple[list[str], list[Rate]]] = {}
        for price in sorted(prices, key=lambda price: price.since):
            cached = price.cached_usd_mtok
            if cached is None:
                cached = price.input_usd_mtok
            days, rates = self._rates.setdefault((price.backend, price.model), ([], []))
            days.append(price.since)
            rates.append(Rate(price.input_usd_mtok, cached, price.output_usd_mtok))

    def rate(self, backend: str, model: str, day: str) -> Rate | None:
        """Give the rate that holds on a day, written `2026-11-26`; None if none is known."""
        if (found := self._rates.get((backend, model))) is None:
            return None
        days, rates = found
        place = bisect_right(days, day)
        return rates[place - 1] if place else None
