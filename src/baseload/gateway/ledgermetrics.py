"""How is the ledger doing, in Prometheus' words?

A scrape reads a few numbers of it from the operator's thread. What stands in the ledger is no
metric: `baseload usage` tells that.
"""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


class Alarm(Protocol):
    """Rows are not being written."""

    @property
    def since(self) -> float:
        """In seconds since 1970."""


class Watched(Protocol):
    """A ledger, as far as its numbers go."""

    written: int
    lost: int
    pruned: int

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""

    @property
    def alarm(self) -> Alarm | None:
        """Why rows are not being written, if they are not."""


class LedgerMetrics:
    """A collector for `prometheus_client` registries."""

    def __init__(self, ledger: Watched) -> None:
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        """Give the ledger's numbers."""
        ledger = self._ledger
        for name, text, count in (
            ("written", "Calls written into the ledger.", ledger.written),
            ("lost", "Calls that could not be kept until the ledger took them.", ledger.lost),
            ("pruned", "Old calls deleted from the ledger.", ledger.pruned),
        ):
            yield CounterMetricFamily(f"baseload_ledger_{name}_rows", text, value=count)
        alarm = ledger.alarm
        for name, text, value in (
            ("waiting_rows", "Calls that wait to be written into the ledger.", ledger.waiting),
            ("failing", "1 while the ledger cannot be written.", float(alarm is not None)),
            (
                "failing_since_seconds",
                "Since when it cannot be written, in seconds since 1970; 0: it can.",
                alarm.since if alarm is not None else 0.0,
            ),
        ):
            yield GaugeMetricFamily(f"baseload_ledger_{name}", text, value=value)
