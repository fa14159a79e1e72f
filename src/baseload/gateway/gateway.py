"""The gateway as a whole: what all calls share, and how it starts and stops.

A request comes in from a connection (`server`), becomes a call, and is carried by the driver
through its exchange to a pool (`upstream`) and back. Stopping is a drain: no new connections, idle
ones closed, answers under way given a bounded time, and what is left is told so, not cut.
"""

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Sequence
from random import Random
from time import monotonic
from typing import Any

import msgspec

from baseload.config.addresses import parse_address
from baseload.config.fleet import Fleet
from baseload.config.prices import prices_of
from baseload.core.breaker import Phase
from baseload.core.facts import Fact
from baseload.core.gate import Gate
from baseload.core.rates import Tariff
from baseload.errors import BaseloadError
from baseload.gateway.books import Books, Ledger
from baseload.gateway.changing import Report, change
from baseload.gateway.driver import Driver
from baseload.gateway.keeping import Manners
from baseload.gateway.live.pulse import Pulse
from baseload.gateway.preparing import certificate_end_of, setup_of, tls_of
from baseload.gateway.probes import Probes
from baseload.gateway.reception import Reception
from baseload.gateway.server import SWEEP_S, Client
from baseload.gateway.sharing import Crowds
from baseload.gateway.telemetry import Telemetry
from baseload.gateway.tenants import Tenants
from baseload.gateway.upstream import Pool
from baseload.store.counters import Counters

BACKLOG = 4096
"""Connects that the kernel may hold: 128 overflows at a burst of a thousand, for a second."""
POOL_AGE_S = 25.0
"""Connections to backends idle for one to two of these are closed, before the usual 60 s of load
balancers makes traps of them."""
LEAVE_IDLE_S = 5.0
"""How long a kept connection may stay idle once another process serves the port. Whoever uses it at
all has then been told with an answer; closing it earlier would hit requests on their way."""
LEAVE_S_MIN = 1.0
"""Connections that were accepted just before are still being set up, and not yet among ours."""
FAREWELL_S = 1.0
"""How long the last words of a drain may take to be written."""
DRAIN_LOOK_S = 0.02
ENABLE, DRAIN, DISABLE = "enable", "drain", "disable"
FAILURE_LOG_GAP_S = 1.0
"""A failing backend is logged at most this often; every failure is counted."""

logger = logging.getLogger("baseload.gateway")


class Failure(msgspec.Struct, frozen=True):
    """The last thing that went wrong at a backend."""

    fact: str
    reason: str
    at: float
    """Seconds since 1970."""


