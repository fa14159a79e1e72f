"""Tests of running vLLM as a child, by a double of it: processes, ports and signals are real.

What the double does not prove is said there. The machine with its GPUs is made up.
"""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from baseload.config.fleet import Backend
from baseload.config.serving import Serve
from baseload.engines import restarts
from baseload.engines.asking import ask
from baseload.engines.state import Patience
from baseload.engines.supervisor import Engine
from baseload.engines.turns import ALL, Turns
from baseload.engines.world import World
from tests.engines.engine_kit import States, engine_of, is_alive, until
from tests.engines.machines import machine, model_folder

CANARY = "quokkazebra"
STARTS_S = 6.0
"""In which the double surely starts, on a machine that is busy, too."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(restarts, "PAUSE_FIRST_S", 0.01)
    monkeypatch.setattr(restarts, "PAUSE_MAX_S", 0.05)


def children_of(pid):
    """Give the children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_of(pid):
    """Give a process' command line."""
    return Path(f"/proc/{pid}/cmdline").read_text()


def lived(engine, *phases):
    """Run an engine until it has been through these phases; give the states of these."""

    async def main():
        states = engine._on_state
        running = asyncio.create_task(engine.run())
        seen = [await states.reach(phase) for phase in phases]
        await engine.stop()
        await running
        return seen

    return asyncio.run(main())


def test_it_is_ready_once_it_has_answered_and_tells_what_it_is(tmp_path, states):
    """Its version and the size of its KV cache are its own words, and its url is on loopback."""
    (ready,) = lived(engine_of(tmp_path, states), "ready")

    assert ("0.24.0", 123_456, 128) == (ready.version, ready.kv_tokens, ready.slots)
    assert ready.url.startswith("http://127.0.0.1:")
    assert not is_alive(ready.pid)


def test_out_of_memory_is_answered_by_a_smaller_start(tmp_path, states, caplog):
    """Two steps down it fits, and says what is smaller; the starts before it are no loop."""
    caplog.set_level(logging.WARNING)
    engine = engine_of(tmp_path, states, {"DOUBLE_OOM_ABOVE": "0.75"})
    (ready,) = lived(engine, "ready")

    assert 2 == ready.restarts
    assert "gpu_memory 0.9 -> 0.8, gpu_memory 0.8 -> 0.7" == ready.smaller
    assert "smaller after it ran out of memory" in ready.words()
    downs = [state.reason for state in states.all if state.phase == "down"]
    assert "exit code 1: torch.OutOfMemoryError: CUDA out of memory." in downs[0]
    assert sum("ran out of memory; smaller" in one.message for one in caplog.records) == 2


def test_a_variable_that_no_environment_takes_is_said(tmp_path, states):
    """It is a start that fails, with what is wrong, and not the end of its supervisor."""
    (down,) = lived(engine_of(tmp_path, states, {"A=B": "c"}), "down")

    assert down.reason.startswith("cannot start ")
    assert "environment" in down.reason


def test_a_long_warm_up_is_no_reason_to_give_up(tmp_path, states):
    """The bound of a start is over with its first answer; what else warms it has its own."""
    engine = engine_of(tmp_path, states, ready_max_s=STARTS_S)

    async def first(_speaker, plain, _size):
        fault = await plain()
        await asyncio.sleep(STARTS_S + 0.2)
        return fault

    engine.warmer.first = first
    (ready,) = lived(engine, "ready")

    assert (STARTS_S, 0) == (engine.ready_max_s, ready.restarts)


def test_a_context_too_long_is_answered_by_the_one_that_fits(tmp_path, states):
    """The engine's own reckoning is taken over."""
    (ready,) = lived(engine_of(tmp_path, states, {"DOUBLE_KV_ABOVE": "5000"}), "ready")

    assert (1, 5000) == (ready.restarts, ready.context)


