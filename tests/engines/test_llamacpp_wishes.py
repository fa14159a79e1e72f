"""Tests of wishes on the real llama.cpp: cache types, a draft, a key, and too little memory."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from baseload.config.fleet import Backend
from baseload.config.serving import Serve
from baseload.engines.asking import Access, ask
from baseload.engines.kinds.llamacpp import CHILD_MODULE
from baseload.engines.supervisor import Engine
from baseload.engines.weights import find_weights
from tests.engines.engine_kit import MODEL, States

pytestmark = pytest.mark.usefixtures("real_engine")

CHAT = {
    "model": MODEL, "messages": [{"role": "user", "content": "Count from one to nine."}],
    "max_tokens": 24, "temperature": 0,
}  # fmt: skip


def asked(folder, times=1, path="/v1/chat/completions", key="", shown=None, **serve):
    """Start an engine with these wishes and ask it; give its ready state and the answers."""
    states = States()
    backend = Backend(
        name="cpu", engine="llama.cpp", model=MODEL, api_key=key or None,
        serve=Serve(**{"slots": 1, "context": 512, **serve}),
    )  # fmt: skip

    async def main():
        engine = Engine(backend, folder, states)
        running = asyncio.create_task(engine.run())
        ready = await states.reach("ready")
        access = Access(api_key=key if shown is None else shown)
        body = json.dumps(CHAT).encode() if path.startswith("/v1/chat") else b""
        answers = [await ask(ready.address, path, body, 30, access) for _ in range(times)]
        await engine.stop()
        await running
        return ready, [(status, json.loads(answer)) for status, answer in answers]

    return asyncio.run(main())


def text_of(answer):
    """Give what was said."""
    return answer[1]["choices"][0]["message"]["content"]


@pytest.mark.parametrize("slots", [3, 7])
def test_any_number_of_slots_comes_up(tmp_path, slots):
    """llama.cpp aborts where a batch is no multiple of them; so many have no power of two."""
    ready, ((status, _),) = asked(tmp_path, slots=slots)

    assert (slots, 0, 200) == (ready.slots, ready.restarts, status)


def test_a_draft_changes_no_word_and_guesses_some(tmp_path):
    """The model as its own draft: nearly all guesses hold, and the answer is the same."""
    _, (plain,) = asked(tmp_path)
    _, (drafted,) = asked(tmp_path, draft=str(find_weights(MODEL)), draft_tokens=3)
    timings = drafted[1]["timings"]

    assert text_of(plain) == text_of(drafted)
    assert timings["draft_n"] > 0
    assert timings["draft_n_accepted"] > timings["draft_n"] / 2


def test_a_smaller_kv_cache_still_answers(tmp_path):
    """It is ready, so it has answered, and says something."""
    ready, (answer,) = asked(tmp_path, kv="q8_0")

    assert (1, 512, 512) == (ready.slots, ready.context, ready.kv_tokens)
    assert text_of(answer)


def test_without_a_prefix_cache_a_prompt_is_read_again(tmp_path):
    """The same prompt a second time finds nothing kept."""
    _, (_first, second) = asked(tmp_path, 2, prefix_cache=False)

    assert 0 == second[1]["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_who_does_not_show_the_key_is_not_answered(tmp_path):
    """With `api_key`, other users of the machine cannot use it; the supervisor can."""
    ready, (answer,) = asked(tmp_path, key="s3cret", shown="wrong")

    assert ready.version == ""
    assert 401 == answer[0]


LIMITED = """
import asyncio, json, os, pathlib, sys
from baseload.config.fleet import Backend
from baseload.config.serving import Serve
from baseload.engines import restarts
from baseload.engines.supervisor import Engine

restarts.PAUSE_FIRST_S = 0.01
folder = pathlib.Path(sys.argv[1])
if len(sys.argv) > 2:
    (pathlib.Path(sys.argv[2]) / "cgroup.procs").write_text(str(os.getpid()))
program = json.loads(os.environ["PROGRAM"])

async def main():
    def tell(state):
        if state.phase in ("ready", "failed"):
            ended.set_result(state)

    ended = asyncio.get_running_loop().create_future()
    serve = Serve(slots=32, context=4096, program=tuple(program))
    engine = Engine(Backend(name="cpu", engine="llama.cpp", model="MODEL", serve=serve), folder, tell)
    running = asyncio.create_task(engine.run())
    state = await ended
    await engine.stop()
    await running
    print(json.dumps([state.phase, state.slots, state.restarts, state.smaller, state.reason]))

asyncio.run(main())
""".replace("MODEL", MODEL)


def started(folder, *more, program=()):
    """Run an engine of 32 slots in a process of its own; give what became of it, and its log."""
    command = [sys.executable, "-c", LIMITED, str(folder), *more]
    environment = os.environ | {"PROGRAM": json.dumps(program)}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True)
    return json.loads(done.stdout), (folder / "logs" / "cpu.log").read_text()


def test_too_little_address_space_is_answered_with_fewer_slots(tmp_path):
    """llama.cpp's own words for it are understood, and what is smaller is said."""
    limit = ("/bin/sh", "-c", 'ulimit -v 3200000; exec "$@"', "sh")
    program = (*limit, sys.executable, "-P", "-m", CHILD_MODULE)
    (phase, slots, restarts, smaller, reason), log = started(tmp_path, program=program)

    assert ("ready", "") == (phase, reason)
    assert smaller.startswith("slots 32 -> 16")
    assert 1 <= slots < 32
    assert restarts == smaller.count("->")
    assert "failed to allocate" in log


@pytest.fixture
def group():
    """A control group with 900 MB, or a skip where none can be made."""
    folder = Path(f"/sys/fs/cgroup/memory/baseload-test-{os.getpid()}")
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text("900M")
    except OSError:
        pytest.skip("no control group for memory (v1) can be made here")
    yield folder
    folder.rmdir()


def test_a_kill_by_the_kernel_is_answered_with_fewer_slots(tmp_path, group):
    """The kernel says nothing to whom it kills; its count in the control group tells."""
    (phase, slots, _restarts, smaller, reason), log = started(tmp_path, str(group))

    assert ("ready", "") == (phase, reason)
    assert smaller.startswith("slots 32 -> 16, slots 16 -> 8")
    assert slots < 16
    assert "killed by SIGKILL" in log
