"""A gateway that is killed under load, again and again: what does its ledger say afterwards?

The process is a real `baseload up`, killed by SIGKILL at no chosen moment. Its backend is a double
on loopback that answers at once, so this says nothing of real providers; and the machine stays up,
so it says nothing of what a power cut leaves of a file.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import count
from pathlib import Path
from random import Random
from threading import Event, Thread
from time import monotonic, time
from typing import Self

import pytest

from baseload.store.database import Database
from tests.gateway.harness import call_up, request, run, until
from tests.gateway.provider import Provider
from tests.store.servers import Postgres

KILLS = {"sqlite": 20, "postgresql": 3}
CALLERS = 12
LOSS_S_MAX = 0.1
"""What a killed gateway may lose, beside what the machine makes all of us wait."""
BEAT_S = 0.005
FLEET = """
listen: 127.0.0.1:0
admin: 127.0.0.1:0
backends: {{b0: {{url: "{backend}", probe_s: 0}}}}
models: {{m: {{tiers: [{{b0: {{model: m}}}}], assemble: false}}}}
store: {{ledger: "{ledger}"}}
"""


class Heart:
    """Measures how late this machine lets a thread run, and a server commit something small.

    That much is not the ledger's doing. A SQLite file has one writer at a time and is left alone.
    """

    def __init__(self, url: str) -> None:
        self.late_s = 0.0
        self._server = None if url.startswith("sqlite:") else Database(url)
        self._stop = Event()
        self._thread = Thread(target=self._beat)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._server is not None:
            self._server.close()

    def _beat(self) -> None:
        began = monotonic()
        while not self._stop.wait(BEAT_S):
            if self._server is not None:
                self._server.run("SELECT txid_current()")  # It is written down, as a row is.
            now = monotonic()
            self.late_s = max(self.late_s, now - began - BEAT_S)
            began = now


@asynccontextmanager
async def _up(file: Path) -> AsyncIterator[tuple[Process, int]]:
    """Start `baseload up`; give it and its port. It must not be there any more at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "baseload", "up", "-c", str(file),
        stdout=PIPE, stderr=STDOUT, env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = b""
        while (found := re.search(rb"at http://127.0.0.1:(\d+)/v1", said)) is None:
            line = await process.stdout.readline()
            assert line, said.decode()
            said += line
        reading = asyncio.create_task(process.stdout.read())
        yield process, int(found[1])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    await reading


async def _ask(port: int, numbers: "count[int]", answered: dict[str, float]) -> None:
    """Ask until the gateway is gone; note when each answer was there."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        async with call_up(port) as caller:
            for number in numbers:
                name = f"call-{number}"
                body = {"model": "m", "messages": [], "stream": number % 3 == 0}
                await caller.send(request(body, head=f"X-Request-Id: {name}\r\n"))
                answer = await caller.answer()
                assert 200 == answer.status
                answered[name] = time()


async def _kill_once(
    file: Path, rng: Random, numbers: "count[int]", answered: dict[str, float]
) -> float:
    """Let a gateway work for a moment, and kill it; give when."""
    async with _up(file) as (process, port):
        callers = [asyncio.create_task(_ask(port, numbers, answered)) for _ in range(CALLERS)]
        await asyncio.sleep(0.25 + 0.2 * rng.random())
        killed_at = time()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await asyncio.gather(*callers)
    return killed_at


def _rows(url: str) -> list[str]:
    with closing(Database(url)) as database:
        if database.kind == "sqlite":
            assert [("ok",)] == database.run("PRAGMA integrity_check")
        return [row[0] for row in database.run("SELECT request_id FROM calls")]


async def _kill_many(url: str, kills: int, folder: Path) -> None:
    rng, numbers, answered = Random(4), count(), dict[str, float]()
    missing: set[str] = set()
    async with Provider() as provider:
        file = folder / "fleet.yaml"
        file.write_text(FLEET.format(backend=provider.url, ledger=url))
        for _ in range(kills):
            with Heart(url) as heart:
                killed_at = await _kill_once(file, rng, numbers, answered)
            rows = await asyncio.to_thread(_rows, url)
            lost = answered.keys() - set(rows) - missing
            missing |= lost

            assert len(rows) == len(set(rows)), "a call stands there twice"
            early = {name: killed_at - answered[name] for name in lost}
            bound_s = LOSS_S_MAX + heart.late_s
            assert [] == [item for item in early.items() if item[1] > bound_s]
    assert len(answered) > 100 * kills
    assert len(missing) < len(answered) / 2


@pytest.mark.parametrize("kind", KILLS)
def test_a_killed_gateway_loses_the_last_tenth_of_a_second(kind, tmp_path, request, monkeypatch):
    """Each time the database is sound, no call stands there twice, and only the newest are missing."""
    monkeypatch.setattr("tests.gateway.harness.TEST_S_MAX", 120.0)
    url = f"sqlite:///{tmp_path}/ledger.db"
    if kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new()

    run(_kill_many(url, KILLS[kind], tmp_path))


def test_a_gateway_that_is_told_to_stop_loses_nothing(tmp_path):
    """SIGTERM under load: all that was answered is in the ledger once the process is gone."""

    async def stop() -> None:
        url = f"sqlite:///{tmp_path}/ledger.db"
        numbers, answered = count(), dict[str, float]()
        async with Provider() as provider:
            file = tmp_path / "fleet.yaml"
            file.write_text(FLEET.format(backend=provider.url, ledger=url))
            async with _up(file) as (process, port):
                callers = [asyncio.create_task(_ask(port, numbers, answered)) for _ in range(4)]
                await until(lambda: len(answered) > 300)
                process.send_signal(signal.SIGTERM)
                assert 0 == await process.wait()
                await asyncio.gather(*callers)

        rows = _rows(url)
        assert set() == answered.keys() - set(rows)
        assert len(rows) == len(set(rows))

    run(stop())


def test_a_ledger_that_cannot_be_opened_is_told_at_the_start(tmp_path):
    """`baseload up` ends with one sentence that names the setting."""

    async def start() -> tuple[int | None, bytes]:
        file = tmp_path / "fleet.yaml"
        file.write_text(
            FLEET.format(backend="http://127.0.0.1:1/v1", ledger=f"sqlite:///{tmp_path}")
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "baseload", "up", "-c", str(file), stdout=PIPE, stderr=PIPE
        )
        _, said = await process.communicate()
        return process.returncode, said

    code, said = run(start())

    assert 1 == code
    assert 1 == len(said.decode().splitlines())
    assert b"baseload cannot start: `store.ledger` cannot be used: sqlite:///" in said