def test_at_the_end_of_the_ladder_it_has_failed(tmp_path, states):
    """Memory that is never enough ends in a sentence that tells what was tried, not in a loop."""
    engine = engine_of(tmp_path, states, {"DOUBLE_OOM_ABOVE": "0"}, slots=1, context=4096)
    (failed,) = lived(engine, "failed")

    assert "out of memory" in failed.reason
    assert "tried: gpu_memory 0.9 -> 0.8; gpu_memory 0.8 -> 0.7" in failed.reason
    assert failed.restarts <= 8


def test_a_port_that_is_taken_costs_one_start(tmp_path, states):
    """The next start takes another one."""
    variables = {"DOUBLE_ONCE_TAKEN": str(tmp_path / "taken")}
    down, ready = lived(engine_of(tmp_path, states, variables), "down", "ready")

    assert "Address already in use" in down.reason
    assert 1 == ready.restarts


@pytest.mark.parametrize("end", ["stop", "crash"])
def test_nobody_of_it_is_left(tmp_path, states, end):
    """A core in a session of its own, which takes no SIGTERM, does not outlive the engine."""
    file = tmp_path / "core"

    async def main():
        engine = engine_of(tmp_path, states, {"DOUBLE_DEAF": str(file)})
        running = asyncio.create_task(engine.run())
        ready = await states.reach("ready")
        core = int(file.read_text())
        assert is_alive(core)
        if end == "crash":
            os.kill(ready.pid, signal.SIGKILL)
            await states.reach("down")
        await engine.stop()
        await running
        return ready.pid, core

    leader, core = asyncio.run(main())

    assert (False, False) == (is_alive(leader), is_alive(core))


KILLED = """
import asyncio, os, pathlib, sys
from tests.engines.engine_kit import engine_of

def tell(state):
    if state.phase == "ready":
        os.write(1, f"{state.pid}\\n".encode())

asyncio.run(engine_of(pathlib.Path(sys.argv[1]), tell).run())
"""


def test_a_killed_gateway_leaves_no_engine(tmp_path):
    """Whatever knows nothing of us ends with us, by its leash."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        leader = int(parent.stdout.readline())
        children = children_of(leader)
        parent.kill()
    until(lambda: not is_alive(leader))

    assert 1 == len(children)
    until(lambda: not is_alive(children[0]))


def test_a_standstill_is_noticed_and_ended(tmp_path, states):
    """Silence of its health ends the process that does not answer, and starts another one."""

    async def main():
        patience = Patience(ping_every_s=0.05, ping_max_s=0.2, liveness_max_s=0.5)
        engine = engine_of(tmp_path, states, patience=patience)
        running = asyncio.create_task(engine.run())
        ready = await states.reach("ready")
        children = children_of(ready.pid)
        os.kill(children[0], signal.SIGSTOP)
        down = await states.reach("down")
        again = await states.reach("ready")
        await engine.stop()
        await running
        return down, again, children[0]

    down, again, stopped = asyncio.run(main())

    assert "no answer to /health for 0.5 s" == down.reason
    assert 1 == again.restarts
    assert not is_alive(stopped)


def test_a_key_is_shown_and_never_written(tmp_path, states):
    """With `api_key` the engine wants it, and readiness has it; neither log nor command does."""
    engine = engine_of(tmp_path, states, key=CANARY)
    seen = []

    async def main():
        running = asyncio.create_task(engine.run())
        ready = await states.reach("ready")
        seen.append(command_of(children_of(ready.pid)[0]))
        await engine.stop()
        await running

    asyncio.run(main())

    assert "--served-model-name" in seen[0]
    assert CANARY not in seen[0] + engine.log_path.read_text()


@pytest.mark.parametrize(
    ("line", "is_kept"),
    [
        (f"(APIServer pid=1) ERROR 11-26 10:00:00 [s.py:7] bad request: {CANARY} CUDA error", False),
        ("(EngineCore_DP0 pid=2) ERROR 11-26 10:00:00 [core.py:8] EngineCore encountered a fatal error.", True),
    ],
    ids=["quotes", "crash"],
)  # fmt: skip
def test_once_it_serves_only_crashes_are_kept(tmp_path, line, is_kept):
    """What may quote a caller is counted, even if it has the words of a crash in its middle."""
    states = States()
    engine = engine_of(tmp_path, states, {"DOUBLE_SAYS": line})

    async def main():
        running = asyncio.create_task(engine.run())
        ready = await states.reach("ready")
        await ask(ready.address, "/says", b"", 5)
        log = engine._journal
        await asyncio.to_thread(
            until, lambda: log.withheld or "fatal error" in log.path.read_text()
        )
        await engine.stop()
        await running

    asyncio.run(main())

    assert is_kept is ("EngineCore encountered" in engine.log_path.read_text())
    assert CANARY not in engine.log_path.read_text()


def test_a_restart_waits_for_the_memory_of_the_gpu(tmp_path, states):
    """The next start comes only when the dead one's memory is free, as far as that is known."""
    free = iter([0, 0, 24 << 30])
    asked = []

    def free_bytes(gpu):
        asked.append((gpu, sum(state.phase == "starting" for state in states.all)))
        return next(free)

    world = World(look=lambda: machine(1, 24), free_bytes=free_bytes)
    variables = {"DOUBLE_ONCE_TAKEN": str(tmp_path / "taken")}
    lived(engine_of(tmp_path, states, variables, world), "down", "ready")

    assert [(0, 1)] * 3 == asked


