"""A baseload of several processes: the one that serves no callers, and minds the others.

It starts engines once and tells all workers where they are, owns the operator's port and shows all
workers as one gateway, passes on what operators order, and reads the fleet file for everybody: a
file is checked once, here, and either all workers go on with it or none. A worker that does not is
started again, by what holds now.
"""

import asyncio
import logging
import os
import time
from asyncio import Future
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator

import msgspec
from msgspec import structs
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from baseload.cli.channel import ChannelError
from baseload.cli.crew import Crew, Member
from baseload.cli.dividing import concurrency_of, counts_alone, part_of
from baseload.cli.greeting import greet, tell_of_engines
from baseload.cli.merging import Family, merged_families, merged_status
from baseload.cli.merging_live import Whole, merged_live
from baseload.cli.plane import Port
from baseload.cli.service import Service
from baseload.cli.sockets import copies
from baseload.cli.worker import Change, Work
from baseload.config.fleet import Fleet
from baseload.errors import BaseloadError
from baseload.gateway.changing import FIXED, Report
from baseload.gateway.live.happenings import KEPT_MAX, Happening
from baseload.gateway.live.part import Look, Part
from baseload.gateway.live.pulse import BRISK_S
from baseload.gateway.live.view import Live
from baseload.gateway.preparing import tls_of
from baseload.gateway.status import Status
from baseload.gateway.upstream import Pool

IDLE_LOOK_S = 0.5
SHOW_S_MAX = 2.0
"""How long a worker may take to show itself: less than whoever looks waits for the whole."""

logger = logging.getLogger("baseload.cli")


