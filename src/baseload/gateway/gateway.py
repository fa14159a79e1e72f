"""The gateway as a whole: what all calls share, and how it starts and stops.

A request comes in from a connection (`server`), becomes a call, and is carried by the driver
through its exchange to a pool (`upstream`) and back. Stopping is a drain: no new connections, idle
ones closed, answers under way given a bounded time, and what is left is told so, not cut.
"""

import asyncio
import logging
import os
import ssl
import time
from random import Random
from time import monotonic

import msgspec

from baseload.config.addresses import parse_address
from baseload.config.fleet import Fleet
from baseload.core.breaker import Phase
from baseload.core.facts import Fact
from baseload.core.gate import Gate
from baseload.core.rates import Tariff
from baseload.core.setup import Setup
from baseload.errors import BaseloadError
from baseload.gateway.books import Books, Counters, Ledger
from baseload.gateway.driver import Driver
from baseload.gateway.keeping import Manners
from baseload.gateway.live.pulse import Pulse
from baseload.gateway.probes import Probes
from baseload.gateway.reception import Reception
from baseload.gateway.requests import Request
from baseload.gateway.server import SWEEP_S, Client
from baseload.gateway.sharing import Crowds
from baseload.gateway.telemetry import Telemetry
from baseload.gateway.tenants import Tenants
from baseload.gateway.upstream import Pool

BACKLOG = 4096
"""Connects that the kernel may hold: 128 overflows at a burst of a thousand, for a second."""
URL_CONCURRENCY = 256
"""Calls at once to a URL whose `concurrency` is not given, to begin with."""
URL_CONCURRENCY_MAX = 4096
"""What the limit of such a URL may grow to, if it bears it."""
POOL_AGE_S = 25.0
"""Connections to backends idle for one to two of these are closed, before the usual 60 s of load
balancers makes traps of them."""
FAREWELL_S = 1.0
"""How long the last words of a drain may take to be written."""
DRAIN_LOOK_S = 0.02
FAILURE_LOG_GAP_S = 1.0
"""A failing backend is logged at most this often; every failure is counted."""

logger = logging.getLogger("baseload.gateway")


def setup_of(fleet: Fleet, known: dict[str, int], seed: int) -> Setup:
    """Reduce a fleet to what decisions need; `known` are limits that an engine told us."""
    return Setup(
        models=fleet.models,
        concurrency={
            name: known.get(name) or backend.concurrency or URL_CONCURRENCY
            for name, backend in fleet.backends.items()
        },
        ceilings={
            name: URL_CONCURRENCY_MAX
            for name, backend in fleet.backends.items()
            if backend.engine is None and backend.concurrency is None
        },
        accounts={
            name: backend.account for name, backend in fleet.backends.items() if backend.account
        },
        queue=fleet.queue,
        overload=fleet.overload,
        seed=seed,
    )


class Failure(msgspec.Struct, frozen=True):
    """The last thing that went wrong at a backend."""

    fact: str
    reason: str
    at: float
    """Seconds since 1970."""


