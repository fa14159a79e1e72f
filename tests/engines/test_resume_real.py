"""An answer of the real engine that breaks off, and is gone on with: nobody can tell it from whole.

The engine is real, and so are the gateway, both sockets and the official client. The one double is
a TCP proxy between gateway and engine that cuts the first answer off. At temperature 0 the engine
says the same again, so that the joined text can be compared with the unbroken one.
"""

import asyncio
from contextlib import AsyncExitStack, suppress
from types import SimpleNamespace

import httpx
import pytest
from openai import AsyncOpenAI

from baseload.config.fleet import Backend, Fleet, Model, Overload, Target
from baseload.gateway.gateway import Gateway
from tests.engines.engine_kit import MODEL, WAIT_MAX_S, running
from tests.gateway.harness import on_uvloop, until

ENGINE = Backend(name="cpu", engine="llama.cpp", model=MODEL, concurrency=1)
QUESTIONS = {
    "length": {"max_tokens": 20, "messages": [{"role": "user", "content": "Why is the sky blue?"}]},
    "stop": {"max_tokens": 40, "messages": [{"role": "user", "content": "Say hello."}]},
}
CUTS = [("length", 800), ("length", 2500), ("stop", 1500)]
"""After how many bytes of which answer: behind a few tokens, and in its middle; within events."""
PATIENT = Overload(error_rate=1.0, latency_s=600.0, queued_s=600.0)
"""A shared machine may be slow; the order of backends must not depend on it."""


@pytest.fixture(scope="module")
def engine(real_engine, tmp_path_factory):
    """One real engine for all tests of this module, and what it says without a break."""
    with running(ENGINE, tmp_path_factory.mktemp("state")) as state:
        url = "http://{}:{}/v1/chat/completions".format(*state.address)
        with httpx.Client(timeout=WAIT_MAX_S) as client:
            unbroken = {
                name: client.post(url, json={"model": MODEL, "temperature": 0, **question}).json()
                for name, question in QUESTIONS.items()
            }
        yield SimpleNamespace(address=state.address, unbroken=unbroken)


class Cutter:
    """A proxy that passes all on, but closes the first chat's connections within its answer."""

    def __init__(self, address, cut_at):
        self.address, self.cut_at = address, cut_at
        self.is_cut = False
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _serve(self, reader, writer):
        task = asyncio.get_running_loop().create_task(self._join(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, reader, writer):
        turn = SimpleNamespace(is_chat=False, answer=bytearray())
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close, writer)
            far_reader, far_writer = await asyncio.open_connection(*self.address)
            stack.push_async_callback(self._close, far_writer)
            ways = (
                asyncio.ensure_future(self._ask(reader, far_writer, turn)),
                asyncio.ensure_future(self._answer(far_reader, writer, turn)),
            )
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _close(self, writer):
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _ask(self, reader, writer, turn):
        while data := await reader.read(1 << 16):
            if data.startswith((b"GET ", b"POST ")):
                turn.is_chat, turn.answer = data.startswith(b"POST "), bytearray()
            writer.write(data)
            await writer.drain()

    async def _answer(self, reader, writer, turn):
        while data := await reader.read(1 << 16):
            before = len(turn.answer)
            turn.answer += data
            end = turn.answer.find(b"\r\n\r\n") + 4 + self.cut_at
            if not self.is_cut and turn.is_chat and len(turn.answer) > end:
                self.is_cut = True
                writer.write(bytes(turn.answer[before:end]))
                return
            writer.write(data)
            await writer.drain()


def fleet_of(cutter, address, prefill):
    """Give a fleet of two ways to one engine, the first of them by the proxy."""
    urls = {"b0": f"http://127.0.0.1:{cutter.port}/v1", "b1": "http://{}:{}/v1".format(*address)}
    backends = {
        name: Backend(name=name, url=url, prefill=prefill, probe_s=600.0 * (prefill == "auto"))
        for name, url in urls.items()
    }
    tiers = tuple({name: Target(backend=name, model=MODEL, weights="smollm2")} for name in urls)
    model = Model(name="m", tiers=tiers)
    return Fleet(listen="127.0.0.1:0", backends=backends, models={"m": model}, overload=PATIENT)


async def said_in_a_stream(client, question):
    """Give what a streamed answer says: text, finish reason, tokens, and its ids."""
    more = {"stream": True, "stream_options": {"include_usage": True}}
    text, finish, tokens, ids = "", None, 0, set()
    async for event in await client.chat.completions.create(model="m", **question, **more):
        ids.add(event.id)
        for choice in event.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
        tokens = event.usage.completion_tokens if event.usage else tokens
    return text, finish, tokens, len(ids)


async def said_whole(client, question):
    """Give the same of an answer that is not streamed."""
    answer = await client.chat.completions.create(model="m", **question)
    (choice,) = answer.choices
    return choice.message.content, choice.finish_reason, answer.usage.completion_tokens, 1


@on_uvloop
@pytest.mark.parametrize("say", [said_in_a_stream, said_whole])
@pytest.mark.parametrize("prefill", ["auto", "off"])
@pytest.mark.parametrize(("name", "cut_at"), CUTS)
async def test_an_answer_cut_off_reads_like_an_unbroken_one(engine, name, cut_at, prefill, say):
    """Text, finish reason, count of tokens and id are those of one answer, however it goes on."""
    (choice,) = engine.unbroken[name]["choices"]
    tokens = engine.unbroken[name]["usage"]["completion_tokens"]
    async with AsyncExitStack() as stack:
        cutter = await stack.enter_async_context(Cutter(engine.address, cut_at))
        gateway = Gateway(fleet_of(cutter, engine.address, prefill))
        await gateway.start()
        stack.push_async_callback(gateway.drain)
        if prefill == "auto":
            await until(lambda: {"b0", "b1"} == set(gateway.probes.kinds))
        url = f"http://127.0.0.1:{gateway.address[1]}/v1"
        client = await stack.enter_async_context(
            AsyncOpenAI(base_url=url, api_key="sk", max_retries=0, timeout=WAIT_MAX_S)
        )
        said = await say(client, {"temperature": 0, **QUESTIONS[name]})

        assert (choice["message"]["content"], name, tokens, 1) == said
        assert (True, 1) == (cutter.is_cut, gateway.telemetry.resumes)
