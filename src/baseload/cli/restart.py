"""`baseload restart`: replace the running process, and refuse nobody meanwhile."""

import os
import signal
import time
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from baseload.cli.common import Config, fail, load_fleet_to_ask
from baseload.cli.succession import STOP_S_MAX, WAIT_S_MAX, PidFile

LOOK_S = 0.1


def restart(
    config: Config = None,
    pid: Annotated[
        int | None,
        typer.Option("--pid", min=2, help="The process, if not the one that state_dir names."),
    ] = None,
) -> None:
    """Have the running gateway start its successor, with the code and file of now, and leave.

    Callers notice nothing; open answers are finished. Exits with 0 once the successor serves, with
    1 if there is none: then the old process goes on.

    Example: baseload restart
    """
    file = PidFile(load_fleet_to_ask(config))
    before = file.read()
    if pid is None and before is not None and _is_ours(before[0]):
        pid = before[0]
    if pid is None:
        fail(f"no running gateway is written down in {file.path}; is `baseload up` running?")
    try:
        os.kill(pid, signal.SIGUSR2)
    except OSError as error:
        fail(f"process {pid} cannot be told: {error.strerror}")
    wait_s = WAIT_S_MAX + 2 * STOP_S_MAX  # The process itself gives up before.
    until, pause = time.monotonic() + wait_s, Event()
    while time.monotonic() < until:
        pause.wait(LOOK_S)
        now = file.read()
        if now is not None and now[0] != pid:
            typer.echo(f"process {now[0]} serves; {pid} finishes its open answers and leaves")
            return
        if now is not None and before is not None and now[1] != before[1]:
            fail(f"no restart, process {pid} goes on: {now[1].partition(' ')[2]}")
        if now is None or not _is_ours(pid):
            fail(f"process {pid} has gone")
    fail(f"no successor after {wait_s:g} s; the log of process {pid} says why")


def _is_ours(pid: int) -> bool:
    """Say whether a process lives and may be a gateway: a pid is given to others, in time."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True  # A platform without /proc.
    return not command or b"baseload" in command
