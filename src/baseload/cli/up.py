"""`baseload up`: run the gateway, its engines and the operator's port until told to stop.

The rooms do not know each other; here they are joined. Engines tell when they are ready, the
gateway is told where; the operator's port asks for snapshots. The order matters at both ends: first
listen, so that callers get an honest 503 while engines load; at the end first drain, and only then
stop the engines that the open answers come from.
"""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.markup import escape

from baseload import __version__
from baseload.cli.common import Config, base_url, fail, load_fleet
from baseload.cli.logs import logs
from baseload.cli.office import LateAudit
from baseload.cli.plane import StationPlane
from baseload.config.addresses import parse_address, show_address
from baseload.config.fleet import Fleet
from baseload.config.notes import notes
from baseload.engines.supervisor import Engine, EngineState
from baseload.errors import BaseloadError
from baseload.gateway.backoffice import BackOffice
from baseload.gateway.gateway import Gateway
from baseload.gateway.tape import Recorder
from baseload.gateway.watching import Watching
from baseload.web.operator import Operator, make_app
from baseload.web.plane import Office

try:
    from uvloop import run as run_loop
except ImportError:  # A platform without uvloop: asyncio's own loop does the same, slower.
    from asyncio import run as run_loop  # type: ignore[assignment]

logger = logging.getLogger("baseload.cli")

GARBAGE_THRESHOLD = 20_000
"""Objects between two looks for cycles: calls leave none behind, so looking often is waste."""
MB = 1024 * 1024
FILES_SPARE = 256
"""Open files beyond two for each connection: logs, listening sockets, engines."""


def up(
    config: Config = None,
    tape: Annotated[
        Path | None,
        typer.Option(
            "--tape", metavar="FILE", help="Write events and decisions there, for `replay`."
        ),
    ] = None,
    tape_mb: Annotated[
        int, typer.Option("--tape-mb", metavar="MB", min=1, help="What the tape may grow to.")
    ] = 64,
) -> None:
    """Serve the fleet until Ctrl-C or SIGTERM, then drain.

    Open answers are waited for, as long as drain_s in the fleet file says; a second Ctrl-C waits
    no longer. Exits with 0 after a drain.

    Example: baseload up -c fleet.yaml
    """
    fleet, source = load_fleet(config)
    with logs(fleet):
        _raise_open_files(2 * fleet.inbound.connections + FILES_SPARE)
        try:
            run_loop(_Station(fleet, source, tape, tape_mb * MB).run())
        except (BaseloadError, OSError) as error:
            fail(f"baseload cannot start: {error}")


