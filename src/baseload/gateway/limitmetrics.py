"""How near their end are budgets, and how are limits counted that replicas share?

In Prometheus' words, and without a key's name: of all budgets the one that is used most stands for
its kind. A budget is known from its first call in this process on. Counters in memory have nothing
to tell of replicas. Which limits refuse calls is told by `telemetry`, whoever counts them.
"""

from collections.abc import Iterator
from time import monotonic, time
from typing import Protocol, runtime_checkable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from baseload.core.card import day_of
from baseload.store.counters import Counters


@runtime_checkable
class Watched(Protocol):
    """Counters that replicas share, as far as their numbers go."""

    alone: int
    replicas: int

    def is_well(self, now: float) -> bool:
        """Whether calls are decided for all replicas together."""


class LimitMetrics:
    """A collector for `prometheus_client` registries."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        """Give how much of budgets is used, and the numbers of counters that are shared."""
        yield from self._budgets()
        counters: object = self._counters
        if not isinstance(counters, Watched):
            return
        yield CounterMetricFamily(
            "baseload_limits_alone_calls",
            "Calls decided by this replica's own share of a limit, because Redis was late or away.",
            value=counters.alone,
        )
        for name, text, value in (
            ("shared", "1 while limits are those of all replicas; 0: of each its share.",
             float(counters.is_well(monotonic()))),
            ("replicas", "Replicas that share limits, as far as is known.", counters.replicas),
        ):  # fmt: skip
            yield GaugeMetricFamily(f"baseload_limits_{name}", text, value=value)

    def _budgets(self) -> Iterator[Metric]:
        quota, today = self._counters.quota, day_of(time())
        cards = [card for name in quota.names() if (card := quota.find(name)) is not None]
        parts = [card.parts_used(today) for card in cards if card.has_budget]
        metric = GaugeMetricFamily(
            "baseload_budget_used_ratio",
            "Used part of the key's or model's budget that is used most, calls in flight included.",
            labels=["limit"],
        )
        for limit, used in (
            ("usd_day", [day for day, _ in parts if day is not None]),
            ("usd_month", [month for _, month in parts if month is not None]),
        ):
            if used:
                metric.add_metric([limit], max(used))
        yield metric
