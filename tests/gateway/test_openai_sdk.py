"""The official OpenAI client against the gateway: what its users write works, and raises, as ever.

The client is real, and so are both sockets; only the model behind them is a script.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from baseload.gateway.gateway import Gateway
from tests.gateway.harness import DONE, on_both_loops, on_uvloop, start_gateway, token, until
from tests.gateway.provider import (
    CLOSE,
    END,
    FINISH,
    Asked,
    Provider,
    Script,
    begin,
    chunk,
    healthy,
    nowhere,
    refusal,
    whole,
)

HI: list[Any] = [{"role": "user", "content": "hi"}]
PREFIXES = pytest.mark.parametrize("prefix", ["", "/v1", "/v1/"])


def _url(gateway: Gateway, prefix: str = "/v1") -> str:
    return f"http://127.0.0.1:{gateway.address[1]}{prefix}"


def _async_client(gateway: Gateway, prefix: str = "/v1") -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url=_url(gateway, prefix), api_key="sk-caller", max_retries=0, timeout=10
    )


async def _sync(gateway: Gateway, use: Callable[[OpenAI], Any], prefix: str = "/v1") -> Any:
    """Use the synchronous client, in a thread, as the gateway runs in this one."""

    def work() -> Any:
        url = _url(gateway, prefix)
        with OpenAI(base_url=url, api_key="sk-caller", max_retries=0, timeout=10) as client:
            return use(client)

    return await asyncio.to_thread(work)


def _delta(**delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    fields = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps(fields | {"choices": [choice]}).encode() + b"\n\n"


# -- chats ---------------------------------------------------------------------------------------


@on_uvloop
@PREFIXES
async def test_sync_chats(prefix):
    """The synchronous client is answered whole and as a stream, with and without `/v1`."""

    def use(client: OpenAI) -> tuple[Any, str]:
        answer = client.chat.completions.create(model="m", messages=HI)
        with client.chat.completions.create(model="m", messages=HI, stream=True) as events:
            return answer, "".join(event.choices[0].delta.content or "" for event in events)

    async with Provider() as provider, start_gateway(provider) as gateway:
        answer, text = await _sync(gateway, use, prefix)

        assert (answer.choices[0].message.content, text) == ("hello", "hello")
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 5)
        assert answer._request_id.startswith("req-")
        assert {asked.path for asked in provider.asked} == {"/v1/chat/completions"}


@on_both_loops
@PREFIXES
async def test_async_chats(prefix):
    """So is the asynchronous one."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        async with _async_client(gateway, prefix) as client:
            answer = await client.chat.completions.create(model="m", messages=HI)
            events = await client.chat.completions.create(model="m", messages=HI, stream=True)
            text = "".join([event.choices[0].delta.content or "" async for event in events])

        assert (answer.choices[0].message.content, text) == ("hello", "hello")


@on_uvloop
async def test_the_stream_helper_gathers_the_whole_answer():
    """The client's own helper for streams finds the finish reason and the usage."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    last = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    last_event = b"data: " + json.dumps(last | {"choices": [], "usage": usage}).encode() + b"\n\n"
    events = _delta(role="assistant", content="") + token("hello") + FINISH + last_event + DONE
    async with (
        Provider(begin() + chunk(events) + END) as provider,
        start_gateway(provider) as gateway,
        _async_client(gateway) as client,
    ):
        async with client.chat.completions.stream(
            model="m", messages=HI, stream_options={"include_usage": True}
        ) as helper:
            answer = await helper.get_final_completion()

        assert answer.choices[0].message.content == "hello"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.total_tokens == 5
        assert provider.asked[0].json()["stream_options"] == {"include_usage": True}


class Point(BaseModel):
    """What an answer is to look like."""

    x: int


@on_uvloop
async def test_an_answer_of_a_form_is_parsed():
    """The form reaches the backend, and the client parses its answer, whole and in a stream."""
    script = [begin(), chunk(token('{"x"')), chunk(token(":4}")), chunk(FINISH + DONE), END]
    async with (
        Provider(*script) as provider,
        start_gateway(provider, model={"assemble": True}) as gateway,
        _async_client(gateway) as client,
    ):
        ask: Any = {"model": "m", "messages": HI, "response_format": Point}
        answer = await client.chat.completions.parse(**ask)
        async with client.chat.completions.stream(**ask) as helper:
            again = await helper.get_final_completion()

        assert Point(x=4) == answer.choices[0].message.parsed == again.choices[0].message.parsed
        assert "json_schema" == provider.asked[0].json()["response_format"]["type"]


@on_uvloop
async def test_where_an_answer_came_from_is_in_its_head():
    """The client's raw answer shows the backend that gave it, here the second."""
    async with (
        nowhere() as gone,
        Provider() as second,
        start_gateway(gone, second) as gateway,
    ):
        async with _async_client(gateway) as client:
            raw = await client.chat.completions.with_raw_response.create(model="m", messages=HI)

        assert raw.headers["x-baseload-backend"] == "b1"
        assert raw.parse().choices[0].message.content == "hello"


