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
from itertools import count
from random import Random
from time import monotonic

import msgspec

from baseload.apis import openai
from baseload.config.addresses import parse_address
from baseload.config.fleet import Fleet
from baseload.core.breaker import Phase
from baseload.core.facts import DEFAULT, Call, Fact
from baseload.core.gate import Gate
from baseload.core.setup import Setup
from baseload.errors import BaseloadError
from baseload.gateway.callers import Keys, prefix_of, priority_of
from baseload.gateway.driver import Driver
from baseload.gateway.exchange import Exchange
from baseload.gateway.keeping import Manners
from baseload.gateway.probes import Probes
from baseload.gateway.requests import Request
from baseload.gateway.server import SWEEP_S, Client
from baseload.gateway.sharing import Crowds
from baseload.gateway.telemetry import Telemetry
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
BYTES_PER_TOKEN = 4
"""A request's bytes for each token of its prompt: near enough to tell large from small."""
FAILURE_LOG_GAP_S = 1.0
"""A failing backend is logged at most this often; every failure is counted."""

_ONE = (None, 1)
_JSON = b"content-type: application/json\r\nx-request-id: %b\r\n"
_MODEL_PATHS = {prefix + path: path for path in openai.MODEL_PATHS for prefix in (b"", b"/v1")}
"""DeepSeek's own documentation gives a base URL without `/v1`; programs written for it keep it."""
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

    def __init__(self, fleet: Fleet, concurrency: dict[str, int] | None = None) -> None:
        """`concurrency` gives the calls at once of backends that know it better than the file."""
        self.loop = asyncio.get_running_loop()
        self.fleet = fleet
        self.inbound = fleet.inbound
        self.setup = setup_of(fleet, concurrency or {}, int.from_bytes(os.urandom(4)))
        self.gate = Gate(self.setup, Random(self.setup.seed))  # noqa: S311 - a seed repeats a run
        self.driver = Driver(self.gate, self.loop)
        self.telemetry = Telemetry(self.gate)
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
        self._models_body = openai.models_body(list(fleet.models), int(self.started_at))
        self._keys = Keys()
        self._by_prefix = {name for name in fleet.models if self.gate.wants_prefix(name)}
        self._numbers = count(1)
        self._boot = os.urandom(4).hex().encode()
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
        number = next(self._numbers)
        request_id = request.request_id or b"req-%b-%x" % (self._boot, number)
        upstream_path = _MODEL_PATHS.get(request.path)
        if upstream_path is None:
            path = request.path.partition(b"?")[0]
            upstream_path = _MODEL_PATHS.get(path)
            if upstream_path is None:
                self._handle_other(client, request, path, request_id)
                return
        if request.method != b"POST":
            self._refuse(client, request_id, 405, "Use POST here.", head=b"allow: POST\r\n")
            return
        try:
            asked = openai.read_request(request.body)
            priority = priority_of(request.priority) if request.priority else DEFAULT
        except openai.BadRequestError as error:
            self._refuse(client, request_id, 400, str(error), param=error.param)
            return
        model = self.fleet.models.get(asked.model)
        if model is None:
            self._refuse_model(client, request_id, asked.model)
        elif self.is_draining:
            self._refuse(client, request_id, 503, "The gateway is stopping.", "gateway_stopping")
        else:
            now, body = self.driver.clock(), request.body
            call = Call(
                number, asked.model, now + model.total_s, asked.stream is True,
                self._keys.name(request.authorization), priority,
                1 + len(body) // BYTES_PER_TOKEN, asked.answer_tokens(),
                prefix_of(body) if asked.model in self._by_prefix else 0,
                upstream_path == b"/embeddings",
            )  # fmt: skip
            exchange = Exchange(self, client, call, model, upstream_path, body, request_id, now)
            if asked.n not in _ONE or upstream_path == b"/completions":
                exchange.has_choices = True
            client.busy = exchange
            if not model.share_identical or not self._share(client, exchange):
                self.driver.start(exchange, now)

    def _share(self, client: Client, exchange: Exchange) -> bool:
        """Let the caller join those who ask the same, or be the first; say whether it joined."""
        call, request_id = exchange.call, exchange.request_id
        question = (exchange.path, call.key, call.priority, exchange.body)
        crowd = self.crowds.find(question)
        if crowd is not None:
            self.telemetry.shared += 1
            crowd.join(client, request_id)
            return True
        exchange.caller = crowd = self.crowds.open(question, request_id)
        crowd.exchange = exchange
        crowd.join(client, request_id)
        return False

    def refused(self, status: int) -> bytes:
        """Count a request that never became one; give a name for it."""
        self.telemetry.refused[status] += 1
        return b"req-%b-%x" % (self._boot, next(self._numbers))

    def note_failure(self, backend: str, fact: Fact, reason: str, request_id: bytes) -> None:
        """Keep the last failure of a backend, and log it unless it was logged a moment ago."""
        self.telemetry.failures[backend, fact.label] += 1
        last, now = self.failures.get(backend), time.time()
        if last is None or now - last.at >= FAILURE_LOG_GAP_S:
            logger.warning(
                "backend %s: %s (%s), request %s", backend, reason, fact.label, request_id.decode()
            )
        self.failures[backend] = Failure(fact.label, reason, now)

    # -- within ------------------------------------------------------------------------------

    def _handle_other(
        self, client: Client, request: Request, path: bytes, request_id: bytes
    ) -> None:
        """Answer what is no call: the list of models, one of them, or nothing of the kind."""
        path = path.removeprefix(b"/v1")
        name = path.removeprefix(b"/models/").decode("utf-8", "replace")
        if path != b"/models" and not path.startswith(b"/models/"):
            shown = request.path[:100].decode("ascii", "replace")
            known = ", ".join(f"/v1{path.decode()}" for path in openai.MODEL_PATHS)
            self._refuse(
                client, request_id, 404,
                f"There is nothing at {shown}. Here are {known} and /v1/models.",
            )  # fmt: skip
        elif request.method not in (b"GET", b"HEAD"):
            self._refuse(client, request_id, 405, "Use GET here.", head=b"allow: GET, HEAD\r\n")
        elif path == b"/models":
            client.answer(200, _JSON % request_id, self._models_body)
        elif name in self.fleet.models:
            body = openai.model_body(name, int(self.started_at))
            client.answer(200, _JSON % request_id, body)
        else:
            self._refuse_model(client, request_id, name)

    def _refuse_model(self, client: Client, request_id: bytes, name: str) -> None:
        known = ", ".join(self.fleet.models)
        message = f"The model `{name[:200]}` does not exist here. Known models: {known}."
        self._refuse(client, request_id, 404, message, "model_not_found", "model")

    def _refuse(
        self, client: Client, request_id: bytes, status: int, message: str,
        code: str | None = None, param: str | None = None, head: bytes = b"",
    ) -> None:  # fmt: skip
        self.telemetry.refused[status] += 1
        kind = "invalid_request_error" if status < 500 else "unavailable_error"
        body = openai.error_body(message, kind, code, param, request_id.decode())
        client.answer(status, _JSON % request_id + head, body)

    def _look(self) -> None:
        """Once a second: clocks of connections, warm and old connections of pools."""
        self._sweep = self.loop.call_later(SWEEP_S, self._look)
        self.coarse_now = now = monotonic()
        for client in [client for client in self.clients if client.due <= now]:
            client.overdue()
        self.telemetry.connections = len(self.clients)
        self.telemetry.lag_s, self.telemetry.lag_max_s = self.driver.lag_s, self.driver.lag_max_s
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
