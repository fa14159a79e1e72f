"""`baseload up --workers`: its page, its limits and its ledger are those of one gateway.

Backends are the scripted doubles of the gateway's tests; workers, sockets, the database and Redis are
real.
"""

import asyncio
import hashlib
import os
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.load import slowly
from tests.cli.running import Running, fleet_file, up, with_processes
from tests.cli.test_up_workers import all_workers, workers
from tests.gateway.harness import Backend, call_up, chat, raw, request, until
from tests.store.redis_server import running_redis

CALLS = 40
CALLERS = 8
RPM = 20
SECRET = "a-key-of-a-test"


class Page:
    """What a page has gathered, poll by poll."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self.state: dict[str, Any] = {}
        self.samples: list[dict[str, Any]] = []
        self.happenings: list[dict[str, Any]] = []

    async def poll(self) -> None:
        """Ask for what is new."""
        since = self.state.get("tick", 0)
        live = (await self._running.look(f"/api/v1/live?since={since}")).json()
        self.state = live["state"]
        self.samples += live["samples"]
        self.happenings += live["happenings"]

    async def sees(self, what) -> None:
        """Poll until something is seen."""
        while not what(self):
            await asyncio.sleep(0.1)
            await self.poll()

    def total(self, name: str) -> int:
        """Add up one number of all samples."""
        return sum(sample.get(name, 0) for sample in self.samples)

    def said(self, words: str) -> bool:
        """Say whether something like that has happened."""
        return any(words in one["words"] for one in self.happenings)

    def card(self, name: str) -> dict[str, Any]:
        """Give a backend's card."""
        return next(one for one in self.state["backends"] if one["name"] == name)


