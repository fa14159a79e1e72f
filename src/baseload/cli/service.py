"""What a running baseload is told, and what it does about it, be it one process or several.

The order matters at both ends: first listen, so that callers get an honest 503 while engines load;
at the end first drain, and only then stop the engines that the open answers come from. A successor
does it the other way round: it listens, and says that it is ready, only when its engines are,
because until then another process serves.

SIGTERM and Ctrl-C drain, a second one waits no longer; SIGHUP reads the fleet file again; SIGUSR2
starts a successor and then leaves. Not here: who serves callers (`station`, `foreman`).
"""

import asyncio
import gc
import logging
import os
import signal
import sys
from abc import ABC, abstractmethod
from asyncio import Future
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from rich.console import Console
from rich.markup import escape

from baseload.cli import systemd
from baseload.cli.energy import EnergyDesk
from baseload.cli.engine_room import EngineRoom
from baseload.cli.sockets import Handover, Sockets, have_sockets
from baseload.cli.succession import PidFile, SuccessionError, succeed, tell_predecessor
from baseload.cli.watch import Watch
from baseload.config.fleet import Fleet
from baseload.config.reading import read_fleet
from baseload.engines.state import EngineState
from baseload.errors import BaseloadError, FleetFileError
from baseload.gateway.changing import Report
from baseload.gateway.live.view import Live
from baseload.gateway.status import Status
from baseload.web.operator import Operator

GARBAGE_THRESHOLD = 20_000
"""Objects between two looks for cycles: calls leave none behind, so looking often is waste."""

SWITCH_S = 0.001
"""How long the event loop may keep the interpreter's lock from a thread that waits for it: the one
that writes the ledger must get it some ten times within its tenth of a second."""

logger = logging.getLogger("baseload.cli")
_T = TypeVar("_T")


class Port(Protocol):
    """The operator's port."""

    operator: Operator

    def stop(self) -> None:
        """End it; the port is free afterwards. A second time does nothing."""


class Options(NamedTuple):
    """How `baseload up` was called."""

    path: Path | None
    """The fleet file; None for the built-in fleet."""
    source: str
    tape: Path | None = None
    tape_bytes: int = 0
    watch: Watch | None = None
    """Looks at the file, if it shall be read whenever it changes."""
    workers: int = 1


