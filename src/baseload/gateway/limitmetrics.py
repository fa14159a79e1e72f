"""How are limits counted that replicas share, in Prometheus' words?

Counters in memory have nothing to tell. Which limits refuse calls is told by `telemetry`, whoever
counts them.
"""

from collections.abc import Iterator
from time import monotonic
from typing import Protocol, runtime_checkable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


@runtime_checkable
class Watched(Protocol):
    """Counters that replicas share, as far as their numbers go."""

    alone: int
    replicas: int

    def is_well(self, now: float) -> bool:
        """Whether calls are decided for all replicas together."""


class LimitMetrics:
    """A collector for `prometheus_client` registries."""

    def __init__(self, counters: object) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        """Give the numbers of shared counters; none of others."""
        counters = self._counters
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