async def _ask(port: int, count: int, *, stream: bool = True) -> list[int]:
    """Ask over several connections, some calls on each; give the statuses."""

    async def caller() -> list[int]:
        async with call_up(port) as one:
            statuses = []
            for _ in range(count // CALLERS):
                await one.send(chat(stream=stream))
                statuses.append((await one.answer()).status)
            return statuses

    asked = await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return [status for statuses in asked for status in statuses]


async def _order(running: Running, backend: str, action: str) -> int:
    return (await running.look(f"/api/v1/backends/{backend}/{action}", "POST")).status


@with_processes
async def test_the_page_adds_up_to_what_callers_got(tmp_path_factory):
    """Each call is in one sample, whichever worker took it; and a second time it is not sent."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        async with up(file, "--workers", "2") as running:
            page = Page(running)
            await page.poll()
            statuses = await _ask(running.port, CALLS)
            statuses.append((await raw(running.port, chat("nobody")))[0].status)
            await page.sees(lambda page: page.total("answered") + page.total("refused") > CALLS)
            late = Page(running)
            await late.poll()
            state = page.state

    ticks = [sample["tick"] for sample in page.samples]
    timed = [sample["first_token"] for sample in page.samples if "first_token" in sample]
    assert {200: CALLS, 404: 1} == Counter(statuses)
    assert (CALLS, 1, 0) == (page.total("answered"), page.total("refused"), page.total("failed"))
    assert (CALLS, 1) == (late.total("answered"), late.total("refused"))
    assert sorted(set(ticks)) == ticks
    assert timed
    assert ("serving", []) == (state["state"], state["troubles"])
    assert {"(no key)": CALLS} == {key["name"]: key["day"]["calls"] for key in state["keys"]}
    assert (1.0, 256) == (page.card("b0")["share"], page.card("b0")["limit"])


@with_processes
async def test_a_drain_shows_for_all(tmp_path_factory):
    """One order, one line in the diary, and the card says that nobody is sent there any more."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as first, Backend() as second:
        file = fleet_file(folder, first, second)
        async with up(file, "--workers", "2") as running:
            page = Page(running)
            ordered = await _order(running, "b0", "drain")
            await page.poll()
            card = page.card("b0")
            statuses = await _ask(running.port, CALLS)
            await page.sees(lambda page: page.said("ordered to drain"))
            troubles = [trouble["words"] for trouble in page.state["troubles"]]
            await _order(running, "b0", "enable")
            await page.poll()

    words = "Drained by an operator: no new calls; 0 calls are still open."
    assert (200, "draining", "off", False) == (
        ordered, card["state"], card["tone"], card["is_usable"],
    )  # fmt: skip
    assert words == card["words"]
    assert ({200}, 0, CALLS) == (set(statuses), len(first.asked), len(second.asked))
    assert [f"b0 is d{words[1:]}"] == troubles
    assert 1 == sum("ordered to drain" in one["words"] for one in page.happenings)
    assert "up" == page.card("b0")["state"]


@with_processes
async def test_a_page_survives_a_worker(tmp_path_factory):
    """It is the same page, says what happened, and counts on with the next one."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        async with up(file, "--workers", "2") as running:
            page = Page(running)
            await page.poll()
            boot, before = page.state["boot"], await workers(running)
            os.kill(before[0], signal.SIGKILL)
            await page.sees(lambda page: page.said(f"worker 0, pid {before[0]}, ended"))
            await all_workers(running)
            await page.sees(lambda page: page.said("worker 0 serves again"))
            statuses = await _ask(running.port, CALLS)
            await page.sees(lambda page: page.total("answered") >= CALLS)

    assert (boot, []) == (page.state["boot"], page.state["troubles"])
    assert {200: CALLS} == Counter(statuses)
    assert CALLS == page.total("answered")


@with_processes
async def test_a_worker_that_hangs_is_left_out_and_said(tmp_path_factory):
    """The page comes all the same, with the other one's part."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        async with up(file, "--workers", "2") as running:
            page, found = Page(running), await workers(running)
            os.kill(found[1], signal.SIGSTOP)
            await page.poll()
            os.kill(found[1], signal.SIGCONT)
            troubles = [trouble["words"] for trouble in page.state["troubles"]]
            await page.sees(lambda page: not page.state["troubles"])

    assert ["Worker 1 does not answer: what it does is not shown here."] == troubles


@pytest.mark.parametrize("where", ["memory", "redis"])
@with_processes
async def test_limits_hold_for_all_workers_together(tmp_path_factory, where: str):
    """Counted in Redis, a key has all of its calls and not one more; counted alone, at most all.

    It is counting that is judged: a busy machine may take its time to ask Redis.
    """
    folder: Path = tmp_path_factory.mktemp("up")
    code = "from baseload.store import shared_counters\nshared_counters.STEP_S_MAX = 2.0\n"
    (folder / "sitecustomize.py").write_text(code)
    env = {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    sha256 = hashlib.sha256(SECRET.encode()).hexdigest()
    async with running_redis() as redis, Backend() as backend:
        store = {
            "ledger": f"sqlite:///{folder / 'ledger.db'}",
            "counters": redis.url if where == "redis" else "memory://",
        }
        keys = [{"name": "team-a", "sha256": sha256, "rpm": RPM}]
        file = fleet_file(folder, backend, keys=keys, store=store)
        words = request(
            {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
            head=f"authorization: Bearer {SECRET}\r\n",
        )
        async with up(file, "--workers", "2", env=env) as running:
            answers = await asyncio.gather(*(raw(running.port, words) for _ in range(3 * RPM)))
            page = Page(running)
            await page.sees(lambda page: page.total("answered") + page.total("refused") >= 3 * RPM)

    found = Counter(answer.status for (answer,) in answers)
    accepted = found.pop(200)
    assert {429: 3 * RPM - accepted} == found
    assert accepted == RPM if where == "redis" else RPM // 2 <= accepted <= RPM
    assert (accepted, 3 * RPM - accepted) == (page.total("answered"), page.total("refused"))
    assert len(backend.asked) == accepted


@with_processes
async def test_every_call_of_every_worker_is_in_the_ledger_once(tmp_path_factory):
    """Those that were still being answered at SIGTERM, too."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend(slowly) as backend:
        file = fleet_file(folder, backend)
        async with up(file, "--workers", "2") as running:
            statuses = await _ask(running.port, CALLS, stream=False)
            open_ = [
                asyncio.ensure_future(raw(running.port, chat(stream=True))) for _ in range(CALLERS)
            ]
            await until(lambda: len(backend.asked) == CALLS + CALLERS)
            running.tell(signal.SIGTERM)
            streams = [answer.status for (answer,) in await asyncio.gather(*open_)]
            await running.said(r"Drained\.")
    with closing(sqlite3.connect(folder / "ledger.db")) as database:
        rows = database.execute("SELECT request_id, outcome, is_stream FROM calls").fetchall()

    assert {200: CALLS + CALLERS} == Counter(statuses + streams)
    assert CALLS + CALLERS == len(rows) == len({request_id for request_id, _, _ in rows})
    assert {("done", 0): CALLS, ("done", 1): CALLERS} == Counter(row[1:] for row in rows)
    assert 2 == len({request_id.split("-")[1] for request_id, _, _ in rows})