def test_memory_that_never_gets_free_is_waited_for_so_long(tmp_path, states, caplog):
    """A bound ends the wait, with a word; the engine itself has the next one."""
    world = World(look=lambda: machine(1, 24), free_bytes=lambda _gpu: 0)
    variables = {"DOUBLE_ONCE_TAKEN": str(tmp_path / "taken")}
    engine = engine_of(tmp_path, states, variables, world, Patience(gpu_free_max_s=0.3))
    lived(engine, "down", "ready")

    assert any("GPU 0 is not free again" in one.message for one in caplog.records)


def test_engines_that_share_a_gpu_start_one_after_another(tmp_path):
    """Never are two of them starting at once."""
    starting, most, ready = set(), [], []
    world = World(look=lambda: machine(1, 80), free_bytes=lambda _gpu: None)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    def hear(name):
        def tell(state):
            (starting.add if state.phase == "starting" else starting.discard)(name)
            most.append(len(starting))
            ready.extend([name] if state.phase == "ready" else [])

        return tell

    async def main():
        share = {"gpus": (0,), "gpu_memory": 0.45}
        both = [engine_of(tmp_path / n, hear(n), None, world, **share) for n in "ab"]
        tasks = [asyncio.create_task(engine.run()) for engine in both]
        async with asyncio.timeout(30):
            while len(ready) < 2:  # noqa: ASYNC110 - told by two engines
                await asyncio.sleep(0.02)
        await asyncio.gather(*(engine.stop() for engine in both), *tasks)

    asyncio.run(main())

    assert {"a", "b"} == set(ready)
    assert 1 == max(most)


def test_turns_are_taken_by_gpu():
    """Others' GPUs are free to take; whoever may take any waits for all, and they for it."""

    async def main():
        turns, order = Turns(), []

        async def start(who, gpus):
            await turns.take(who, gpus)
            order.append(who)

        await start("a", [0])
        await start("b", [1])
        tasks = [asyncio.create_task(start("any", ALL)), asyncio.create_task(start("c", []))]
        await asyncio.sleep(0)
        turns.give("a")
        await asyncio.sleep(0)
        order.append("-")
        turns.give("b")
        await asyncio.gather(*tasks)
        turns.narrow("any", [1])
        await start("d", [0])
        return order

    assert ["a", "b", "c", "-", "any", "d"] == asyncio.run(main())


def test_a_program_that_is_not_there_fails_at_once(tmp_path, states):
    """No start is tried, and the reason says what to install."""
    backend = Backend(
        name="gpu", engine="vllm", model=str(model_folder(tmp_path / "m")),
        serve=Serve(program=("/no/vllm", "serve")),
    )  # fmt: skip
    asyncio.run(Engine(backend, tmp_path, states, world=World(look=machine)).run())

    assert ["failed"] == [state.phase for state in states.all]
    assert "there is no program `/no/vllm`: `pip install vllm`" in states.all[0].reason
