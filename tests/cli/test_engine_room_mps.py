"""Two engines that share a GPU, in one room. llama.cpp is real; GPU and MPS's program are doubles.

It proves the order of things: the daemon before the first engine, its variables in both, and its
end after the last one. Nothing here computes on a GPU.
"""

import asyncio
from pathlib import Path

import pytest

from baseload.cli.engine_room import EngineRoom
from baseload.config.fleet import Backend, Fleet, Model, Target
from baseload.config.serving import Serve, Warm
from baseload.engines.hardware.found import Cpu, Hardware
from baseload.engines.world import World
from tests.engines.engine_kit import MODEL, is_alive
from tests.engines.test_mps import GPUS, program, starts  # noqa: F401 - `program` is a fixture
from tests.needs import need_the_engine

WAIT_MAX_S = 60.0
CPU = Cpu(model="x", cores=2, features=(), memory_bytes=64 << 30)


def look():
    return Hardware(gpus=tuple(GPUS), cpu=CPU)


def backend(name, memory):
    warm = Warm(prompts=())
    serve = Serve(gpus=(0,), gpu_memory=memory, mps_threads=50, warm=warm, slots=1, context=512)
    return Backend(name=name, engine="llama.cpp", model=MODEL, serve=serve)


def fleet(*backends):
    target = {backends[0].name: Target(backend=backends[0].name, model="m")}
    models = {"m": Model(name="m", tiers=(target,))}
    return Fleet(backends={one.name: one for one in backends}, models=models)


async def settled(room, phase):
    async with asyncio.timeout(WAIT_MAX_S):
        while {state.phase for state in room.states()} != {phase}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def environment_of(pid):
    lines = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(line.partition("=")[::2] for line in lines)


@pytest.fixture
def room(tmp_path, program):  # noqa: F811
    need_the_engine()
    world = World(look=look, free_bytes=lambda gpu: None)
    return lambda: EngineRoom(str(tmp_path / "state"), lambda state: None, world)


def test_two_engines_share_one_daemon_until_the_last_has_gone(room, program):  # noqa: F811
    """Each has its part of threads and memory in its own environment, and one leaves alone."""

    async def main():
        here = room()
        both = fleet(backend("a", 0.3), backend("b", 0.5))
        here.follow(both, here.planned(both))
        await settled(here, "ready")
        seen = [environment_of(state.pid) for state in here.states()]
        one = fleet(backend("a", 0.3))
        leaving = here._engines["b"]
        here.follow(one, here.planned(one))
        async with asyncio.timeout(WAIT_MAX_S):
            while leaving in here._leaving:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        between = is_alive(starts(program)[0])
        await here.stop()
        return seen, between

    seen, between = asyncio.run(main())
    pids = starts(program)

    assert 1 == len({one["CUDA_MPS_PIPE_DIRECTORY"] for one in seen})
    assert ["50", "50"] == [one["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] for one in seen]
    assert ["0=25600M", "0=41984M"] == [one["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] for one in seen]
    assert ["0", "0"] == [one["CUDA_VISIBLE_DEVICES"] for one in seen]
    assert (1, True, False) == (len(pids), between, is_alive(pids[0]))


def test_engines_whose_parts_do_not_fit_have_failed(room, program):  # noqa: F811
    """Both say why, and neither a daemon nor a child was started."""

    async def main():
        here = room()
        both = fleet(backend("a", 0.6), backend("b", 0.6))
        here.follow(both, here.planned(both))
        await settled(here, "failed")
        reasons = [state.reason for state in here.states()]
        await here.stop()
        return reasons

    reasons = asyncio.run(main())

    assert all("come to 1.2 (" in reason for reason in reasons)
    assert [] == starts(program)