@on_uvloop
async def test_reasoning_passes_through():
    """DeepSeek's `reasoning_content` arrives, whole and in a stream, and before the answer."""
    message = {"role": "assistant", "content": "4", "reasoning_content": "2 and 2"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    plain = whole({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})  # fmt: skip
    events = _delta(reasoning_content="2 and") + _delta(reasoning_content=" 2") + _delta(content="4")  # fmt: skip
    streamed = begin() + chunk(events + FINISH + DONE) + END
    play = lambda asked: [streamed if asked.json().get("stream") else plain]  # noqa: E731
    async with Provider(play=play) as provider, start_gateway(provider) as gateway:
        async with _async_client(gateway) as client:
            answer = await client.chat.completions.create(model="m", messages=HI)
            events = await client.chat.completions.create(model="m", messages=HI, stream=True)
            deltas = [event.choices[0].delta async for event in events]

        assert answer.choices[0].message.reasoning_content == "2 and 2"
        assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == "2 and 2"
        assert "".join(delta.content or "" for delta in deltas) == "4"


@on_uvloop
async def test_tool_calls_pass_through():
    """A tool's call arrives piece by piece, its tools were forwarded, and it is a token."""
    tools: list[Any] = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    call = {"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}}
    rest = [{"index": 0, "function": {"arguments": piece}} for piece in ('{"a":', " 1}")]
    events = b"".join(_delta(tool_calls=[each]) for each in (call, *rest))
    last = FINISH.replace(b'"stop"', b'"tool_calls"')
    async with Provider(begin() + chunk(events + last + DONE) + END) as provider:
        async with start_gateway(provider) as gateway, _async_client(gateway) as client:
            answer = await client.chat.completions.create(
                model="m", messages=HI, tools=tools, stream=True
            )
            chunks = [event async for event in answer]

        calls = [event.choices[0].delta.tool_calls for event in chunks[:-1]]
        assert "".join(each[0].function.arguments for each in calls) == '{"a": 1}'
        assert (calls[0][0].id, calls[0][0].function.name) == ("t1", "f")
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
        assert provider.asked[0].json()["tools"] == tools


# -- other paths ---------------------------------------------------------------------------------

TEXT = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
VECTOR = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}]}  # fmt: skip


def _other(asked: Asked) -> Script:
    if asked.path.endswith("/embeddings"):
        return [whole(VECTOR)]
    choice = {"index": 0, "text": "once", "finish_reason": "stop", "logprobs": None}
    event = TEXT | {"choices": [choice]}
    if not asked.json().get("stream"):
        return [whole(event)]
    return [begin() + chunk(b"data: " + json.dumps(event).encode() + b"\n\n" + DONE) + END]


@on_uvloop
@PREFIXES
async def test_completions_and_embeddings(prefix):
    """The older completions, streamed or not, and embeddings reach the backend's own paths."""
    async with Provider(play=_other) as provider, start_gateway(provider) as gateway:
        async with _async_client(gateway, prefix) as client:
            plain = await client.completions.create(model="m", prompt="p")
            events = await client.completions.create(model="m", prompt="p", stream=True)
            texts = [event.choices[0].text async for event in events]
            vector = await client.embeddings.create(model="m", input="x", encoding_format="float")

        assert (plain.choices[0].text, texts) == ("once", ["once"])
        assert vector.data[0].embedding == [0.5, 1.0]
        paths = [asked.path for asked in provider.asked]
        assert paths == ["/v1/completions", "/v1/completions", "/v1/embeddings"]


