"""How do what engines draw and what they write come together, and into metrics and ledger?

Whoever owns the engines has the one meter of this machine. Every LOOK_S, those who serve callers
are told joules per token, and say how many tokens each backend wrote since they were last asked:
with several workers all of them are.

Not here: sensors (`engines.power`), whose joules they are (`engines.energy`), and the ledger's rows
(`gateway.books`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from baseload.cli.engine_room import EngineRoom
from baseload.engines.energy import Energy
from baseload.engines.power import Meter

LOOK_S = 2.0
Exchange = Callable[[dict[str, float]], Awaitable[dict[str, int]]]


class EnergyDesk:
    """Joins meter, engines and books; a collector for `prometheus_client` registries."""

    def __init__(self, engines: EngineRoom, exchange: Exchange, meter: Meter | None = None) -> None:
        """`exchange` tells joules per token, and gives tokens since the last time, by backend."""
        self.energy = Energy()
        self._engines = engines
        self._exchange = exchange
        self._meter = meter or Meter()

    async def run(self) -> None:
        """Look until cancelled. Where no engine is started, no sensor is read."""
        while True:
            if self._has_ours():
                self._meter.start()
            await asyncio.sleep(LOOK_S)
            if self._has_ours():
                tokens = await self._exchange(self.energy.per_token())
                levels = self._meter.levels()
                self.energy.note(self._engines.backends, levels, tokens, time.monotonic())

    def _has_ours(self) -> bool:
        return any(one.engine != "external" for one in self._engines.backends.values())

    def stop(self) -> None:
        """End the meter's thread; blocks for some seconds at most."""
        self._meter.stop()

    def collect(self) -> Iterator[Metric]:
        """Give what is known of each engine; what no sensor tells is left out."""
        drawn = dict(self.energy.drawn)
        total = CounterMetricFamily(
            "baseload_engine_joules", "Joules that an engine drew.", labels=["backend"]
        )
        for backend, one in drawn.items():
            total.add_metric([backend], one.joules)
        yield total
        for name, text, field in (
            ("watts", "Watts that an engine draws now.", "watts"),
            ("joules_per_token", "Joules for each token of an answer, in five minutes.",
             "joules_per_token"),
            ("gpu_busy_ratio", "Part of the time in which its GPUs work, 0 to 1.", "gpu_busy"),
        ):  # fmt: skip
            metric = GaugeMetricFamily(f"baseload_engine_{name}", text, labels=["backend"])
            for backend, one in drawn.items():
                if (value := getattr(one, field)) is not None:
                    metric.add_metric([backend], value)
            yield metric
