"""One running baseload: a gateway, its engines, the operator's port, and how it is told things.

The rooms do not know each other; here they are joined. Engines tell when they are ready, the
gateway is told where; the operator's port asks for snapshots. The order matters at both ends: first
listen, so that callers get an honest 503 while engines load; at the end first drain, and only then
stop the engines that the open answers come from. A successor does it the other way round: it says
that it is ready, and listens, only when its engines are, because until then another process serves.

Signals: SIGTERM and Ctrl-C drain, a second one waits no longer; SIGHUP reads the fleet file again;
SIGUSR2 starts a successor and then leaves. Not here: several processes (`workers`).
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
from asyncio import Future
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.markup import escape

from baseload.cli import systemd
from baseload.cli.engine_room import EngineRoom
from baseload.cli.greeting import greet, tell_of_engines
from baseload.cli.making import make_gateway
from baseload.cli.sockets import Handover, Sockets, copies, have_sockets
from baseload.cli.succession import PidFile, SuccessionError, succeed, tell_ready
from baseload.cli.watch import Watch
from baseload.config.addresses import parse_address, show_address
from baseload.config.fleet import Fleet
from baseload.config.reading import read_fleet
from baseload.engines.supervisor import EngineState
from baseload.errors import BaseloadError, FleetFileError
from baseload.gateway import status
from baseload.gateway.changing import Report
from baseload.gateway.gateway import Gateway
from baseload.gateway.tape import Recorder
from baseload.web.operator import Operator, make_app

GARBAGE_THRESHOLD = 20_000
"""Objects between two looks for cycles: calls leave none behind, so looking often is waste."""

logger = logging.getLogger("baseload.cli")
_T = TypeVar("_T")


class Options(NamedTuple):
    """How `baseload up` was called."""

    path: Path | None
    """The fleet file; None for the built-in fleet."""
    source: str
    tape: Path | None = None
    tape_bytes: int = 0
    watch: Watch | None = None
    """Looks at the file, if it shall be read whenever it changes."""


class Station:
    """One running baseload."""

    def __init__(self, fleet: Fleet, options: Options, left: Handover | None = None) -> None:
        """`left` is what a predecessor handed over."""
        self._fleet = fleet
        self._options = options
        self._left = left
        self._console = Console()
        self._pid_file = PidFile(fleet)
        self._engines = EngineRoom(fleet.state_dir, self._engine_changed)
        self._engines_ready = asyncio.Event()
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._is_succeeded = False
        """A successor serves."""
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sockets: Sockets
        self._gateway: Gateway
        self._operator: Operator

    async def run(self) -> None:
        """Serve until told to stop, and drain."""
        fleet = self._fleet
        engines = self._engines.planned(fleet)
        slots = {name: engine.slots for name, engine in engines.items()}
        self._sockets = have_sockets(fleet, self._left, os.environ)
        try:
            self._gateway = make_gateway(fleet, slots)
            with self._taping():
                self._listen_to_signals()
                await self._serve(lambda: self._engines.follow(fleet, engines))
        finally:
            self._sockets.close()

    async def _serve(self, start_engines: Callable[[], None]) -> None:
        try:
            if self._left is None:
                await self._start()
                start_engines()
            else:
                start_engines()
                await self._engines_are_ready()
                await self._start()
            self._pid_file.write()
            self._show()
            tell_ready(self._left)
            systemd.serving()
            if self._options.watch is not None:
                self._spawn(self._options.watch.look(self.reload))
            gc.collect()
            gc.freeze()
            gc.set_threshold(GARBAGE_THRESHOLD)
            await self._stop.wait()
            self._cancel_tasks()
            await self._drain()
        finally:
            self._cancel_tasks()
            await self._engines.stop()
            self._pid_file.remove()
            if hasattr(self, "_operator"):
                self._operator.stop()

    def _taping(self) -> contextlib.AbstractContextManager[object]:
        tape, gateway = self._options.tape, self._gateway
        if tape is None:
            return contextlib.nullcontext()
        return Recorder(gateway.driver, gateway.setup, tape, self._options.tape_bytes)

    async def _engines_are_ready(self) -> None:
        """Wait until every engine is; whoever started us bounds the wait."""
        if self._engines.names:
            await self._engines_ready.wait()
        failed = [state for state in self._engines.states() if state.phase == "failed"]
        if failed:
            raise BaseloadError(f"engine {failed[0].name}: {failed[0].reason}")

    async def _start(self) -> None:
        gateway = self._gateway
        for backend, order in self._left.orders.items() if self._left is not None else ():
            with contextlib.suppress(BaseloadError):  # It has left the file meanwhile.
                gateway.operate(backend, order)
        await gateway.start(copies(self._sockets.listen))
        registry = CollectorRegistry()
        registry.register(gateway.telemetry)
        self._operator = Operator(
            parse_address(self._fleet.admin), make_app(self._ask_status, registry)
        )
        self._operator.start(copies(self._sockets.admin))

    # -- the end -----------------------------------------------------------------------------

    async def _drain(self) -> None:
        gateway, left = self._gateway, len(self._gateway.driver)
        self._sockets.close()
        if self._is_succeeded:
            await asyncio.to_thread(self._operator.stop)
            self._console.print(f"A successor serves; seeing {left} open answers off.")
            work = gateway.hand_over()
        else:
            systemd.stopping()
            self._console.print(f"\nDraining: {left} open answers. Ctrl-C again does not wait.")
            work = gateway.drain()
        drain = asyncio.create_task(work)
        while not drain.done():
            rush = asyncio.create_task(self._hurry.wait())
            await asyncio.wait({drain, rush}, return_when=asyncio.FIRST_COMPLETED)
            rush.cancel()
            if self._hurry.is_set():
                self._hurry.clear()
                gateway.hurry()
        left = await drain
        self._console.print(f"Drained; {left} answers were told to stop." if left else "Drained.")

    async def succeed(self) -> None:
        """Start a successor, and leave once it serves; without one, go on."""
        if self._stop.is_set() or self._changing.locked():
            logger.warning("a restart or a reload is under way already, or this process stops")
            return
        async with self._changing:
            try:
                pid = await succeed(self._gateway.fleet, self._sockets, self._gateway.orders)
            except SuccessionError as error:
                logger.error("no restart, this process goes on: %s", error)  # noqa: TRY400
                self._pid_file.write(str(error))
                return
        logger.info("successor %d serves; this process leaves", pid)
        self._is_succeeded = True
        self._stop.set()

    # -- the fleet changes -------------------------------------------------------------------

    async def reload(self) -> Report:
        """Read the fleet file again and go on with what it says; a bad file changes nothing."""
        path = self._options.path
        if path is None:
            text = "the built-in fleet is served, so there is no file to read again"
            return self._unchanged([text])
        async with self._changing:
            systemd.reloading()
            try:
                fleet = await asyncio.to_thread(read_fleet, path, os.environ)
                return self._go_on_with(fleet)
            except FleetFileError as error:
                return self._unchanged(str(error).splitlines())
            except BaseloadError as error:
                return self._unchanged([str(error)])
            finally:
                systemd.serving()

    def _go_on_with(self, fleet: Fleet) -> Report:
        gateway, engines = self._gateway, self._engines.planned(fleet)
        pools = dict(gateway.pools)
        slots = {name: engine.slots for name, engine in engines.items()}
        report = gateway.reload(fleet, slots)
        self._fleet = gateway.fleet
        self._engines.follow(fleet, engines, lambda name: lambda: pools[name].is_empty)
        return report

    def _unchanged(self, mistakes: list[str]) -> Report:
        logger.error("nothing was reloaded: %s", "; ".join(mistakes))
        return Report(is_applied=False, mistakes=mistakes)

    def operate(self, backend: str, order: str) -> str:
        """Do what an operator orders of a backend; say how it stands then."""
        return self._gateway.operate(backend, order)

    # -- what is heard -----------------------------------------------------------------------

    def _engine_changed(self, state: EngineState) -> None:
        if state.phase == "ready" and state.address is not None:
            self._gateway.announce(state.name, f"http://{show_address(*state.address)}/v1")
            self._console.print(f"[green]●[/] engine {escape(state.name)} is ready")
        else:
            self._gateway.announce(state.name, None)
        phases = {one.phase for one in self._engines.states()}
        if phases == {"ready"} or "failed" in phases:
            self._engines_ready.set()

    def ask(self, question: Coroutine[Any, Any, _T]) -> "Future[_T]":
        """Put a question to this loop from another thread's; the answer may be awaited there."""
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(question, self._gateway.loop))

    def _ask_status(self) -> "Future[status.Status]":
        async def take() -> status.Status:
            return status.take(self._gateway, self._engines.told())

        return self.ask(take())

    def _listen_to_signals(self) -> None:
        def told() -> None:
            (self._hurry if self._stop.is_set() else self._stop).set()

        loop = self._gateway.loop
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, told)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self.reload()))
        loop.add_signal_handler(signal.SIGUSR2, lambda: self._spawn(self.succeed()))

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel_tasks(self) -> None:
        """Give up what is under way, a successor that has yet to serve included."""
        for task in self._tasks:
            task.cancel()

    def _show(self) -> None:
        fleet, options = self._fleet, self._options
        waiting = [] if self._left is not None else self._engines.names
        greet(self._console, fleet, options.source, self._gateway.address, self._operator.address)
        tell_of_engines(self._console, waiting, options.tape)
