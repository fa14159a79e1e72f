"""Tests of the real engine: llama.cpp with SmolLM2-135M-Instruct, started as a child process."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import httpx
import pytest
import uvloop

from baseload.config.fleet import Backend
from baseload.engines.kinds.llamacpp import CONTEXT_TOKENS, SLOTS
from baseload.engines.llamacpp_child import ANNOUNCEMENT, BATCH_TOKENS, HTTP_THREADS
from baseload.engines.state import Patience
from baseload.engines.supervisor import Engine
from baseload.engines.weights import find_weights
from tests.engines.engine_kit import MODEL, WAIT_MAX_S, States, is_alive, until

pytestmark = pytest.mark.usefixtures("real_engine")

BACKEND = Backend(name="cpu", engine="llama.cpp", model=MODEL)
CANARY = "quokkazebra"
"""A word that callers send and that no log may hold."""


def body(text="Say hello.", **more):
    return {"model": "any", "messages": [{"role": "user", "content": text}], **more}


@pytest.fixture(scope="module")
def engine(real_engine, tmp_path_factory):
    """One real engine for all tests that leave it well; its loop has a thread of its own."""
    served = SimpleNamespace(states=[])
    ready = threading.Event()

    def on_state(state):
        served.states.append(state)
        if state.phase in ("ready", "failed"):
            ready.set()

    async def main():
        served.engine = Engine(BACKEND, tmp_path_factory.mktemp("state"), on_state)
        served.loop = asyncio.get_running_loop()
        await served.engine.run()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert ready.wait(WAIT_MAX_S)
    assert "ready" == served.states[-1].phase, served.states[-1].reason
    yield served.engine
    asyncio.run_coroutine_threadsafe(served.engine.stop(), served.loop).result(WAIT_MAX_S)
    thread.join(WAIT_MAX_S)
    assert not thread.is_alive()


@pytest.fixture
def client(engine):
    host, port = engine.state.address
    with httpx.Client(base_url=f"http://{host}:{port}", timeout=WAIT_MAX_S) as http:
        yield http


def chunks(response):
    """Yield the events of a streamed answer."""
    for line in response.iter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def test_a_chat_is_answered_under_the_models_name(engine, client):
    """Whatever name the caller used, the answer carries the model's own and no path."""
    answer = client.post("/v1/chat/completions", json=body(max_tokens=8))

    assert 200 == answer.status_code
    assert MODEL == engine.served_model == answer.json()["model"]
    assert answer.json()["choices"][0]["message"]["content"]
    assert [MODEL] == [model["id"] for model in client.get("/v1/models").json()["data"]]


def test_a_streamed_chat_is_answered_under_the_models_name(client):
    """Each chunk of a stream carries the model's name, and text comes in several of them."""
    request = body("Count to nine.", max_tokens=8, stream=True, temperature=0, ignore_eos=True)
    with client.stream("POST", "/v1/chat/completions", json=request) as response:
        events = list(chunks(response))

    assert {MODEL} == {event["model"] for event in events}
    texts = [event["choices"][0]["delta"].get("content") for event in events if event["choices"]]
    assert len([text for text in texts if text]) > 1


def test_two_streams_are_answered_together(engine):
    """Tokens of two calls alternate: the second does not wait for the end of the first."""
    host, port = engine.state.address
    order = []

    async def stream(client, name, heard):
        request = body(f"Tell a story about {name}.", max_tokens=32, stream=True, ignore_eos=True)
        async with client.stream("POST", "/v1/chat/completions", json=request) as response:
            async for line in response.aiter_lines():
                if '"content":"' in line:
                    order.append(name)
                    heard.set()

    async def main():
        heard = asyncio.Event()
        async with (
            httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=WAIT_MAX_S) as client,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(stream(client, "cats", heard))
            await heard.wait()
            group.create_task(stream(client, "dogs", heard))

    asyncio.run(main())
    turns = sum(a != b for a, b in itertools.pairwise(order))

    assert {"cats", "dogs"} == set(order)
    assert turns > 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_beyond_the_context_is_a_clean_400(client, stream):
    """The caller is told the sizes, before any event of a stream, and the engine lives on."""
    request = body("blue " * (CONTEXT_TOKENS + 100), stream=stream)
    answer = client.post("/v1/chat/completions", json=request)

    assert 400 == answer.status_code
    assert "exceed_context_size_error" == answer.json()["error"]["type"]
    assert CONTEXT_TOKENS == answer.json()["error"]["n_ctx"]
    assert 200 == client.get("/health").status_code


def test_every_slot_has_the_whole_context_of_a_call(client):
    """Slots do not share their context, and what they tell of themselves quotes no caller."""
    client.post("/v1/chat/completions", json=body(CANARY, max_tokens=1))
    slots = client.get("/slots")

    assert [CONTEXT_TOKENS] * SLOTS == [slot["n_ctx"] for slot in slots.json()]
    assert CANARY not in slots.text


def test_a_stream_that_is_closed_frees_its_slot(client):
    """When the caller is gone the engine stops computing for it."""
    request = body(stream=True, ignore_eos=True)  # Without an end before the context is full.
    with client.stream("POST", "/v1/chat/completions", json=request) as response:
        next(chunks(response))

    until(lambda: not any(slot["is_processing"] for slot in client.get("/slots").json()))


