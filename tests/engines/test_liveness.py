"""Tests of noticing an engine that hangs, by a double of vLLM in a real process.

What the double does not prove is said there; above all not that vLLM's own counters stand still
while one of its cores does.
"""

import asyncio

import pytest

from baseload.engines import restarts
from tests.engines.engine_kit import WAIT_MAX_S, engine_of, is_alive


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(restarts, "PAUSE_FIRST_S", 0.01)


def test_a_core_that_hangs_is_noticed_and_ended(tmp_path, states):
    """Health goes on answering; what is asked is not answered, and no token is counted."""
    file = tmp_path / "hangs"
    engine = engine_of(tmp_path, states, {"DOUBLE_HANGS": str(file)}, stall_max_s=1.5)

    async def main():
        running = asyncio.create_task(engine.run())
        first = await states.reach("ready")
        file.touch()
        down = await states.reach("down")
        file.unlink()
        again = await states.reach("ready")
        await engine.stop()
        await running
        return first, down, again

    first, down, again = asyncio.run(main())

    assert "it made no token for 1.5 s, though it was asked for some" in down.reason
    assert 1 == again.restarts
    assert not is_alive(first.pid)


@pytest.mark.parametrize(
    ("variables", "serve"),
    [({"DOUBLE_WORKS": "1"}, {"stall_max_s": 0.3}), ({}, {"stall_max_s": 0})],
    ids=["at work for others", "never judged"],
)
def test_an_engine_is_not_given_up_for_answers_alone(tmp_path, states, variables, serve):
    """One that makes tokens may be long about a call; where 0 is said nobody looks."""
    file = tmp_path / "hangs"
    engine = engine_of(tmp_path, states, {"DOUBLE_HANGS": str(file)} | variables, **serve)

    async def main():
        running = asyncio.create_task(engine.run())
        await states.reach("ready")
        file.touch()
        await asyncio.sleep(1.5)
        file.unlink()
        await engine.stop()
        await running

    asyncio.run(main())

    assert 0 == engine.state.restarts


def test_an_idle_engine_is_asked_now_and_then_and_stays_idle(tmp_path, states):
    """A few tokens prove that it does not hang; they are counted as ours, not as calls."""
    engine = engine_of(tmp_path, states, stall_max_s=0.3)
    asked, pass_over = asyncio.Event(), engine.warmer.pass_over

    def hear(work):
        pass_over(work)
        if engine.warmer.own >= 3:
            asked.set()

    engine.warmer.pass_over = hear

    async def main():
        running = asyncio.create_task(engine.run())
        await states.reach("ready")
        await asyncio.wait_for(asked.wait(), WAIT_MAX_S)
        await engine.stop()
        await running

    asyncio.run(main())

    assert 0 == engine.state.restarts
