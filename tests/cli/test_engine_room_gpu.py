"""A room whose engine needs a GPU, which holds it once only. The engine is a double of vLLM.

It proves who starts when, and what is told. The GPU is made up, so it does not prove that its
memory is really free by then.
"""

import asyncio
import sys

import pytest

from baseload.cli.engine_room import EngineRoom
from baseload.config.fleet import Backend, Fleet, Model, Target
from baseload.config.serving import Serve, Warm
from baseload.engines.state import PATIENCE
from baseload.engines.world import World
from tests.engines.engine_kit import DOUBLE, is_alive
from tests.engines.machines import GIB, machine, model_folder

WAIT_MAX_S = 60.0


class Place:
    """One GPU of 24 GiB, a fleet with one engine on it, and a room."""

    def __init__(self, folder):
        self.free = {0: 24 * GIB}
        self.model = str(model_folder(folder / "qwen-7b"))
        world = World(look=lambda: machine(1, 24), free_bytes=self.free.get)
        self.room = EngineRoom(str(folder / "state"), lambda state: None, world)

    def follow(self, slots, is_idle=lambda: True):
        """Have the room follow a fleet whose engine has so many slots."""
        program = (sys.executable, str(DOUBLE), "serve")
        serve = Serve(program=program, slots=slots, warm=Warm(prompts=()))
        backend = Backend(name="gpu", engine="vllm", model=self.model, serve=serve)
        target = Target(backend="gpu", model="m")
        fleet = Fleet(
            backends={"gpu": backend}, models={"m": Model(name="m", tiers=({"gpu": target},))}
        )
        self.room.follow(fleet, self.room.planned(fleet), lambda _name: is_idle)

    @property
    def state(self):
        return self.room.states()[0]

    async def reach(self, phase):
        async with asyncio.timeout(WAIT_MAX_S):
            while self.state.phase != phase:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return self.state


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_after_a_reload_the_new_one_starts_when_the_old_one_is_gone(place):
    """Not beside it, where there is no room; it says for whom it waits."""

    async def main():
        place.follow(4)
        old = await place.reach("ready")
        is_idle = asyncio.Event()
        place.follow(8, is_idle.is_set)
        await asyncio.sleep(0.5)
        waiting, old_lives = place.state, is_alive(old.pid)
        is_idle.set()
        new = await place.reach("ready")
        old_lived_on = is_alive(old.pid)
        await place.room.stop()
        return waiting, old_lives, new, old_lived_on

    waiting, old_lives, new, old_lived_on = asyncio.run(main())

    assert ("down", "starts when gpu has left its GPU") == (waiting.phase, waiting.reason)
    assert (True, False) == (old_lives, old_lived_on)
    assert 8 == new.slots


def test_a_room_that_is_stopped_meanwhile_starts_nothing_more(place):
    """Both are gone at the end, though answers were open."""

    async def main():
        place.follow(4)
        old = await place.reach("ready")
        place.follow(8, lambda: False)
        place.free[0] = 0  # Its memory never gets free: nobody waits for that any more.
        await asyncio.sleep(0.1)
        async with asyncio.timeout(PATIENCE.gpu_free_max_s / 2):
            await place.room.stop()
        return old.pid, place.state

    pid, state = asyncio.run(main())

    assert not is_alive(pid)
    assert (None, 0) == (state.pid, state.restarts)


@pytest.mark.parametrize(("free_gib", "has_room"), [(2, False), (21.5, False), (22, True)])
def test_a_second_start_is_refused_where_the_gpu_has_no_room_for_it(place, free_gib, has_room):
    """0.9 of 24 GiB are 21.6; the words say how much is lacking, and what to do instead."""

    async def main():
        place.follow(4)
        await place.reach("ready")
        place.free[0] = int(free_gib * GIB)
        words = await place.room.lacks_room()
        place.free[0] = None
        nobody_knows = await place.room.lacks_room()
        await place.room.stop()
        return words, nobody_knows

    words, nobody_knows = asyncio.run(main())

    assert nobody_knows is None
    if has_room:
        assert words is None
    else:
        assert f"(gpu) need 21.6 GiB of GPU 0 beside ours, and {free_gib:.1f} GiB are free" in words
        assert "`baseload reload`" in words