def test_embeddings_are_served_beside_chat(client):
    """Short texts are embedded; one beyond a batch gets llama.cpp's own error, not a crash."""
    answer = client.post("/v1/embeddings", json={"model": "any", "input": ["one", "two"]})
    long = client.post("/v1/embeddings", json={"model": "any", "input": "x " * 2 * BATCH_TOKENS})

    assert [576, 576] == [len(item["embedding"]) for item in answer.json()["data"]]
    assert (500, "server_error") == (long.status_code, long.json()["error"]["type"])
    assert "too large to process" in long.json()["error"]["message"]
    assert 200 == client.get("/health").status_code


def test_metrics_are_served(client):
    """llama.cpp's own counters can be scraped."""
    assert "llamacpp:prompt_tokens_total" in client.get("/metrics").text


def test_a_burst_beyond_the_slots_does_not_silence_health(engine, client):
    """Calls that wait for a slot leave threads to answer `/health`; closed, they are forgotten."""
    content = json.dumps(body(stream=True, max_tokens=200, ignore_eos=True)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with contextlib.ExitStack() as burst:
        for _ in range(HTTP_THREADS // 2):
            call = burst.enter_context(socket.create_connection(engine.state.address))
            call.sendall(head.encode() + content)
        until(lambda: all(slot["is_processing"] for slot in client.get("/slots").json()))

        assert 200 == client.get("/health", timeout=2).status_code
    until(lambda: not any(slot["is_processing"] for slot in client.get("/slots").json()))


def test_the_log_holds_nothing_that_callers_wrote(engine, client):
    """Not a chat, nor the ways in which llama.cpp would quote a malformed one."""
    path = "/v1/chat/completions"
    client.post(path, json=body(CANARY, max_tokens=4))
    client.post(path, content=b'{"messages": [{"content": "' + CANARY.encode() + b' \xff"}]}')
    withheld = engine._journal.withheld
    client.post(path, json=body(CANARY, grammar=f"root ::= {CANARY} ("))
    until(lambda: engine._journal.withheld > withheld)  # It printed something, and was heard.
    log = engine.log_path.read_text()

    assert "listens on" in log
    assert CANARY not in log


def test_ctrl_c_does_not_end_the_engine(engine, client):
    """SIGINT is not for the child: open answers have to drain first."""
    os.kill(engine.state.pid, signal.SIGINT)

    assert 200 == client.post("/v1/chat/completions", json=body(max_tokens=2)).status_code
    assert is_alive(engine.state.pid)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_killed_and_a_hung_engine_come_back_and_stop_ends_them(tmp_path, run):
    """SIGKILL and a standstill both lead to a new child that answers; `stop()` leaves none."""
    states = States()
    patience = Patience(ping_every_s=0.05, ping_max_s=0.2, liveness_max_s=0.5)

    async def main():
        engine = Engine(BACKEND, tmp_path, states, patience=patience)
        running = asyncio.create_task(engine.run())
        first = await states.reach("ready")
        os.kill(first.pid, signal.SIGKILL)
        killed = await states.reach("down")
        second = await states.reach("ready")
        os.kill(second.pid, signal.SIGSTOP)
        hung = await states.reach("down")
        third = await states.reach("ready")
        await engine.stop()
        await running
        return first, killed, second, hung, third

    first, killed, second, hung, third = run(main())

    assert "killed by SIGKILL" == killed.reason
    assert "no answer to /health for 0.5 s" == hung.reason
    assert [0, 1, 2] == [first.restarts, second.restarts, third.restarts]
    assert [False] * 3 == [is_alive(state.pid) for state in (first, second, third)]
    assert ("down", "stopped") == (states.all[-1].phase, states.all[-1].reason)


ORPHAN_MAKER = f"""
import asyncio, os, pathlib, sys
from baseload.config.fleet import Backend
from baseload.engines.supervisor import Engine

def tell(state):
    if state.phase == "starting" or state.phase == sys.argv[2]:
        os.write(1, f"{{state.phase}} {{state.pid}}\\n".encode())

backend = Backend(name="cpu", engine="llama.cpp", model="{MODEL}")
asyncio.run(Engine(backend, pathlib.Path(sys.argv[1]), tell).run())
"""


@pytest.mark.parametrize("phase", ["starting", "ready"])
def test_a_killed_gateway_leaves_no_engine(tmp_path, phase):
    """However abruptly the parent dies, the child is gone soon after, loading or not."""
    command = [sys.executable, "-c", ORPHAN_MAKER, str(tmp_path), phase]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        while not (line := parent.stdout.readline()).startswith(phase):
            assert line
        child = int(line.split()[1])
        parent.kill()

    assert until(lambda: not is_alive(child)) < 15


def test_the_child_ends_with_its_standard_input(tmp_path):
    """Also where the system has no signal for it, the end of the pipe ends the child."""
    command = [sys.executable, "-m", "baseload.engines.llamacpp_child"]
    command += ["--model", str(find_weights(MODEL)), "--alias", "x"]
    command += ["--slots", "1", "--context-tokens", "512"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline().startswith(ANNOUNCEMENT)
        child.stdin.close()

        assert 0 == child.wait(WAIT_MAX_S)
