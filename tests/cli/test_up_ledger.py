"""A running `baseload up` whose ledger cannot be written: what operators are told."""

import asyncio
import json
import sys
from pathlib import Path

from tests.cli.running import Running, fleet_file, up, with_processes
from tests.gateway.harness import Backend, chat, raw


async def _alarms(running: Running) -> list[str]:
    alarms: list[str] = (await running.look("/status")).json()["alarms"]
    return alarms


async def _status(running: Running) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "baseload", "status", "--url", f"http://127.0.0.1:{running.admin}",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert 0 == process.returncode, "it serves all the same"
    return said.decode()


def _take_away(ledger: Path) -> None:
    """Put a folder in its place, which SQLite cannot open."""
    for file in list(ledger.parent.glob(f"{ledger.name}*")):
        file.rename(file.with_name(f"old-{file.name}"))
    ledger.mkdir()


@with_processes
async def test_a_ledger_that_cannot_be_written_is_an_alarm(tmp_path: Path):
    """Calls are answered; status and page say what is wrong, for as long as it is."""
    ledger = tmp_path / "ledger.db"
    async with Backend() as backend, up(fleet_file(tmp_path, backend)) as running:
        before = await _alarms(running)
        _take_away(ledger)
        (answer,) = await raw(running.port, chat())
        while not (alarms := await _alarms(running)):
            pass
        line = await _status(running)
        page = json.dumps((await running.look("/api/v1/live")).json())
        ledger.rmdir()
        while await _alarms(running):
            pass

    assert ([], 200) == (before, answer.status)
    assert "The ledger cannot be written" in alarms[0]
    assert "unable to open database file" in alarms[0]
    assert alarms[0] in line
    assert alarms[0] in page