class _Station:
    """One running baseload: a gateway, its engines, the operator's port."""

    def __init__(self, fleet: Fleet, source: str, tape: Path | None, tape_bytes: int) -> None:
        self._fleet = fleet
        self._source = source
        self._tape = tape
        self._tape_bytes = tape_bytes
        self._console = Console()
        self._audit = LateAudit(fleet.store.ledger)
        self._engines: dict[str, Engine] = {}
        self._gateway: Gateway
        self._watching: Watching
        self._office: BackOffice
        self._operator: Operator

    async def run(self) -> None:
        fleet = self._fleet
        self._engines = {
            name: Engine(backend, Path(fleet.state_dir), self._engine_changed)
            for name, backend in fleet.backends.items()
            if backend.engine is not None
        }
        slots = {name: engine.slots for name, engine in self._engines.items()}
        self._gateway = Gateway(fleet, slots)
        self._watching = Watching(self._gateway)
        self._office = BackOffice(fleet.jobs, fleet.store.ledger, self._gateway.reception)
        with self._taping():
            await self._serve()

    async def _serve(self) -> None:
        stop, hurry = self._listen_to_signals()
        await self._start(stop)
        tasks = [asyncio.create_task(engine.run()) for engine in self._engines.values()]
        try:
            self._office.start()
            self._show()
            gc.collect()
            gc.freeze()
            gc.set_threshold(GARBAGE_THRESHOLD)
            await stop.wait()
            await self._drain(hurry)
        finally:
            await asyncio.gather(*(engine.stop() for engine in self._engines.values()))
            await asyncio.gather(*tasks)
            self._operator.stop()
            self._audit.close()

    def _taping(self) -> contextlib.AbstractContextManager[object]:
        if self._tape is None:
            return contextlib.nullcontext()
        gateway = self._gateway
        return Recorder(gateway.driver, gateway.setup, self._tape, self._tape_bytes)

    async def _start(self, stop: asyncio.Event) -> None:
        try:
            await self._gateway.start()
        except OSError as error:
            raise BaseloadError(_cannot_listen("listen", self._fleet.listen, error)) from error
        registry = CollectorRegistry()
        registry.register(self._gateway.telemetry)
        address = parse_address(self._fleet.admin)
        plane = StationPlane(self._gateway, self._engines_told, stop)
        office = Office(audit=self._audit, file_keys=lambda: self._gateway.fleet.keys)
        app = make_app(
            plane,
            office,
            registry,
            host=address[0],
            token=lambda: self._gateway.fleet.admin_token,
        )
        self._operator = Operator(address, app)
        try:
            self._operator.start()
        except OSError as error:
            await self._gateway.drain()
            raise BaseloadError(_cannot_listen("admin", self._fleet.admin, error)) from error

    async def _drain(self, hurry: asyncio.Event) -> None:
        open_ = len(self._gateway.driver)
        self._console.print(f"\nDraining: {open_} open answers. Ctrl-C again does not wait.")
        self._office.pause()
        drain = asyncio.create_task(self._gateway.drain())
        rush = asyncio.create_task(hurry.wait())
        await asyncio.wait({drain, rush}, return_when=asyncio.FIRST_COMPLETED)
        if not drain.done():
            self._gateway.hurry()
        left = await drain
        await self._office.stop()
        await self._watching.stop()
        rush.cancel()
        self._console.print(f"Drained; {left} answers were told to stop." if left else "Drained.")

    def _engine_changed(self, state: EngineState) -> None:
        if state.phase == "ready" and state.address is not None:
            self._gateway.announce(state.name, f"http://{show_address(*state.address)}/v1")
            self._console.print(f"[green]●[/] engine {escape(state.name)} is ready")
        else:
            self._gateway.announce(state.name, None)

    def _engines_told(self) -> dict[str, str]:
        return {
            name: f"{engine.state.phase}, {engine.state.restarts} restarts"
            + f": {engine.state.reason}" * bool(engine.state.reason)
            for name, engine in self._engines.items()
        }

    def _listen_to_signals(self) -> tuple[asyncio.Event, asyncio.Event]:
        stop, hurry = asyncio.Event(), asyncio.Event()

        def told() -> None:
            (hurry if stop.is_set() else stop).set()

        for number in (signal.SIGINT, signal.SIGTERM):
            self._gateway.loop.add_signal_handler(number, told)
        return stop, hurry

    def _show(self) -> None:
        """Say what is served, from where, how to try it, and where operators look."""
        fleet, say = self._fleet, partial(self._console.print, soft_wrap=True)
        is_tls = fleet.tls is not None
        url = base_url(show_address(*self._gateway.address), is_tls=is_tls)
        admin = base_url(show_address(*self._operator.address))
        where = f"[bold]{escape(url)}/v1[/]"
        say(f"[bold]baseload {__version__}[/] serves {escape(self._source)} at {where}")
        for name, model in fleet.models.items():
            tiers = " → ".join(
                " | ".join(f"{target.model} at {place}" for place, target in tier.items())
                for tier in model.tiers
            )
            say(f"  {escape(name)}: {escape(tiers)}", highlight=False)
        for note in notes(fleet):
            say(f"[yellow]note:[/] {escape(note)}", highlight=False)
        for name in self._engines:
            say(f"[yellow]○[/] engine {escape(name)} is starting; until then it answers 503")
        if self._tape is not None:
            say(f"Tape: {escape(str(self._tape))}, for `baseload replay`", highlight=False)
        model_name = next(iter(fleet.models))
        question = '"messages":[{"role":"user","content":"Say hello."}]'
        body = f'{{"model":"{model_name}","max_tokens":64,{question}}}'
        say("Try it:")
        self._console.out(
            f"  curl {url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'",
            highlight=False,
        )
        say(f"Operators: {escape(admin)} (/healthz /readyz /metrics), or `baseload status`")


def _cannot_listen(field: str, address: str, error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"`{field}: {address}` cannot be listened on: {reason}; is another one running there?"


def _raise_open_files(wanted: int) -> None:
    """Raise the soft limit on open files as far as the hard one allows; 1,024 is soon too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most > soft:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if (allowed := resource.getrlimit(resource.RLIMIT_NOFILE)[0]) < wanted:
        logger.warning(
            "only %d files may be open at once, and inbound.connections would need %d: "
            "raise the limit (ulimit -n), or lower inbound.connections",
            allowed,
            wanted,
        )
