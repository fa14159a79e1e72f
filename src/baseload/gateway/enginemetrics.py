"""What do engines say of themselves, and how much are they given, in Prometheus' words?

What they say is what the last look at each backend showed, which the gate goes by as well. A look
that is old says nothing any more, so its numbers are left out, and an engine that is gone has none.
Backends that tell nothing of themselves, as providers' APIs do, have none either.

How much they are given at once is shown for those of which it is learnt (`core.filling`).

Not here: looking (`probes`), and how a backend does for our own calls (`telemetry`).
"""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from baseload.core.facts import Sight
from baseload.core.filling import Filling
from baseload.core.seat import Seat
from baseload.gateway.gateway import Gateway

LOOKS_MAX = 3
"""A sight is shown for as long as so many looks take."""
SLACK_S = 2.5
"""And so much longer, for looks that are slow to be answered."""

_FILLED: tuple[tuple[str, str, Callable[[Seat, Filling], float | None]], ...] = (
    (
        "baseload_batch_limit",
        "Calls at once that an engine is given, as learnt.",
        lambda seat, _filling: seat.limit.limit,
    ),
    (
        "baseload_batch_prefill_limit_tokens",
        "Tokens of prompts that an engine is given to read at once, as learnt.",
        lambda _seat, filling: filling.prefill_tokens,
    ),
    (
        "baseload_batch_prefill_tokens",
        "Tokens of prompts that were sent to an engine and have no first token.",
        lambda _seat, filling: filling.reading,
    ),
    (
        "baseload_batch_expected_tokens",
        "Tokens that calls at an engine are expected to take of its KV cache at their ends.",
        lambda _seat, filling: filling.kv_out,
    ),
    (
        "baseload_engine_tokens_per_second",
        "Tokens that an engine writes a second, whoever asked; 0 while it has no call of ours.",
        lambda _seat, filling: _speed(filling),
    ),
)


def _speed(filling: Filling) -> float | None:
    """Give what an engine writes; None: it does not tell."""
    if filling.knee is None:
        return None
    return filling.tokens_per_s if filling.calls else 0.0


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
            ("kv_tokens", "Tokens that an engine's KV cache holds.", "kv_tokens"),
            ("preemptions", "Calls that an engine threw out of its cache.", "preemptions"),
        ):
            family = CounterMetricFamily if field == "preemptions" else GaugeMetricFamily
            metric = family(f"baseload_engine_{name}", text, labels=["backend"])
            for backend, sight in sights.items():
                if (value := getattr(sight, field)) is not None:
                    metric.add_metric([backend], value)
            yield metric
        yield from self._filled()

    def _filled(self) -> Iterator[Metric]:
        """Give how much engines are given at once, and what they write."""
        filled = [
            (name, seat, seat.filling)
            for name, seat in list(self._gateway.gate.seats.items())
            if seat.filling is not None
        ]
        for name, text, value_of in _FILLED:
            metric = GaugeMetricFamily(name, text, labels=["backend"])
            for backend, seat, filling in filled:
                if (value := value_of(seat, filling)) is not None:
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
