"""A gateway that is killed in the middle of a batch: the next one goes on, and nothing counts twice.

The gateway is a real process and is killed with SIGKILL; the backend is a double in this one.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from openai import AsyncOpenAI

from tests.gateway.harness import COMPLETION, Asked, Backend, Wire, on_uvloop, until
from tests.jobs.conftest import lines
from tests.jobs.test_batches import ended, file_batch, results

LINES = 60


@contextlib.asynccontextmanager
async def gateway_process(folder: Path, url: str) -> AsyncIterator[tuple[str, int]]:
    """Run `baseload up`; give its URL and its process, which is killed at the end."""
    file = folder / "fleet.yaml"
    file.write_text(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"
        f"state_dir: {folder}\nstore: {{ledger: 'sqlite:///{folder}/b.db'}}\n"
        f"backends: {{b: {{url: '{url}'}}}}\nmodels: {{m: {{tiers: [{{b: {{model: m}}}}]}}}}\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "baseload", "up", "-c", str(file),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        while line := await process.stdout.readline():
            if found := re.search(rb"at (http://\S+)/v1", line):
                yield found[1].decode(), process.pid
                break
        else:
            raise AssertionError("baseload up ended before it served")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@on_uvloop
async def test_a_batch_survives_a_kill(tmp_path):
    """Every line has one result, and few were asked twice: those of the last moment."""

    async def steady(asked: Asked, wire: Wire) -> None:
        await asyncio.sleep(0.02)
        await wire.json(COMPLETION)

    async with Backend(steady) as backend:
        async with gateway_process(tmp_path, backend.url) as (url, pid):
            async with AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
                batch = await file_batch(client, lines(LINES))
                await until(lambda: len(backend.asked) >= LINES // 2)
                os.kill(pid, signal.SIGKILL)
        async with (
            gateway_process(tmp_path, backend.url) as (url, _),
            AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client,
        ):
            async with asyncio.timeout(60):
                done = await ended(client, batch.id)
            found = await results(client, done.output_file_id)

    assert ("completed", LINES, LINES) == (
        done.status, done.request_counts.completed, len(found),
    )  # fmt: skip
    times = Counter(asked.json()["messages"][0]["content"] for asked in backend.asked)
    assert LINES == len(times)
    assert sum(times.values()) - LINES < LINES
