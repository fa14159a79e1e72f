"""OpenAI's official client and LangChain's, against the gateway and the real embedded engine.

Nothing is a double here: engine, gateway, sockets and clients are what a user has after
installation. The model is a small one, so what it says is not judged, only that all ways of asking
have the same from it at temperature 0.
"""

from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic import BaseModel

from baseload.config.fleet import Backend, Fleet, Model, Overload, Target
from baseload.gateway.gateway import Gateway
from tests.engines.engine_kit import MODEL, WAIT_MAX_S, running
from tests.engines.test_resume_real import Cutter
from tests.gateway.harness import on_uvloop, until

ENGINE = Backend(name="cpu", engine="llama.cpp", model=MODEL, concurrency=1)
QUESTION = "Why is the sky blue?"
HI: list[Any] = [{"role": "user", "content": QUESTION}]
PATIENT = Overload(error_rate=1.0, latency_s=600.0, queued_s=600.0)
TOOL: Any = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


class Color(BaseModel):
    """What an answer is to look like."""

    color: str


@pytest.fixture(scope="module")
def engine(real_engine, tmp_path_factory):
    """One real engine for all tests of this module."""
    with running(ENGINE, tmp_path_factory.mktemp("state")) as state:
        yield state


class House:
    """A gateway in front of the engine, and clients of it."""

    def __init__(self, *addresses: Any) -> None:
        self.urls = ["http://{}:{}/v1".format(*address) for address in addresses]

    async def __aenter__(self) -> Any:
        self._stack = AsyncExitStack()
        backends = {
            f"b{n}": Backend(name=f"b{n}", url=url, probe_s=600.0)
            for n, url in enumerate(self.urls)
        }
        tiers = tuple({n: Target(backend=n, model=MODEL, weights="w")} for n in backends)
        models = {"m": Model(name="m", tiers=tiers)}
        fleet = Fleet(listen="127.0.0.1:0", backends=backends, models=models, overload=PATIENT)
        gateway = Gateway(fleet)
        await gateway.start()
        self._stack.push_async_callback(gateway.drain)
        await until(lambda: set(backends) == set(gateway.probes.kinds))
        url = f"http://127.0.0.1:{gateway.address[1]}"
        http = openai.DefaultAsyncHttpxClient(timeout=WAIT_MAX_S)
        self._stack.push_async_callback(http.aclose)
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key="sk", max_retries=0, http_client=http)
        return SimpleNamespace(gateway=gateway, client=client, url=url, http=http)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


async def _said(client: AsyncOpenAI, **fields: Any) -> str:
    answer = await client.chat.completions.create(model="m", temperature=0, **fields)
    return answer.choices[0].message.content


@on_uvloop
async def test_all_ways_of_asking_have_the_same_answer(engine):
    """A chat, its stream, its helper, a Response, its stream and its helper say the same."""
    async with House(engine.address) as house:
        client, ask = house.client, {"model": "m", "temperature": 0}
        plain = await _said(client, messages=HI, max_tokens=12)
        texts = []
        async with client.chat.completions.stream(**ask, messages=HI, max_tokens=12) as helper:
            texts.append("".join([e.delta async for e in helper if e.type == "content.delta"]))
        response = await client.responses.create(**ask, input=QUESTION, max_output_tokens=12)
        texts.append(response.output_text)
        stream = await client.responses.create(**ask, input=QUESTION, max_output_tokens=12, stream=True)  # fmt: skip
        events = [event async for event in stream]
        texts.append("".join(e.delta for e in events if e.type == "response.output_text.delta"))
        texts.append(events[-1].response.output_text)

        assert [plain] * 4 == texts
        assert ("incomplete", "max_output_tokens") == (response.status, response.incomplete_details.reason)  # fmt: skip
        assert "response.incomplete" == events[-1].type
        usage = events[-1].response.usage
        assert (12, response.usage.input_tokens) == (usage.output_tokens, usage.input_tokens)


@on_uvloop
async def test_an_answer_that_comes_to_its_end(engine):
    """The helper of Responses has the whole, completed."""
    async with House(engine.address) as house:
        ask: Any = {"model": "m", "temperature": 0, "input": "Say hello."}
        async with house.client.responses.stream(**ask, max_output_tokens=60) as helper:
            response = await helper.get_final_response()

        assert ("completed", MODEL) == (response.status, response.model)
        assert response.output_text == await _said(house.client, messages=[{"role": "user", "content": "Say hello."}])  # fmt: skip


