"""The Messages API over the real engine: translated, passed on natively, counted, and gone on with.

The engine is real, and so are the gateway, the sockets and Anthropic's client. llama.cpp's server
speaks Anthropic's API itself, so native pass-through is tried here against a server that is no
double of ours. Its smallest model calls no tools; those are tried with scripts in `tests/gateway`.
"""

import asyncio
import threading
from contextlib import asynccontextmanager
from types import SimpleNamespace

import anthropic
import pytest
from anthropic import AsyncAnthropic

from baseload.config.fleet import Backend, Fleet, Model, Overload, Target
from baseload.engines.supervisor import Engine
from baseload.gateway.gateway import Gateway
from tests.engines.engine_kit import MODEL, WAIT_MAX_S
from tests.engines.test_resume_real import Cutter
from tests.gateway.harness import on_uvloop, until

ENGINE = Backend(name="cpu", engine="llama.cpp", model=MODEL, concurrency=2)
PATIENT = Overload(error_rate=1.0, latency_s=600.0, queued_s=600.0)
QUESTION = {
    "max_tokens": 20,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
    "extra_body": {"temperature": 0},
}
WAYS = pytest.mark.parametrize("way", ["translated", "native"])


@pytest.fixture(scope="module")
def engine(real_engine, tmp_path_factory):
    """One real engine for all tests of this module."""
    served, ready = SimpleNamespace(), threading.Event()

    def on_state(state):
        if state.phase in ("ready", "failed"):
            ready.set()

    async def main():
        served.engine = Engine(ENGINE, tmp_path_factory.mktemp("state"), on_state)
        served.loop = asyncio.get_running_loop()
        await served.engine.run()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert ready.wait(WAIT_MAX_S)
    state = served.engine.state
    assert "ready" == state.phase, state.reason
    yield state.address
    asyncio.run_coroutine_threadsafe(served.engine.stop(), served.loop).result(WAIT_MAX_S)
    thread.join(WAIT_MAX_S)
    assert not thread.is_alive()


@asynccontextmanager
async def served(*addresses):
    """Give a gateway and a client; each address is asked both ways, as models of two names."""
    hosts = ["http://{}:{}/v1".format(*address) for address in addresses]
    backends, models = {}, {}
    for way, path in (("translated", None), ("native", "/v1/messages")):
        names = [f"{way}{number}" for number in range(len(hosts))]
        for name, url in zip(names, hosts, strict=True):
            backends[name] = Backend(
                name=name, url=url, anthropic_path=path, probe_s=1.0, prefill="assistant"
            )
        tiers = tuple({name: Target(backend=name, model=MODEL, weights="w")} for name in names)
        models[way] = Model(name=way, tiers=tiers, first_token_s=WAIT_MAX_S)
    fleet = Fleet(listen="127.0.0.1:0", backends=backends, models=models, overload=PATIENT)
    gateway = Gateway(fleet)
    await gateway.start()
    url = f"http://127.0.0.1:{gateway.address[1]}"
    try:
        async with AsyncAnthropic(
            base_url=url, api_key="sk", max_retries=0, timeout=WAIT_MAX_S
        ) as client:
            yield gateway, client
    finally:
        await gateway.drain()


async def in_a_stream(client, **fields):
    """Ask with a stream, and gather it with the client's own helper."""
    async with client.messages.stream(**fields) as events:
        return await events.get_final_message()


async def whole(client, **fields):
    """Ask without one."""
    return await client.messages.create(**fields)


@on_uvloop
@WAYS
@pytest.mark.parametrize("ask", [in_a_stream, whole])
async def test_both_ways_say_the_same(engine, way, ask):
    """Translated or not, the model's own text arrives, with its tokens counted."""
    async with served(engine) as (gateway, client):
        message = await ask(client, model=way, **QUESTION)
        other = await ask(client, model="native", **QUESTION)

        assert other.content[0].text == message.content[0].text
        assert ("max_tokens", MODEL, 20) == (
            message.stop_reason, message.model, message.usage.output_tokens,
        )  # fmt: skip
        assert 20 < message.usage.input_tokens + message.usage.cache_read_input_tokens < 60
        assert {} == gateway.failures


@on_uvloop
async def test_the_count_is_that_of_the_answer(engine):
    """Before the call the engine counts as many tokens as it reports after it."""
    prompt = {key: QUESTION[key] for key in ("system", "messages")}
    async with served(engine) as (gateway, client):
        await until(lambda: "llama.cpp" == gateway.probes.kinds.get("translated0"))
        counted = await client.messages.with_raw_response.count_tokens(model="translated", **prompt)
        usage = (await whole(client, model="translated", **QUESTION)).usage

        assert "tokenizer" == counted.headers["x-baseload-token-count"]
        tokens = (await counted.parse()).input_tokens
        assert usage.input_tokens + usage.cache_read_input_tokens == tokens


@on_uvloop
@WAYS
async def test_a_conversation_goes_on(engine, way):
    """What the model said is given back, and a second turn is answered."""
    async with served(engine) as (_, client):
        first = await in_a_stream(client, model=way, **QUESTION)
        history = [
            *QUESTION["messages"],
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [{"type": "text", "text": "Say it in one word."}]},
        ]
        second = await in_a_stream(client, model=way, **(QUESTION | {"messages": history}))

        assert second.content[0].text
        assert second.stop_reason in ("end_turn", "max_tokens")


@on_uvloop
@pytest.mark.parametrize("ask", [in_a_stream, whole])
async def test_an_answer_cut_off_reads_like_an_unbroken_one(engine, ask):
    """The connection to the engine is cut in the middle, and the caller sees one whole message."""
    async with served(engine) as (_, client):
        unbroken = await ask(client, model="translated", **QUESTION)
    async with Cutter(engine, 2500) as cutter:
        async with served(("127.0.0.1", cutter.port), engine) as (gateway, client):
            message = await ask(client, model="translated", **QUESTION)

            assert unbroken.content[0].text == message.content[0].text
            assert (unbroken.stop_reason, 20) == (message.stop_reason, message.usage.output_tokens)
            assert (True, 1) == (cutter.is_cut, gateway.telemetry.resumes)


@on_uvloop
@WAYS
async def test_a_mistake_is_told(engine, way):
    """The engine refuses a prompt that is too long; the client raises for its status."""
    messages = [{"role": "user", "content": "word " * 9000}]
    async with served(engine) as (gateway, client):
        with pytest.raises(anthropic.APIStatusError) as found:
            await whole(client, model=way, **(QUESTION | {"messages": messages}))

        assert (400, "invalid_request_error") == (found.value.status_code, found.value.type)
        assert {} == gateway.failures
