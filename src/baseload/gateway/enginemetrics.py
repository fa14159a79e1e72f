"""What do engines say of themselves, in Prometheus' words?

It is what the last look at each backend showed, which the gate goes by as well. A look that is old
says nothing any more, so its numbers are left out, and an engine that is gone has none. Backends
that tell nothing of themselves, as providers' APIs do, have none either.

Not here: looking (`probes`), and how a backend does for our own calls (`telemetry`).
"""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from baseload.core.facts import Sight
from baseload.gateway.gateway import Gateway

LOOKS_MAX = 3
"""A sight is shown for as long as so many looks take."""
SLACK_S = 2.5
"""And so much longer, for looks that are slow to be answered."""


class EngineMetrics:
    """A collector for `prometheus_client` registries; a scrape may come on any thread."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """Give what fresh looks have shown."""
        sights = self._fresh()
        for name, text, field in (
            ("kv_used_ratio", "Used part of an engine's KV cache, 0 to 1.", "kv_usage"),
            ("running_calls", "Calls that an engine works on, whoever sent them.", "running"),
            ("waiting_calls", "Calls that wait inside an engine, whoever sent them.", "waiting"),
        ):
            metric = GaugeMetricFamily(f"baseload_engine_{name}", text, labels=["backend"])
            for backend, sight in sights.items():
                if (value := getattr(sight, field)) is not None:
                    metric.add_metric([backend], value)
            yield metric

    def _fresh(self) -> dict[str, Sight]:
        gateway, fresh = self._gateway, {}
        now, backends = gateway.driver.clock(), gateway.fleet.backends
        for name, sight in list(gateway.probes.sights.items()):
            backend = backends.get(name)
            if backend and now - sight.at <= LOOKS_MAX * backend.probe_s + SLACK_S:
                fresh[name] = sight
        return fresh