class Gateway:
    """One data plane. Make it inside a running event loop."""

    def __init__(
        self,
        fleet: Fleet,
        concurrency: dict[str, int] | None = None,
        counters: Counters | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """`concurrency` gives the calls at once of backends that know it better than the file.

        Without `counters` nothing is limited, without a `ledger` nothing is written down.
        """
        self.loop = asyncio.get_running_loop()
        self.fleet = fleet
        self.inbound = fleet.inbound
        self.setup = setup_of(fleet, concurrency or {}, int.from_bytes(os.urandom(4)))
        self.gate = Gate(self.setup, Random(self.setup.seed))  # noqa: S311 - a seed repeats a run
        self.driver = Driver(self.gate, self.loop)
        self.telemetry = Telemetry(self.gate)
        self.pulse = Pulse(self.gate, self.telemetry)
        self.pools = {name: Pool(self.loop, item) for name, item in fleet.backends.items()}
        self.probes = Probes(
            self.loop, self.pools, fleet.backends, self.driver.clock, self.driver.observe
        )
        self.manners = Manners(fleet.backends, self.probes.kinds)
        self.crowds = Crowds()
        self.failures: dict[str, Failure] = {}
        self.clients: set[Client] = set()
        self.is_draining = False
        self.coarse_now = monotonic()
        self.started_at = time.time()
        self.address = parse_address(fleet.listen)
        self.books = Books(self.telemetry, Tariff(fleet.prices), counters, ledger)
        self.tenants = Tenants()
        self.reception = Reception(self)
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._drain_until = 0.0
        self._aged_at = self.coarse_now
        for name, backend in fleet.backends.items():
            if backend.engine is not None:
                self.driver.announce(name, is_up=False)

    # -- start and stop ----------------------------------------------------------------------

    async def start(self) -> None:
        """Listen; raises OSError if the address cannot be had. `address` then has the real port."""
        host, port = self.address
        tls = self._tls()
        self._server = await self.loop.create_server(
            lambda: Client(self), host, port, ssl=tls, backlog=BACKLOG,
            ssl_handshake_timeout=self.inbound.header_s if tls else None,
        )  # fmt: skip
        self.address = (host, self._server.sockets[0].getsockname()[1])
        self._look()
        self.probes.start()

    async def drain(self) -> int:
        """Stop taking calls, wait for the open ones; give how many had to be told to stop."""
        self.is_draining = True
        if self._server is not None:
            self._server.close()
        for client in list(self.clients):
            client.close_if_idle()
        self._drain_until = self.driver.clock() + self.fleet.drain_s
        await self._wait_for_clients()
        left = len(self.driver)
        self.driver.end_all(Fact.GONE)
        for client in list(self.clients):
            client.give_up()
        self._drain_until = self.driver.clock() + FAREWELL_S
        await self._wait_for_clients()
        await self._close()
        return left

    def hurry(self) -> None:
        """Let a drain wait no longer."""
        self._drain_until = 0.0

    async def _wait_for_clients(self) -> None:
        """Wait, bounded, until all that was asked is answered and all answers are on their way."""
        while self.clients and self.driver.clock() < self._drain_until:
            for client in list(self.clients):
                client.close_if_idle()
            await asyncio.sleep(DRAIN_LOOK_S)

    async def _close(self) -> None:
        for client in list(self.clients):
            client.abort()
        self.probes.close()
        for pool in self.pools.values():
            await pool.close()
        if self._sweep is not None:
            self._sweep.cancel()
        await asyncio.sleep(0)

    def announce(self, backend: str, url: str | None) -> None:
        """Hear that an engine is ready at a URL, or with None that it is not."""
        if url is not None:
            self.pools[backend].point_at(url)
        self.driver.announce(backend, is_up=url is not None)

    # -- what connections share --------------------------------------------------------------

    def handle(self, client: Client, request: Request) -> None:
        """Answer a request, or begin its call."""
        self.reception.handle(client, request)

    def refused(self, status: int) -> bytes:
        """Count a request that never became one; give a name for it."""
        self.telemetry.refused[status] += 1
        return self.reception.request_id()

    def note_failure(self, backend: str, fact: Fact, reason: str, request_id: bytes) -> None:
        """Keep the last failure of a backend, and log it unless it was logged a moment ago."""
        self.telemetry.failures[backend, fact.label] += 1
        last, now = self.failures.get(backend), time.time()
        if last is None or now - last.at >= FAILURE_LOG_GAP_S:
            logger.warning(
                "backend %s: %s (%s), request %s", backend, reason, fact.label, request_id.decode()
            )
        self.failures[backend] = Failure(fact.label, reason, now)
        self.pulse.failed(backend, fact, reason, now)

    # -- within ------------------------------------------------------------------------------

    def _look(self) -> None:
        """Once a second: clocks of connections, warm and old connections of pools."""
        self._sweep = self.loop.call_later(SWEEP_S, self._look)
        self.coarse_now = now = monotonic()
        for client in [client for client in self.clients if client.due <= now]:
            client.overdue()
        self.books.new_day(time.strftime("%Y-%m-%d", time.gmtime()))
        self.telemetry.connections = len(self.clients)
        self.telemetry.lag_s, self.telemetry.lag_max_s = self.driver.lag_s, self.driver.lag_max_s
        self.pulse.look(now, len(self.driver))
        self.books.spending.look(now)
        if now - self._aged_at >= POOL_AGE_S:
            self._aged_at = now
            for pool in self.pools.values():
                pool.close_old()
        for name, pool in self.pools.items():
            seat = self.gate.seats[name]
            if seat.is_up and seat.breaker.phase is Phase.CLOSED:
                pool.warm()

    def _tls(self) -> ssl.SSLContext | None:
        if self.fleet.tls is None:
            return None
        cert, key = self.fleet.tls.cert, self.fleet.tls.key
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(cert, key, password="")  # Never ask on the terminal.
        except OSError as error:
            reason = error.strerror or error
            raise BaseloadError(f"tls: {cert} and {key} cannot be used: {reason}") from error
        return context
