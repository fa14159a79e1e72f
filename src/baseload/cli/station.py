"""A baseload that is one process: a gateway, its engines and the operator's port, joined.

The rooms do not know each other; here they are joined. Engines tell when they are ready, the
gateway is told where; the operator's port asks for snapshots.
"""

import contextlib
from asyncio import Future
from collections.abc import Callable

from baseload.cli.greeting import greet, tell_of_engines
from baseload.cli.making import Plant
from baseload.cli.service import Service
from baseload.cli.sockets import copies
from baseload.config.addresses import parse_address
from baseload.config.fleet import Fleet
from baseload.errors import BaseloadError
from baseload.gateway import status
from baseload.gateway.changing import Report
from baseload.gateway.gateway import Gateway
from baseload.gateway.tape import Recorder
from baseload.web.operator import Operator, make_app


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
        app = make_app(self.ask_status, self.plant.registry)
        self.operator = Operator(parse_address(self.fleet.admin), app)
        self.operator.start(copies(self.sockets.admin))

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
        return self.gateway.operate(backend, order)

    def ask_status(self) -> "Future[status.Status]":
        """Ask for a snapshot, from another thread."""

        async def take() -> status.Status:
            return status.take(self.gateway, self.engines.told())

        return self.ask(take())

    def greet(self) -> None:
        """Say on the terminal what is served."""
        gateway, console = self.gateway, self.console
        where, is_open = self.operator.address, gateway.tenants.is_open
        greet(console, self.fleet, self.options.source, gateway.address, where, is_open=is_open)
        waiting = [] if self.left is not None else self.engines.names
        tell_of_engines(console, waiting, self.options.tape)