class Gateway:
    """One data plane. Make it inside a running event loop."""

    certificate_ends_at: float | None = None
    """When what callers are shown ends, in seconds since 1970."""

    def __init__(
        self,
        fleet: Fleet,
        concurrency: dict[str, int] | None = None,
        counters: Counters | None = None,
        ledger: Ledger | None = None,
        workers: int = 1,
    ) -> None:
        """`concurrency` gives the calls at once of backends that know it better than the file.

        Without `counters` nothing is limited, without a `ledger` nothing is written down. Of so
        many `workers` it is one, whose part of limits is in the other arguments already.
        """
        self.loop = asyncio.get_running_loop()
        self.fleet = fleet
        self.inbound, self._known = fleet.inbound, dict(concurrency or {})
        self.setup = setup_of(fleet, self._known, int.from_bytes(os.urandom(4)), workers=workers)
        self.gate = Gate(self.setup, Random(self.setup.seed))  # noqa: S311 - a seed repeats a run
        self.driver = Driver(self.gate, self.loop)
        self.telemetry = Telemetry(self.gate)
        self.pulse = Pulse(self.gate, self.telemetry)
        self.pools = {name: Pool(self.loop, item) for name, item in fleet.backends.items()}
        self.retired: list[Pool] = []
        """Pools of backends that are no longer here, until their last answer has ended."""
        self.probes = Probes(
            self.loop, self.pools, fleet.backends, self.driver.clock, self.driver.observe,
            self.gate.awaits, self.gate.learns,
        )  # fmt: skip
        self.manners = Manners(fleet.backends, self.probes.kinds)
        self.crowds = Crowds()
        self.failures: dict[str, Failure] = {}
        self.orders: dict[str, str] = {}
        """Backends that operators have closed: `drain` or `disable`."""
        self.clients: set[Client] = set()
        self.is_draining = self.is_leaving = False
        self.coarse_now = monotonic()
        self.started_at = time.time()
        self.address = parse_address(fleet.listen)
        self.books = Books(self.telemetry, Tariff(prices_of(fleet)), counters, ledger)
        self.tenants = Tenants(fleet)
        self.reception = Reception(self)
        self.handle = self.reception.handle
        """Answers a request, or begins its call."""
        self.tls: ssl.SSLContext | None = None
        self._servers: list[asyncio.Server] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._drain_until = 0.0
        self._is_hurried = False
        """Somebody who stops us has said already that he does not wait."""
        self._aged_at = self.coarse_now

    # -- start and stop ----------------------------------------------------------------------

    async def start(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Listen, on sockets that somebody else opened or on the fleet's address.

        Raises OSError if the address cannot be had. `address` then has the real port.
        """
        host, port = self.address
        self.tls = tls = tls_of(self.fleet)
        self.certificate_ends_at = certificate_end_of(self.fleet)
        how: dict[str, Any] = {
            "ssl": tls, "backlog": BACKLOG,
            "ssl_handshake_timeout": self.inbound.header_s if tls else None,
        }  # fmt: skip
        listen = self.loop.create_server
        if sockets:
            for one in sockets:
                self._servers.append(await listen(lambda: Client(self), sock=one, **how))
        else:
            self._servers.append(await listen(lambda: Client(self), host, port, **how))
        self.address = (host, self._servers[0].sockets[0].getsockname()[1])
        self._look()
        self.probes.start()

    async def hand_over(self) -> int:
        """Leave the port to a process that serves it already; see every caller off, then drain.

        Nobody is refused: kept connections are told to close with their next answer, and those
        that ask nothing any more are closed. What is under way has all the time that calls have.
        Gives how many had to be told to stop.
        """
        self.is_leaving = True
        self._stop_listening()
        begun_at = self.driver.clock()
        self._drain_until = begun_at + max(m.total_s for m in self.fleet.models.values())
        least_s = LEAVE_S_MIN if self.tls is None else LEAVE_IDLE_S  # Handshakes take a while.
        await self._wait_for_clients(begun_at + least_s, begun_at + LEAVE_IDLE_S)
        return await self.drain()

    async def drain(self) -> int:
        """Stop taking calls, wait for the open ones; give how many had to be told to stop."""
        self.is_draining = True
        self._stop_listening()
        for client in list(self.clients):
            client.close_if_idle()
        self._drain_until = 0.0 if self._is_hurried else self.driver.clock() + self.fleet.drain_s
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
        """Let a drain wait no longer, also one that is about to begin."""
        self._drain_until = 0.0
        self._is_hurried = not (self.is_draining or self.is_leaving)

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()

    async def _wait_for_clients(self, least_until: float = 0.0, idle_until: float = 0.0) -> None:
        """Wait, bounded, until all that was asked is answered and all answers are on their way.

        Lines of batches have no connection, and are waited for like callers: they are paid for.
        Idle connections are closed from `idle_until` on; newcomers may come until `least_until`.
        """
        while (now := self.driver.clock()) < self._drain_until:
            if not self.clients and not len(self.driver) and now >= least_until:
                return
            if now >= idle_until:
                for client in list(self.clients):
                    client.close_if_idle()
            await asyncio.sleep(DRAIN_LOOK_S)

    async def _close(self) -> None:
        for client in list(self.clients):
            client.abort()
        self.probes.close()
        for pool in [*self.pools.values(), *self.retired]:
            await pool.close()
        if self._sweep is not None:
            self._sweep.cancel()
        await asyncio.sleep(0)

    def announce(self, backend: str, url: str | None) -> None:
        """Hear that an engine is ready at a URL, or with None that it is not."""
        if backend not in self.pools:
            return  # It has left, and its engine is being stopped.
        if url is not None:
            self.pools[backend].point_at(url)
        self.driver.announce(backend, is_up=url is not None)

    # -- what operators do -------------------------------------------------------------------

    def operate(self, backend: str, order: str) -> str:
        """Do what an operator orders, `enable`, `drain` or `disable`; say in words how it stands.

        A backend that is drained takes no new calls; one that is disabled gives away those that
        somebody else can take at once, too. Raises BaseloadError for what cannot be ordered.
        """
        if backend not in self.pools:
            raise BaseloadError(f"no backend `{backend}`; there are: {', '.join(self.pools)}")
        if order == ENABLE:
            self.orders.pop(backend, None)
        elif order in (DRAIN, DISABLE):
            self.orders[backend] = order
        else:
            raise BaseloadError(f"no order `{order}`; there are: enable, drain, disable")
        self.driver.order(backend, is_open=order == ENABLE)
        if order == DISABLE:
            self.driver.withdraw(backend)
        logger.info("backend %s: ordered to %s", backend, order)
        return self.standing(backend)

    def standing(self, backend: str) -> str:
        """Say in words what an operator's order has come to; empty: there is none."""
        order, left = self.orders.get(backend), self.gate.seats[backend].in_flight
        if order is None:
            return ""
        rest = f"{left} open answer{'s' * (left != 1)} to finish" if left else "nothing is left"
        return f"{'draining' if order == DRAIN else 'disabled'} by an operator, {rest}"

    def reload(self, fleet: Fleet, concurrency: dict[str, int] | None = None) -> Report:
        """Go on with another fleet, all of it or nothing; `concurrency` as at the beginning."""
        self._known |= concurrency or {}
        report = change(self, fleet, self._known)
        for name in [name for name in self.failures if name not in self.pools]:
            del self.failures[name]
        return report

    # -- what connections share --------------------------------------------------------------

    def refusal_of(self, authorization: bytes) -> str:
        """Say why whoever shows this may not come in; empty if they may."""
        tenants = self.tenants
        return "" if tenants.find(authorization) is not None else tenants.why_not(authorization)

    def refused(self, status: int) -> bytes:
        """Count a request that never became one; give a name for it."""
        self.telemetry.refused[status] += 1
        return self.reception.request_id()

    def worded(self, path: bytes, status: int, body: bytes) -> bytes:
        """Give an error in the words of those who ask for a path."""
        return self.reception.worded(path, status, body)

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
        self.tenants.tick()
        self.books.tell_time(time.strftime("%Y-%m-%dT%H:%M", time.gmtime()))
        self.telemetry.connections = len(self.clients)
        self.telemetry.lag_s, self.telemetry.lag_max_s = self.driver.lag_s, self.driver.lag_max_s
        self.pulse.look(now, len(self.driver))
        self.books.spending.look(now)
        if now - self._aged_at >= POOL_AGE_S:
            self._aged_at = now
            for pool in self.pools.values():
                pool.close_old()
        if self.retired:
            self.retired = [pool for pool in self.retired if not pool.is_empty]
        for name, pool in self.pools.items():
            seat = self.gate.seats[name]
            if seat.is_up and seat.is_open and seat.breaker.phase is Phase.CLOSED:
                pool.warm()
