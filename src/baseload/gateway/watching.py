"""Who else hears of finished calls: the log, and OpenTelemetry, where the fleet file wants them."""

import asyncio
from random import SystemRandom

from baseload.gateway.calllog import CallLog
from baseload.gateway.gateway import Gateway
from baseload.gateway.otel import OtelSink
from baseload.gateway.tracing import Tracer


class Watching:
    """What watches one gateway, from now until `stop`."""

    def __init__(self, gateway: Gateway) -> None:
        """Raise BaseloadError where something is wanted that is not installed."""
        fleet, books = gateway.fleet, gateway.books
        self.sink: OtelSink | None = None
        if fleet.log.calls:
            books.observers += (CallLog(),)
        if fleet.otel.endpoint is not None:
            self.sink = OtelSink(fleet.otel, fleet.backends)
            books.observers += (self.sink,)
            gateway.reception.tracer = Tracer(fleet.otel.sample, SystemRandom())

    async def stop(self) -> None:
        """Send what is left; a receiver that hangs is waited for within bounds."""
        if self.sink is not None:
            await asyncio.to_thread(self.sink.stop)
