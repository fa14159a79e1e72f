"""`baseload up`: run the gateway, its engines and the operator's port until told to stop."""

import contextlib
import logging
import os
import resource
from pathlib import Path
from typing import Annotated

import typer

from baseload.cli.common import Config, fail, load_fleet, path_of
from baseload.cli.foreman import Foreman
from baseload.cli.logs import logs
from baseload.cli.service import Options
from baseload.cli.sockets import left_to_us
from baseload.cli.station import Station
from baseload.cli.watch import Watch
from baseload.cli.worker import Work, Worker, work_for_us
from baseload.config.fleet import Fleet
from baseload.errors import BaseloadError

try:
    from uvloop import run as run_loop
except ImportError:  # A platform without uvloop: asyncio's own loop does the same, slower.
    from asyncio import run as run_loop  # type: ignore[assignment]

logger = logging.getLogger("baseload.cli")

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
    is_watching: Annotated[
        bool, typer.Option("--watch", help="Read the fleet file again whenever it changes.")
    ] = False,
    workers: Annotated[
        int,
        typer.Option("--workers", metavar="N", min=1, max=64, help="Processes that serve callers."),
    ] = 1,
) -> None:
    """Serve the fleet until Ctrl-C or SIGTERM, then drain.

    Open answers are waited for, as long as drain_s in the fleet file says; a second Ctrl-C waits
    no longer. SIGHUP reads the fleet file again, SIGUSR2 (`baseload restart`) replaces the process
    without refusing anybody. Exits with 0 after a drain.

    Example: baseload up -c fleet.yaml
    """
    if (work := work_for_us(os.environ)) is not None:
        _work(work)
        return
    path = path_of(config)
    watch = Watch(path) if is_watching and path is not None else None
    fleet, source = load_fleet(config)
    options = Options(path, source, tape, tape_mb * MB, watch, workers)
    with logs(fleet):
        _raise_open_files(2 * fleet.inbound.connections + FILES_SPARE)
        try:
            run_loop(_run(fleet, options))
        except (BaseloadError, OSError) as error:
            fail(f"baseload cannot start: {error}")


async def _run(fleet: Fleet, options: Options) -> None:
    left = left_to_us(os.environ)
    if options.workers == 1:
        await Station(fleet, options, left).run()
    else:
        await Foreman(fleet, options, left).run()


def _work(work: Work) -> None:
    """Be a worker, which the foreman has started with its own command."""

    async def run() -> None:
        await Worker(work).run()

    with logs(work.fleet):
        try:
            run_loop(run())
        except (BaseloadError, OSError) as error:
            fail(f"worker {work.index} cannot start: {error}")


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