class Service(ABC):
    """One running baseload."""

    port: Port

    def __init__(self, fleet: Fleet, options: Options, left: Handover | None = None) -> None:
        """`left` is what a predecessor handed over."""
        self.fleet = fleet
        self.options = options
        self.left = left
        self.console = Console()
        self.loop = asyncio.get_running_loop()
        self.engines = EngineRoom(fleet.state_dir, self._engine_changed)
        self.energy = EnergyDesk(self.engines, self.weigh)
        self.sockets: Sockets
        self._pid_file = PidFile(fleet)
        self._engines_ready = asyncio.Event()
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._is_succeeded = False
        """A successor serves."""
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- whoever serves callers --------------------------------------------------------------

    @property
    @abstractmethod
    def orders(self) -> dict[str, str]:
        """Backends that operators have closed."""

    @abstractmethod
    async def open(self, slots: dict[str, int], start_engines: Callable[[], None]) -> None:
        """Make what serves callers, and serve; call `arrive` with `start_engines` on the way."""

    @abstractmethod
    async def leave(self, *, is_succeeded: bool) -> int:
        """Serve nobody new, see the others off; give how many had to be told to stop."""

    @abstractmethod
    def hurry(self) -> None:
        """Wait for nobody any longer."""

    @abstractmethod
    def tell_engine(self, name: str, url: str | None) -> None:
        """Hear where an engine is, or with None that it is not."""

    @abstractmethod
    def look_for_keys(self) -> None:
        """Take notice of the store's keys soon: some were changed by us. From any thread."""

    @abstractmethod
    async def change(self, fleet: Fleet, slots: dict[str, int]) -> Report:
        """Go on with another fleet; raises BaseloadError before anything has changed."""

    @abstractmethod
    def is_idle(self, backend: str) -> Callable[[], bool]:
        """Give what says whether anybody is still answered by a backend, if it left just now."""

    @abstractmethod
    async def operate(self, backend: str, order: str) -> str:
        """Do what an operator orders of a backend; say how it stands then."""

    @abstractmethod
    def ask_status(self) -> "Future[Status]":
        """Ask for a snapshot, from another thread."""

    @abstractmethod
    async def weigh(self, joules_per_token: dict[str, float]) -> dict[str, int]:
        """Tell what a token takes; give what each backend wrote since the last time."""

    @abstractmethod
    async def live(self, since: int) -> Live:
        """Give what the operator's page shows; `since` is the tick of what it has."""

    @abstractmethod
    def greet(self) -> None:
        """Say on the terminal what is served."""

    # -- from start to end -------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until told to stop, and drain."""
        fleet = self.fleet
        engines = self.engines.planned(fleet)
        slots = {name: engine.slots for name, engine in engines.items()}
        self.sockets = have_sockets(fleet, self.left, os.environ, self.options.workers)
        self._listen_to_signals()
        try:
            async with self._changing:  # A reload that is asked for meanwhile waits.
                await self.open(slots, lambda: self.engines.follow(fleet, engines))
            self._pid_file.write()
            self.greet()
            tell_predecessor(self.left)
            systemd.serving()
            if self.options.watch is not None:
                self.spawn(self.options.watch.look(self.reload))
            self.spawn(self.energy.run())
            gc.collect()
            gc.freeze()
            gc.set_threshold(GARBAGE_THRESHOLD)
            sys.setswitchinterval(SWITCH_S)
            await self._stop.wait()
            self._cancel_tasks()
            await self._drain()
        finally:
            self._cancel_tasks()
            self.sockets.close()
            await self.engines.stop()
            await asyncio.to_thread(self.energy.stop)
            self._pid_file.remove()
            if hasattr(self, "port"):
                self.port.stop()

    async def arrive(
        self, start_engines: Callable[[], None], listen: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Start engines and listen, in the order in which nobody is refused."""
        if self.left is None:
            await listen()
            start_engines()
            return
        start_engines()
        if self.engines.names:
            await self._engines_ready.wait()  # Whoever started us bounds the wait.
        for state in self.engines.states():
            if state.phase == "failed":
                why = f"engine {state.name}: {state.reason}"
                tell_predecessor(self.left, why.encode())
                raise BaseloadError(why)
        await listen()

    async def _drain(self) -> None:
        self.sockets.close()
        if self._is_succeeded:
            await asyncio.to_thread(self.port.stop)
            self.console.print("A successor serves; seeing open answers off.")
        else:
            systemd.stopping()
            self.console.print("\nDraining: open answers are waited for; Ctrl-C again does not.")
        drain = asyncio.create_task(self.leave(is_succeeded=self._is_succeeded))
        while not drain.done():
            rush = asyncio.create_task(self._hurry.wait())
            await asyncio.wait({drain, rush}, return_when=asyncio.FIRST_COMPLETED)
            rush.cancel()
            if self._hurry.is_set():
                self._hurry.clear()
                self.hurry()
        left = await drain
        self.console.print(f"Drained; {left} answers were told to stop." if left else "Drained.")

    # -- changes -----------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin to drain; a second time, wait no longer."""
        (self._hurry if self._stop.is_set() else self._stop).set()

    async def succeed(self) -> None:
        """Start a successor, and leave once it serves; without one, go on."""
        if self._stop.is_set() or self._changing.locked():
            logger.warning("a restart or a reload is under way already, or this process stops")
            return
        async with self._changing:
            try:
                pid = await self._succeeded()
            except SuccessionError as error:
                logger.error("no restart, this process goes on: %s", error)  # noqa: TRY400
                self._pid_file.write(str(error))
                return
        logger.info("successor %d serves; this process leaves", pid)
        self._is_succeeded = True
        self._stop.set()

    async def _succeeded(self) -> int:
        if (lacking := await self.engines.lacks_room()) is not None:
            raise SuccessionError(lacking)
        return await succeed(self.fleet, self.sockets, self.orders, self.engines.ready_max_s())

    async def reload(self) -> Report:
        """Read the fleet file again and go on with what it says; a bad file changes nothing."""
        path = self.options.path
        if path is None:
            return _unchanged("the built-in fleet is served, so there is no file to read again")
        async with self._changing:
            systemd.reloading()
            try:
                fleet = await asyncio.to_thread(read_fleet, path, os.environ)
                return await self._go_on_with(fleet)
            except (FleetFileError, BaseloadError) as error:
                return _unchanged(str(error))
            finally:
                systemd.serving()

    async def _go_on_with(self, fleet: Fleet) -> Report:
        engines = self.engines.planned(fleet)
        idle = {name: self.is_idle(name) for name in self.engines.names}
        report = await self.change(fleet, {name: one.slots for name, one in engines.items()})
        self.engines.follow(fleet, engines, lambda name: idle[name])
        return report

    # -- what is heard -----------------------------------------------------------------------

    def ask(self, question: Coroutine[Any, Any, _T]) -> "Future[_T]":
        """Put a question to this loop from another thread's; the answer may be awaited there."""
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(question, self.loop))

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Do something beside, at most until the end."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[object]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("something beside the calls has ended by a defect", exc_info=error)

    def _engine_changed(self, state: EngineState) -> None:
        if state.phase == "ready":
            self.tell_engine(state.name, state.url)
            self.console.print(f"[green]●[/] engine {escape(state.name)} is ready")
        else:
            self.tell_engine(state.name, None)
        phases = {one.phase for one in self.engines.states() if one.is_ours}
        if phases <= {"ready"} or "failed" in phases:
            self._engines_ready.set()

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self.loop.add_signal_handler(number, self.stop)
        self.loop.add_signal_handler(signal.SIGHUP, lambda: self.spawn(self.reload()))
        self.loop.add_signal_handler(signal.SIGUSR2, lambda: self.spawn(self.succeed()))

    def _cancel_tasks(self) -> None:
        """Give up what is under way, a successor that has yet to serve included."""
        for task in self._tasks:
            task.cancel()


def _unchanged(why: str) -> Report:
    mistakes = why.splitlines()
    logger.error("nothing was reloaded: %s", "; ".join(mistakes))
    return Report(is_applied=False, mistakes=mistakes)
