"""A baseload that is one process: a gateway, its engines and the operator's port, joined.

The rooms do not know each other; here they are joined. Engines tell when they are ready, the
gateway is told where; the operator's port asks for snapshots.
"""

import contextlib
from asyncio import Future
from collections.abc import Callable

from baseload.cli.greeting import greet, tell_of_engines
from baseload.cli.making import Plant
from baseload.cli.plane import Port
from baseload.cli.service import Service
from baseload.cli.sockets import copies
from baseload.config.fleet import Fleet
from baseload.errors import BaseloadError
from baseload.gateway import status
from baseload.gateway.changing import Report
from baseload.gateway.gateway import Gateway
from baseload.gateway.live.standing import MODES
from baseload.gateway.live.view import Live, View
from baseload.gateway.tape import Recorder


class Station(Service):
    """One process that serves callers itself."""

    plant: Plant
    gateway: Gateway

    @property
    def orders(self) -> dict[str, str]:
        """Backends that operators have closed."""
        return self.gateway.orders

    async def open(self, slots: dict[str, int], start_engines: Callable[[], None]) -> None:
        """Make the gateway, and serve."""
        self.plant = Plant(self.fleet, slots)
        self.gateway = gateway = self.plant.gateway
        self.plant.registry.register(self.energy)
        self._view = View(gateway)
        self._tape = contextlib.ExitStack()
        if self.options.tape is not None:
            recorder = Recorder(
                gateway.driver, gateway.setup, self.options.tape, self.options.tape_bytes
            )
            self._tape.enter_context(recorder)
        try:
            await self.arrive(start_engines, self._listen)
        except BaseException:
            await self.plant.close()
            raise

    async def _listen(self) -> None:
        for backend, order in self.left.orders.items() if self.left is not None else ():
            with contextlib.suppress(BaseloadError):  # It has left the file meanwhile.
                self.gateway.operate(backend, order)
        await self.plant.start(copies(self.sockets.all_listening()))
        self.port = Port(self, self.plant.registry)
        self.port.operator.start(copies(self.sockets.admin))

    async def leave(self, *, is_succeeded: bool) -> int:
        """Drain."""
        try:
            return await self.plant.drain(is_succeeded=is_succeeded)
        finally:
            self._tape.close()

    def hurry(self) -> None:
        """Wait for nobody any longer."""
        self.gateway.hurry()

    def tell_engine(self, name: str, url: str | None) -> None:
        """Hear where an engine is."""
        self.gateway.announce(name, url)
        kind, word = ("warn", "not ready") if url is None else ("good", "ready")
        self._note("engine", kind, f"the engine of {name} is {word}", name)

    def look_for_keys(self) -> None:
        """Take notice of the store's keys at once."""
        self.plant.keys.wake()

    async def change(self, fleet: Fleet, slots: dict[str, int]) -> Report:
        """Go on with another fleet."""
        report = self.gateway.reload(fleet, slots)
        self.fleet = self.gateway.fleet
        return report

    def is_idle(self, backend: str) -> Callable[[], bool]:
        """Give what says whether the connections of a backend as it is now are gone."""
        pool = self.gateway.pools[backend]
        return lambda: pool.is_empty

    async def operate(self, backend: str, order: str) -> str:
        """Do what an operator orders of a backend; say how it stands then."""
        words = self.gateway.operate(backend, order)
        self._note("operator", "note", f"{backend}: an operator ordered to {order} it", backend)
        self._view.forget()
        return words

    async def weigh(self, joules_per_token: dict[str, float]) -> dict[str, int]:
        """Have the books go by this; give the tokens that they have counted."""
        return self.gateway.books.weigh(joules_per_token)

    async def live(self, since: int) -> Live:
        """Give what the page shows."""
        modes = {name: MODES[order] for name, order in self.orders.items()}
        return self._view.take(since, self.engines.told(), modes, self.plant.alarms())

    def _note(self, kind: str, tone: str, words: str, backend: str) -> None:
        self.gateway.pulse.happenings.note(kind, tone, words, backend)

    def ask_status(self) -> "Future[status.Status]":
        """Ask for a snapshot, from another thread."""

        async def take() -> status.Status:
            return status.take(self.gateway, self.engines.told(), self.plant.alarms())

        return self.ask(take())

    def greet(self) -> None:
        """Say on the terminal what is served."""
        gateway, console = self.gateway, self.console
        where, is_open = self.port.operator.address, gateway.tenants.is_open
        greet(console, self.fleet, self.options.source, gateway.address, where, is_open=is_open)
        waiting = [] if self.left is not None else self.engines.names
        tell_of_engines(console, waiting, self.options.tape)
