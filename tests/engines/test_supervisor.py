"""Tests of supervising, with doubles of the child where the real one would not misbehave."""

import asyncio
import logging

import pytest
import uvloop

from baseload.config.fleet import Backend
from baseload.engines import restarts
from baseload.engines.kinds.llamacpp import SLOTS, SLOTS_MAX
from baseload.engines.state import Patience
from baseload.engines.supervisor import Engine
from baseload.errors import EngineError
from tests.engines.engine_kit import MODEL, is_alive, until

RUNNERS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


def double(folder, states, script, **patience):
    """Return an engine whose child is a shell script that stands in for the model server."""
    backend = Backend(name="cpu", engine="llama.cpp", model=MODEL)
    command = ["/bin/sh", "-c", script]
    return Engine(backend, folder, states, command=command, patience=Patience(**patience))


@RUNNERS
def test_an_engine_that_never_comes_up_is_given_up_with_its_reason(
    tmp_path, states, run, monkeypatch, caplog
):
    """After the last of its starts in a row it has failed, and says what the child said."""
    monkeypatch.setattr(restarts, "PAUSE_FIRST_S", 0.001)
    engine = double(tmp_path, states, "echo no such luck; exit 3")
    run(engine.run())

    last = states.all[-1]
    assert "failed" == last.phase
    assert restarts.RESTARTS_MAX - 1 == last.restarts
    assert "exit code 3: no such luck" in last.reason
    assert str(engine.log_path) in last.reason
    assert restarts.RESTARTS_MAX == sum(state.phase == "starting" for state in states.all)
    assert restarts.RESTARTS_MAX == engine.log_path.read_text().count("\nno such luck\n")
    warning = next(record for record in caplog.records if record.levelno == logging.WARNING)
    assert "exit code 3: no such luck" in warning.message
    assert str(engine.log_path) in warning.message


def test_the_name_of_the_signal_is_the_reason(tmp_path, states):
    """A child that is killed is reported by its signal's name."""

    async def main():
        engine = double(tmp_path, states, "kill -SEGV $$")
        running = asyncio.create_task(engine.run())
        down = await states.reach("down")
        await engine.stop()
        await running
        return down

    assert "killed by SIGSEGV" == asyncio.run(main()).reason


def test_a_child_that_says_nothing_is_ended_after_its_time(tmp_path, states):
    """A start that takes too long counts as a death."""

    async def main():
        engine = double(tmp_path, states, "exec sleep 60", ready_max_s=0.05)
        running = asyncio.create_task(engine.run())
        pid = (await states.reach("starting")).pid
        down = await states.reach("down")
        await engine.stop()
        await running
        return pid, down

    pid, down = asyncio.run(main())

    assert "not ready within 0.05 s (serve.ready_max_s)" == down.reason
    assert not is_alive(pid)


@RUNNERS
@pytest.mark.parametrize("end", ["stop", "cancel"])
def test_a_child_that_ignores_sigterm_is_killed_with_its_group(tmp_path, states, run, end):
    """Neither the child nor what it started survives `stop()` or a cancellation."""

    async def main():
        script = "trap '' TERM; sleep 60 & echo $! > pid; echo up; wait; wait"
        engine = double(tmp_path, states, f"cd {tmp_path}; {script}", stop_max_s=0.05)
        running = asyncio.create_task(engine.run())
        child = (await states.reach("starting")).pid
        await asyncio.to_thread(until, lambda: "up" in engine.log_path.read_text())
        if end == "stop":
            await engine.stop()
            await running
        else:
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        return child, int((tmp_path / "pid").read_text())

    child, grandchild = run(main())

    assert (False, False) == (is_alive(child), is_alive(grandchild))


def test_stop_cuts_a_pause_short(tmp_path, states, monkeypatch):
    """An engine that waits for its next start is stopped at once, and not started again."""
    monkeypatch.setattr(restarts, "PAUSE_FIRST_S", 60.0)
    monkeypatch.setattr(restarts, "PAUSE_MAX_S", 60.0)

    async def main():
        engine = double(tmp_path, states, "exit 1")
        running = asyncio.create_task(engine.run())
        await states.reach("down")
        async with asyncio.timeout(5):
            await engine.stop()
            await running

    asyncio.run(main())

    assert ["starting", "down"] == [state.phase for state in states.all]


def test_endless_lines_do_not_stop_the_reading(tmp_path, states):
    """A line longer than the reader's bound is dropped, and the next one is heard."""
    script = "head -c 300000 /dev/zero | tr '\\0' x; echo; echo after; exit 4"

    async def main():
        engine = double(tmp_path, states, script)
        running = asyncio.create_task(engine.run())
        down = await states.reach("down")
        await engine.stop()
        await running
        return down

    assert "exit code 4: after" == asyncio.run(main()).reason


def test_a_command_that_does_not_exist_is_a_reason(tmp_path, states):
    """A child that cannot even be started is told like any other death."""

    async def main():
        backend = Backend(name="cpu", engine="llama.cpp", model=MODEL)
        engine = Engine(backend, tmp_path, states, command=["/nowhere/python"])
        running = asyncio.create_task(engine.run())
        down = await states.reach("down")
        await engine.stop()
        await running
        return down

    assert "cannot start /nowhere/python: No such file or directory" == asyncio.run(main()).reason


def test_missing_weights_fail_at_once(tmp_path, states):
    """No child is started for a model that is not there."""
    backend = Backend(name="cpu", engine="llama.cpp", model="nowhere.gguf")
    asyncio.run(Engine(backend, tmp_path, states).run())

    assert ["failed"] == [state.phase for state in states.all]
    assert "there is no model file nowhere.gguf" in states.all[0].reason


def test_a_missing_llama_cpp_fails_at_once_with_the_command_to_run(tmp_path, states, monkeypatch):
    """Without the engine's package the reason is how to install it."""
    monkeypatch.setattr("baseload.engines.supervisor.facts_of", lambda model, **_: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    backend = Backend(name="cpu", engine="llama.cpp", model=MODEL)
    asyncio.run(Engine(backend, tmp_path, states).run())

    assert ["failed"] == [state.phase for state in states.all]
    assert "pip install 'baseload[llamacpp]'" in states.all[0].reason


def test_a_mistake_of_ours_is_a_failure_too(tmp_path, states, monkeypatch):
    """Whatever goes wrong, the engine is said to have failed, and is not waited for silently."""
    monkeypatch.setattr("baseload.engines.supervisor.facts_of", lambda model, **_: 1 / 0)
    backend = Backend(name="cpu", engine="llama.cpp", model=MODEL)
    asyncio.run(Engine(backend, tmp_path, states).run())

    assert ["failed"] == [state.phase for state in states.all]
    assert "ZeroDivisionError" in states.all[0].reason


def test_slots_follow_the_concurrency_within_bounds(tmp_path, states):
    """An engine has as many slots as the fleet file allows calls, up to its own bound."""

    def slots(concurrency):
        backend = Backend(name="c", engine="llama.cpp", model=MODEL, concurrency=concurrency)
        return Engine(backend, tmp_path, states).slots

    assert [SLOTS, 2, SLOTS_MAX] == [slots(None), slots(2), slots(1000)]


def test_an_engine_needs_a_model(tmp_path, states):
    """A backend without a model is refused where it is made."""
    with pytest.raises(EngineError, match=r"backends\.cpu: an engine needs a `model`"):
        Engine(Backend(name="cpu", engine="llama.cpp"), tmp_path, states)
