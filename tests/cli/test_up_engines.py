"""Engines that a reload brings and takes, and a restart while one loads. The model is real."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.cli.running import Running, fleet_file, up, with_processes
from tests.cli.test_up_restart import verb
from tests.gateway.harness import Backend, call_up, chat, raw
from tests.needs import need_the_engine

MODEL = "smollm2-135m-instruct"


@pytest.fixture(autouse=True, scope="module")
def _engine():
    need_the_engine()


def with_engine(folder: Path, *backends: Backend) -> Path:
    """Write a fleet file with an engine `cpu` for the model `small`, beside what there is."""
    tier = {"cpu": {"model": MODEL}}
    plain = {"assemble": False, "resume": "off"}
    models = {"small": {"tiers": [tier], "first_token_s": 60} | plain}
    if backends:
        models["m"] = {"tiers": [{"b0": {"model": "m"}}]} | plain
    named = {f"b{at}": {"url": one.url, "probe_s": 0} for at, one in enumerate(backends)}
    cpu = {"engine": "llama.cpp", "model": MODEL, "concurrency": 1}
    return fleet_file(folder, backends=named | {"cpu": cpu}, models=models)


def small(tokens: int = 4) -> bytes:
    """Ask the small model for a stream of so many tokens."""
    return chat("small", stream=True, max_tokens=tokens, ignore_eos=True)


def engine_pids(running: Running) -> list[int]:
    """Give those children of whoever serves that are engines."""
    pid = running.pids()[0]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"llamacpp_child" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@with_processes
async def test_a_reload_starts_and_stops_engines(tmp_path_factory):
    """It answers once it is ready; when it leaves the file, its open stream is finished first."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as backend:
        async with up(fleet_file(folder, backend)) as running:
            with_engine(folder, backend)
            running.tell(signal.SIGHUP)
            await running.said("● engine cpu is ready")
            (answer,) = await raw(running.port, small())
            pids = engine_pids(running)
            async with call_up(running.port) as caller:
                await caller.send(small(tokens=40))
                stream = await caller.head()
                fleet_file(folder, backend)
                running.tell(signal.SIGHUP)
                await running.said(r"reloaded: .*-cpu")
                (gone,) = await raw(running.port, small())
                while piece := await caller.chunk():
                    stream.body += piece
            while engine_pids(running):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)

    assert (200, 1, 404) == (answer.status, len(pids), gone.status)
    assert stream.body.rstrip().endswith(b"data: [DONE]")


@with_processes
async def test_a_successor_takes_over_when_its_engine_is_ready(tmp_path_factory):
    """While it loads the old one answers, so nobody hears that there is no engine."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with up(with_engine(folder)) as running:
        await running.said("● engine cpu is ready")
        restart = asyncio.ensure_future(verb(folder / "fleet.yaml", "restart"))
        statuses = []
        while not restart.done():
            (answer,) = await raw(running.port, small(tokens=1))
            statuses.append(answer.status)
        (last,) = await raw(running.port, small(tokens=1))

    assert 0 == (await restart)[0]
    assert {200} == {*statuses, last.status}


@with_processes
async def test_workers_share_one_engine(tmp_path_factory):
    """It is started once, by the foreman, and every worker knows where it is."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with up(with_engine(folder), "--workers", "2") as running:
        await running.said("● engine cpu is ready")
        await running.look("/status")  # It is asked of every worker after the engine was told.
        answers = [(await raw(running.port, small(tokens=1)))[0].status for _ in range(8)]
        engines = engine_pids(running)

    assert [200] * 8 == answers
    assert 1 == len(engines)


@with_processes
async def test_an_external_engine_is_used_once_it_answers(tmp_path_factory):
    """One of somebody else is sent calls at its url when it has answered a chat, and not before."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with up(with_engine(folder)) as other:
        await other.said("● engine cpu is ready")
        other_url = f"http://127.0.0.1:{other.port}/v1"
        inner: Path = tmp_path_factory.mktemp("up2")
        far = {"engine": "external", "url": other_url, "model": "small"}
        models = {"m": {"tiers": [{"far": {"model": "small"}}], "first_token_s": 60}}
        async with up(fleet_file(inner, backends={"far": far}, models=models)) as running:
            await running.said("● engine far is ready")
            (answer,) = await raw(running.port, chat("m", max_tokens=2))

    assert 200 == answer.status
