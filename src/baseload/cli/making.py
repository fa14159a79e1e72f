"""The one place where a gateway is made, with all that works beside it in its process.

Whatever a gateway is given beyond its fleet (counters, a ledger), and whatever runs on its loop
besides callers, is opened and closed here, so that one process and each of several workers have the
same. Not here: engines and the operator's port, of which there is one, however many workers.
"""

import socket
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from baseload.config.fleet import Fleet
from baseload.gateway.gateway import Gateway


def make_gateway(fleet: Fleet, concurrency: dict[str, int], sharers: int = 1) -> Gateway:
    """Make a gateway inside the running loop; `concurrency` is what is known better than the file.

    `sharers` is how many processes count the same limits, where these are not counted together.
    """
    assert sharers >= 1
    return Gateway(fleet, concurrency)


class Plant:
    """A gateway, and what works beside it."""

    def __init__(self, fleet: Fleet, concurrency: dict[str, int], sharers: int = 1) -> None:
        self.gateway = make_gateway(fleet, concurrency, sharers)
        self.registry = CollectorRegistry()
        """Everything that is counted in this process."""
        self.registry.register(self.gateway.telemetry)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on these sockets, which are ours from now on."""
        await self.gateway.start(sockets)

    async def drain(self, *, is_succeeded: bool) -> int:
        """Leave, the port to a successor or to nobody; give how many had to be told to stop."""
        gateway = self.gateway
        return await (gateway.hand_over() if is_succeeded else gateway.drain())
