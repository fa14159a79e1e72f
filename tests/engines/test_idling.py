"""Tests of when a ready engine is warmed again: pure counting, and a real engine left alone."""

import asyncio
import time

import pytest

from baseload.config.fleet import Backend
from baseload.config.serving import Serve, Warm
from baseload.engines import idling
from baseload.engines.idling import Idleness, work_of
from baseload.engines.speaking import Speaker
from baseload.engines.supervisor import Engine
from baseload.engines.watched import Watched
from tests.engines.engine_kit import MODEL, WAIT_MAX_S, States, running

LLAMACPP = b"""# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 718
llamacpp:prompt_tokens_cached_total 1339
llamacpp:tokens_predicted_total 36
llamacpp:tokens_predicted_seconds_total 0.89
"""
VLLM = b"""vllm:prompt_tokens_total{engine="0",model_name="m"} 100.0
vllm:generation_tokens_total{engine="0",model_name="m"} 20.0
vllm:generation_tokens_created{engine="0",model_name="m"} 1.7e+09
vllm:prompt_tokens_by_source_total{engine="0"} 7.0
"""
SGLANG = (
    b'sglang:prompt_tokens_total{model_name="m"} 3.0\nsglang:generation_tokens_total{a="b"} x\n'
)


@pytest.mark.parametrize(
    ("page", "work"),
    [(LLAMACPP, 718 + 1339 + 36), (VLLM, 120.0), (SGLANG, 3.0), (b"", None), (b"up 1\n", None)],
    ids=["llama.cpp", "vllm", "sglang", "empty", "other"],
)
def test_work_is_the_sum_of_an_engines_token_counters(page, work):
    """Each engine's own names are known; a page without them tells nothing."""
    assert work == work_of(page)


def test_work_that_stands_still_is_idleness():
    """The time runs from the last look at which the work was another."""
    idleness = Idleness(0.0, 5.0)

    assert [False, False, True] == [idleness.is_over(at, 5.0, 10.0) for at in (1.0, 9.0, 10.0)]
    assert not idleness.is_over(11.0, 6.0, 10.0)
    assert [False, True] == [idleness.is_over(at, 6.0, 10.0) for at in (20.0, 21.0)]
    idleness.begin(30.0, 7.0)
    assert [False, True] == [idleness.is_over(at, 7.0, 10.0) for at in (39.0, 40.0)]


def test_nothing_is_idle_without_counters_or_without_a_time():
    """What does not tell its work may be at work, and 0 seconds are never."""
    silent, never = Idleness(0.0, None), Idleness(0.0, 5.0)

    assert not any(silent.is_over(at, None, 1.0) for at in (1.0, 99.0))
    assert not any(never.is_over(at, 5.0, 0.0) for at in (1.0, 99.0))


async def reports(engine, count):
    """Wait until the engine has been warmed so many times since; give the reports."""
    found, ends_at = [engine.warmer.report], time.monotonic() + WAIT_MAX_S
    while len(found) <= count:
        assert time.monotonic() < ends_at, "waited too long"
        await asyncio.sleep(0.02)
        if engine.warmer.report is not found[-1]:
            found.append(engine.warmer.report)
    return found[1:]


@pytest.mark.usefixtures("real_engine")
def test_an_idle_engine_is_warmed_again_and_a_changed_prompt_is_read(tmp_path, monkeypatch):
    """Left alone it is warmed by and by; told of another system prompt, it has read it soon."""
    monkeypatch.setattr(idling, "LOOK_MAX_S", 0.1)
    prompt = "You know all about trees. " * 40

    async def main():
        states = States()
        serve = Serve(warm=Warm(idle_s=0.4))
        backend = Backend(name="cpu", engine="llama.cpp", model=MODEL, serve=serve)
        engine = Engine(backend, tmp_path, states)
        running = asyncio.create_task(engine.run())
        ready = await states.reach("ready")
        again = await reports(engine, 2)
        engine.warmer.warm_like(Warm(idle_s=0.0, system=(prompt,)))
        (changed,) = await reports(engine, 1)
        said = await Speaker(ready.address, MODEL).chat(
            [{"role": "system", "content": prompt}, {"role": "user", "content": "And birds?"}],
            answer_tokens=1,
            stream=True,
            wait_max_s=WAIT_MAX_S,
        )
        await engine.stop()
        await running
        return again, changed, said, states.all

    again, changed, said, states = asyncio.run(main())

    assert [None, None] == [report.fault for report in again]
    assert [True, True] == [bool(report.lengths) for report in again]
    assert 1 == changed.system
    assert said.cached_tokens > 0.8 * said.prompt_tokens
    assert ["starting", "ready", "down"] == [state.phase for state in states]


@pytest.mark.usefixtures("real_engine")
def test_an_engine_that_others_started_is_warmed_before_it_is_ready(tmp_path):
    """At a URL as well: its system prompt is read, one chat at a time."""
    prompt = "You know all about rivers. " * 40
    plain = Backend(name="own", engine="llama.cpp", model=MODEL)
    warm = Serve(warm=Warm(prompts=(16,), system=(prompt,)))

    async def watch(url):
        states = States()
        there = Backend(name="their", engine="external", url=url, model=MODEL, serve=warm)
        watched = Watched(there, states)
        watching = asyncio.create_task(watched.run())
        await states.reach("ready")
        await watched.stop()
        await watching
        return watched.warmer.report

    with running(plain, tmp_path) as state:
        report = asyncio.run(watch(state.url))
        said = asyncio.run(
            Speaker(state.address, MODEL).chat(
                [{"role": "system", "content": prompt}, {"role": "user", "content": "A lake?"}],
                answer_tokens=1,
                stream=True,
                wait_max_s=WAIT_MAX_S,
            )
        )

    assert (1, ()) == (report.system, report.together)
    assert said.cached_tokens > 0.8 * said.prompt_tokens
