"""Energy from sensor to ledger, in whole processes with a real engine and a double of RAPL.

That a processor's own counter is read right is not proved by it.
"""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from baseload.engines.hardware.looking import SYSTEM_ROOT
from tests.cli.running import up, with_processes
from tests.cli.test_up_engines import small, with_engine
from tests.engines.hardware.counting import WATTS, counting
from tests.gateway.harness import raw
from tests.needs import need_the_engine


@pytest.fixture(autouse=True, scope="module")
def _engine():
    need_the_engine()


def told(metrics: str, name: str) -> float | None:
    """Give one metric of the engine `cpu`."""
    found = re.search(rf'^baseload_engine_{name}{{backend="cpu"}} (\S+)$', metrics, re.MULTILINE)
    return float(found[1]) if found else None


def usage(file: Path, *options: str) -> str:
    """Give what `baseload usage` prints."""
    command = [sys.executable, "-m", "baseload", "usage", "-c", str(file), "--by", "model"]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["alone", "workers"])
@with_processes
async def test_joules_reach_metrics_ledger_and_usage(tmp_path_factory, options):
    """Watts, joules and joules per token are told once for all, and later calls have their part."""
    folder: Path = tmp_path_factory.mktemp("up")
    with counting(folder):
        file = with_engine(folder)
        async with up(file, *options, env={SYSTEM_ROOT: str(folder)}) as running:
            await running.said("● engine cpu is ready")
            await running.look("/status")  # It is asked of every worker after the engine was told.
            first = (await raw(running.port, small(tokens=8)))[0].status
            metrics = ""
            while told(metrics, "joules_per_token") is None:
                await asyncio.sleep(0.2)
                metrics = (await running.look("/metrics")).body.decode()
            await asyncio.sleep(2.5)  # By then every worker has been told.
            later = (await raw(running.port, small(tokens=8)))[0].status
    (row,) = json.loads(usage(file, "--json"))
    table = usage(file)

    assert (200, 200) == (first, later)
    assert told(metrics, "joules_total") > 0
    assert WATTS / 4 < told(metrics, "watts") < WATTS * 4
    assert told(metrics, "gpu_busy_ratio") is None
    assert row["energy_j"] == pytest.approx(told(metrics, "joules_per_token") * 8, rel=3)
    assert "energy" in table
    assert "Energy is an estimate" in table


@with_processes
async def test_without_a_sensor_nothing_is_told(tmp_path_factory):
    """No series, no column, no zeros."""
    folder: Path = tmp_path_factory.mktemp("up")
    file = with_engine(folder)
    async with up(file, env={SYSTEM_ROOT: str(folder)}) as running:
        await running.said("● engine cpu is ready")
        await raw(running.port, small(tokens=4))
        await running.said("power is read of: nothing")
        await asyncio.sleep(2.5)
        metrics = (await running.look("/metrics")).body.decode()
    table = usage(file)

    assert "# HELP baseload_engine_watts" in metrics
    assert "baseload_engine_watts{" not in metrics
    assert "energy" not in table