@on_uvloop
@PREFIXES
async def test_models_are_listed_and_found(prefix):
    """The list holds the fleet's models; no backend is asked for it."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        async with _async_client(gateway, prefix) as client:
            listed = [model.id async for model in client.models.list()]
            model = await client.models.retrieve("m")
            with pytest.raises(openai.NotFoundError) as raised:
                await client.models.retrieve("nothing")

        assert (listed, model.id, model.object) == (["m"], "m", "model")
        assert raised.value.code == "model_not_found"
        assert provider.asked == []


# -- errors --------------------------------------------------------------------------------------


async def _raised(gateway: Gateway, model: str = "m", **fields: Any) -> openai.APIStatusError:
    """Give what the asynchronous client raises for a chat."""
    async with _async_client(gateway) as client:
        with pytest.raises(openai.APIStatusError) as raised:
            await client.chat.completions.create(model=model, messages=HI, **fields)
    return raised.value


def _shape(error: openai.APIStatusError) -> tuple[Any, ...]:
    return type(error), error.status_code, error.type, error.code, error.param


@on_uvloop
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_model_that_is_not_there(is_stream):
    """An unknown model raises `NotFoundError` that names the known ones."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        error = await _raised(gateway, "gpt-4", stream=is_stream)

        expected = (openai.NotFoundError, 404, "invalid_request_error", "model_not_found", "model")
        assert _shape(error) == expected
        assert "Known models: m." in error.message
        assert error.request_id == error.body["request_id"]


@on_uvloop
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_busy_backend(is_stream):
    """A backend's 429 raises `RateLimitError` with the time after which to come back."""
    async with Provider(refusal(429)) as provider, start_gateway(provider) as gateway:
        error = await _raised(gateway, stream=is_stream)

        assert _shape(error) == (openai.RateLimitError, 429, "overloaded_error", "backend_busy", None)  # fmt: skip
        assert int(error.response.headers["retry-after"]) >= 1


@on_uvloop
async def test_no_backend_at_all():
    """With every breaker open the client raises its error for 503."""
    async with nowhere() as gone, start_gateway(gone) as gateway:
        errors = [await _raised(gateway) for _ in range(6)]

        assert errors[0].code == "backend_unreachable"
        expected = (openai.InternalServerError, 503, "unavailable_error", "no_backend", None)
        assert _shape(errors[-1]) == expected


@on_uvloop
async def test_a_request_that_the_backend_refuses():
    """The backend's own 400 arrives as it was said."""
    refused = refusal(400, "temperature is out of range")
    async with Provider(refused) as provider, start_gateway(provider) as gateway:
        error = await _raised(gateway, temperature=9)

        assert (type(error), error.type) == (openai.BadRequestError, "t")
        assert "temperature is out of range" in error.message


@on_uvloop
async def test_the_clients_own_retries_find_a_backend_that_has_recovered():
    """A client that retries honours `Retry-After` and then has its answer."""
    play = lambda asked: healthy(asked) if asked.number else [refusal(503)]  # noqa: E731
    async with Provider(play=play) as provider, start_gateway(provider) as gateway:
        async with _async_client(gateway).with_options(max_retries=1) as client:
            answer = await client.chat.completions.create(model="m", messages=HI)

        assert answer.choices[0].message.content == "hello"
        assert len(provider.asked) == 2


BROKEN = begin(), chunk(token("hel")), 0.01, CLOSE


@on_both_loops
async def test_an_async_stream_that_breaks_raises():
    """Whoever reads a stream that broke has the text so far, and then an `APIError`."""
    async with Provider(*BROKEN) as provider, start_gateway(provider) as gateway:
        texts = []
        async with _async_client(gateway) as client:
            events = await client.chat.completions.create(model="m", messages=HI, stream=True)
            with pytest.raises(openai.APIError) as raised:
                async for event in events:
                    texts.append(event.choices[0].delta.content)  # noqa: PERF401 - kept on error

        assert (texts, raised.value.code) == (["hel"], "stream_broken")
        assert "broke off in the middle" in raised.value.message


@on_uvloop
async def test_a_sync_stream_that_breaks_raises():
    """So does the synchronous client."""
    texts: list[Any] = []

    def use(client: OpenAI) -> Any:
        events = client.chat.completions.create(model="m", messages=HI, stream=True)
        with events, pytest.raises(openai.APIError) as raised:
            texts.extend(event.choices[0].delta.content for event in events)
        return raised.value

    async with Provider(*BROKEN) as provider, start_gateway(provider) as gateway:
        error = await _sync(gateway, use)

        assert (texts, error.code) == (["hel"], "stream_broken")


@on_uvloop
async def test_a_client_that_stops_reading_frees_the_backend():
    """Closing the client's stream ends the call at the backend."""
    steps = begin(), chunk(token("x")), 30.0
    async with Provider(*steps) as provider, start_gateway(provider) as gateway:
        async with _async_client(gateway) as client:
            events = await client.chat.completions.create(model="m", messages=HI, stream=True)
            async for _ in events:
                break
            await events.close()
        await until(lambda: len(provider.departures) == 1)

        assert gateway.gate.seats["b0"].in_flight == 0