class Foreman(Service):
    """Minds the workers."""

    crew: Crew
    _orders: dict[str, str]
    _urls: dict[str, str]
    _slots: dict[str, int]

    @property
    def orders(self) -> dict[str, str]:
        """Backends that operators have closed."""
        return self._orders

    async def open(self, slots: dict[str, int], start_engines: Callable[[], None]) -> None:
        """Start the workers."""
        self._orders = dict(self.left.orders) if self.left is not None else {}
        self._urls, self._slots = {}, slots
        self._is_hopeless = False
        self._boot = os.urandom(6).hex()
        self._notes: deque[Happening] = deque(maxlen=KEPT_MAX)
        self.crew = Crew(self.options.workers, self.sockets, self._work)
        self.crew.on_ready, self.crew.on_failed = self._brief, self._lose_hope
        self.crew.on_ended = self._tell_of_end
        self._try_out(self.fleet)
        if counts_alone(self.fleet):
            logger.warning(
                "store.counters is %s: each of %d workers counts limits for itself and allows an"
                " equal part of each; with redis:// they are counted together",
                self.fleet.store.counters, self.crew.count,
            )  # fmt: skip
        await self.arrive(start_engines, self._listen)

    async def _listen(self) -> None:
        try:
            await self.crew.start()
        except BaseloadError:
            await self.crew.end()
            raise
        registry = CollectorRegistry()
        registry.register(_Numbers(self))
        registry.register(self.energy)
        self.port = Port(self, registry)
        self.port.operator.start(copies(self.sockets.admin))

    async def leave(self, *, is_succeeded: bool) -> int:
        """See all workers off."""
        left = await self.crew.drain(is_succeeded=is_succeeded)
        if self._is_hopeless:
            raise BaseloadError("no worker could be kept alive")
        return left

    def hurry(self) -> None:
        """Have no worker wait any longer."""
        self.spawn(self.crew.hurry())

    # -- what workers must know --------------------------------------------------------------

    def _work(self, index: int, socket_fds: list[int], channel_fd: int) -> Work:
        options, count = self.options, self.options.workers
        return Work(
            index=index,
            count=count,
            sharers=count if counts_alone(self.fleet) else 1,
            fleet=part_of(self.fleet, count),
            concurrency=concurrency_of(self.fleet, self._slots, count),
            engines=self._urls,
            orders=self._orders,
            socket_fds=socket_fds,
            channel_fd=channel_fd,
            tape=None if options.tape is None else str(options.tape),
            tape_bytes=options.tape_bytes,
        )

    def _brief(self, member: Member) -> None:
        """Tell a worker that serves now what may have changed since it was started."""

        async def tell() -> None:
            try:
                await member.channel.ask("reload", self._change())
                for name, backend in self.fleet.backends.items():
                    if backend.engine is not None:
                        news = msgspec.msgpack.encode((name, self._urls.get(name)))
                        await member.channel.ask("engine", news)
                for name, order in self._orders.items():
                    await member.channel.ask("operate", msgspec.msgpack.encode((name, order)))
            except ChannelError as error:
                logger.warning("worker %d cannot be briefed: %s", member.index, error)

        if self.crew.restarts[member.index]:  # The first of them are told at once.
            self.spawn(tell())
            self._note("worker", "good", f"worker {member.index} serves again, pid {member.pid}")

    def _tell_of_end(self, member: Member) -> None:
        self._note("worker", "bad", f"worker {member.index}, pid {member.pid}, ended unbidden")

    def _lose_hope(self) -> None:
        self._is_hopeless = True
        self.stop()

    def tell_engine(self, name: str, url: str | None) -> None:
        """Pass on where an engine is."""
        if url is None:
            self._urls.pop(name, None)
        else:
            self._urls[name] = url
        self.spawn(self.crew.ask_all("engine", msgspec.msgpack.encode((name, url))))
        tone, word = ("warn", "not ready") if url is None else ("good", "ready")
        self._note("engine", tone, f"the engine of {name} is {word}", name)

    def look_for_keys(self) -> None:
        """Leave it to the workers: each looks for itself, every half second."""

    # -- changes -----------------------------------------------------------------------------

    async def change(self, fleet: Fleet, slots: dict[str, int]) -> Report:
        """Have all workers go on with another fleet."""
        self._try_out(fleet)
        old = self.fleet
        fixed = {name: getattr(old, name) for name in FIXED}
        if (fleet.tls is None) != (old.tls is None):
            fixed["tls"] = old.tls
        asked = Change(part_of(fleet, self.crew.count), self._concurrency(fleet, slots))
        self.fleet, self._slots = structs.replace(fleet, **fixed), slots
        self._orders = {name: one for name, one in self._orders.items() if name in fleet.backends}
        answers = await self.crew.ask_all("reload", msgspec.msgpack.encode(asked))
        for member in self.crew.ready():
            if member.index not in answers:
                self.crew.kill(member)
        if not answers:
            raise BaseloadError("no worker serves; those that start will go by the new file")
        report = msgspec.msgpack.decode(next(iter(answers.values())), type=Report)
        logger.info("reloaded by %d workers: %s", len(answers), report.words())
        return report

    def _change(self) -> bytes:
        part = part_of(self.fleet, self.crew.count)
        return msgspec.msgpack.encode(Change(part, self._concurrency(self.fleet, self._slots)))

    def _concurrency(self, fleet: Fleet, slots: dict[str, int]) -> dict[str, int]:
        return concurrency_of(fleet, slots, self.crew.count)

    def _try_out(self, fleet: Fleet) -> None:
        """Find out here what would fail in every worker; raises BaseloadError."""
        tls_of(fleet)
        for backend in fleet.backends.values():
            Pool(self.loop, backend)

    def is_idle(self, backend: str) -> Callable[[], bool]:
        """Give what says whether every worker has let go of who left; they are asked meanwhile."""
        is_idle = asyncio.Event()
        looks: list[Coroutine[None, None, None]] = []

        async def look() -> None:
            while not is_idle.is_set():
                await asyncio.sleep(IDLE_LOOK_S)
                answers = await self.crew.ask_all("idle")
                if all(answers.values()):
                    is_idle.set()

        def said() -> bool:
            if not looks:
                looks.append(look())
                self.spawn(looks[0])
            return is_idle.is_set()

        return said

    async def operate(self, backend: str, order: str) -> str:
        """Have all workers do what an operator orders; say how it stands."""
        if backend not in self.fleet.backends:
            known = ", ".join(self.fleet.backends)
            raise BaseloadError(f"no backend `{backend}`; there are: {known}")
        answers = await self.crew.ask_all("operate", msgspec.msgpack.encode((backend, order)))
        if order == "enable":
            self._orders.pop(backend, None)
        elif answers:
            self._orders[backend] = order
        words = f"{backend}: an operator ordered to {order} it"
        self._note("operator", "note", words, backend)
        return "; ".join(sorted({words.decode() for words in answers.values()} - {""}))

    async def weigh(self, joules_per_token: dict[str, float]) -> dict[str, int]:
        """Have all workers' books go by this; give the tokens that they have counted together."""
        rates = msgspec.msgpack.encode(joules_per_token)
        answers = await self.crew.ask_all("weigh", rates, wait_s=SHOW_S_MAX)
        told: Counter[str] = Counter()
        for answer in answers.values():
            told.update(msgspec.msgpack.decode(answer, type=dict[str, int]))
        return dict(told)

    # -- what is shown -----------------------------------------------------------------------

    async def live(self, since: int) -> Live:
        """Give what the page shows: ticks are seconds here, and the last is the last that is over.

        A worker that does not answer is left out, and that is said.
        """
        at = time.time()
        tick = int(at) - 1
        if since > tick:  # It comes from another process.
            since = 0
        look = Look(min(since, tick - BRISK_S) - 1, self.engines.told())
        answers = await self.crew.ask_all("live", msgspec.msgpack.encode(look), SHOW_S_MAX)
        if not answers:
            raise TimeoutError
        whole = Whole(
            boot=self._boot,
            tick=tick,
            since=since,
            at=at,
            error_rate=self.fleet.overload.error_rate,
            count=self.crew.count,
            missing=self.crew.missing(answers),
            notes=self._notes,
        )
        return merged_live(
            {at: msgspec.msgpack.decode(one, type=Part) for at, one in answers.items()}, whole
        )

    def _note(self, kind: str, tone: str, words: str, backend: str = "") -> None:
        self._notes.append(Happening(0, time.time(), kind, tone, words, backend))

    def ask_status(self) -> "Future[Status]":
        """Ask all workers for a snapshot, from another thread."""

        async def take() -> Status:
            answers = await self.crew.ask_all("status", wait_s=SHOW_S_MAX)
            if not answers:
                raise TimeoutError
            all_ = [msgspec.msgpack.decode(one, type=Status) for one in answers.values()]
            return merged_status(all_, self.crew.told(answers), self.engines.told())

        return self.ask(take())

    async def numbers(self) -> dict[int, list[Family]]:
        """Ask all workers for what they have counted."""
        answers = await self.crew.ask_all("metrics", wait_s=SHOW_S_MAX)
        kind = list[Family]
        return {at: msgspec.msgpack.decode(one, type=kind) for at, one in answers.items()}

    def greet(self) -> None:
        """Say on the terminal what is served."""
        console, told = self.console, self.crew.ready()[0].told
        assert told is not None
        where, source = self.port.operator.address, self.options.source
        greet(console, self.fleet, source, told.address, where, is_open=told.is_open)
        waiting = [] if self.left is not None else self.engines.names
        tell_of_engines(console, waiting, self.options.tape)
        console.print(f"{self.crew.count} workers share the port.")


class _Numbers(Collector):
    """All workers' metrics, asked for in the operator's thread."""

    def __init__(self, foreman: Foreman) -> None:
        self._foreman = foreman

    def collect(self) -> Iterator[Metric]:
        """Ask, and wait no longer than an answer may take."""
        foreman = self._foreman
        asked = asyncio.run_coroutine_threadsafe(foreman.numbers(), foreman.loop)
        return merged_families(asked.result(2 * SHOW_S_MAX))