@on_uvloop
async def test_answers_of_a_form(engine):
    """A form is kept by the engine's grammar, and parsed by the client, in both APIs."""
    async with House(engine.address) as house:
        client, text = house.client, "Name a color as JSON."
        chat = await client.chat.completions.parse(
            model="m", temperature=0, max_tokens=60, response_format=Color,
            messages=[{"role": "user", "content": text}],
        )  # fmt: skip
        response = await client.responses.parse(
            model="m", temperature=0, max_output_tokens=60, text_format=Color, input=text
        )

        assert isinstance(response.output_parsed, Color)
        assert chat.choices[0].message.parsed == response.output_parsed


@on_uvloop
async def test_a_talk_with_a_tool_is_taken(engine):
    """The engine takes calls and results handed back, though so small a model may call nothing."""
    items: Any = [
        {"role": "user", "content": "What is it?"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
    ]
    async with House(engine.address) as house:
        response = await house.client.responses.create(
            model="m", input=items, tools=[TOOL], max_output_tokens=8, temperature=0
        )

        assert response.status in {"completed", "incomplete"}
        assert response.output


@on_uvloop
async def test_completions_embeddings_and_models(engine):
    """The other paths of the official client work against the engine, too."""
    async with House(engine.address) as house:
        client = house.client
        plain = await client.completions.create(model="m", prompt="One, two,", max_tokens=4, temperature=0)  # fmt: skip
        vector = await client.embeddings.create(model="m", input="x")

        assert plain.choices[0].text
        assert len(vector.data[0].embedding) > 100
        assert ["m"] == [model.id async for model in client.models.list()]


@on_uvloop
async def test_deepseeks_habits(engine):
    """A program written for DeepSeek is served by the engine: switches, `user_id`, a beginning."""
    async with House(engine.address) as house:
        plain = await _said(house.client, messages=HI, max_tokens=12)
        habits = {"thinking": {"type": "enabled"}, "user_id": "u"}
        same = await _said(house.client, messages=HI, max_tokens=12, extra_body=habits)
        off = await _said(house.client, messages=HI, max_tokens=12, reasoning_effort="none")
        words = plain.split(" ")
        begun = {"role": "assistant", "content": " ".join(words[:3]), "prefix": True, "reasoning_content": "hm"}  # fmt: skip
        beta = house.client.with_options(base_url=f"{house.url}/beta")
        rest = await _said(beta, messages=[*HI, begun], max_tokens=12, extra_body=habits)
        gap = await beta.completions.create(model="m", prompt="One, two,", suffix="four", max_tokens=2)  # fmt: skip

        assert plain == same == off
        assert f"{begun['content']}{rest}".startswith(plain[: len(plain) // 2])
        assert not rest.startswith(words[0])
        assert gap.choices[0].text


@on_uvloop
async def test_a_response_that_broke_off_goes_on(engine):
    """Cut off in its middle, a Response's stream reads as if nothing had happened."""
    async with AsyncExitStack() as stack:
        cutter = await stack.enter_async_context(Cutter(engine.address, 1500))
        house = await stack.enter_async_context(House(("127.0.0.1", cutter.port), engine.address))
        ask: Any = {"model": "m", "temperature": 0, "input": QUESTION, "max_output_tokens": 20}
        events = [event async for event in await house.client.responses.create(**ask, stream=True)]
        whole = await house.client.responses.create(**ask)

        assert (True, 1) == (cutter.is_cut, house.gateway.telemetry.resumes)
        assert list(range(len(events))) == [event.sequence_number for event in events]
        assert whole.output_text == events[-1].response.output_text
        assert "response.incomplete" == events[-1].type


@on_uvloop
@pytest.mark.parametrize("by_responses", [False, True])
async def test_langchain(engine, by_responses):
    """LangChain's client has the same answers: whole, in a stream, many at once, and of a form."""
    async with House(engine.address) as house:
        model = ChatOpenAI(
            model="m", base_url=f"{house.url}/v1", api_key="sk", max_retries=0, temperature=0,
            max_tokens=24, use_responses_api=by_responses, http_async_client=house.http,
        )  # fmt: skip
        plain = await model.ainvoke(QUESTION)
        pieces = [piece.text async for piece in model.astream(QUESTION)]
        batch = await model.abatch([QUESTION, QUESTION])
        color = await model.with_structured_output(Color).ainvoke("Name a color as JSON.")

        assert (
            plain.text == "".join(pieces) == await _said(house.client, messages=HI, max_tokens=24)
        )
        assert [plain.text] * 2 == [each.text for each in batch]
        assert isinstance(color, Color)
        assert 24 == plain.usage_metadata["output_tokens"]
