"""The official OpenAI client asks for Responses: what it makes of answers, streams and breaks.

The client is real, and so are both sockets; only the model behind them is a script that knows
nothing but chats.
"""

import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.gateway.harness import (
    DONE,
    Answer,
    on_both_loops,
    on_uvloop,
    raw,
    request,
    start_gateway,
    until,
)
from tests.gateway.provider import (
    CLOSE,
    END,
    Asked,
    Provider,
    Script,
    begin,
    chunk,
    nowhere,
    refusal,
)

ANY = {"resume": "any", "assemble": True}
USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
TOOL: Any = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": True}  # fmt: skip


def delta(finish: str | None = None, **fields: Any) -> bytes:
    """Give one event of a chat's stream."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    head = {"id": "chatcmpl-a1", "object": "chat.completion.chunk", "created": 7, "model": "served"}
    return b"data: " + json.dumps(head | {"choices": [choice]}).encode() + b"\n\n"


COUNTED = b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n"
CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
REST = {"index": 0, "function": {"arguments": "1}"}}


def streamed(*events: bytes) -> list[bytes]:
    """Give a whole stream as a script."""
    return [begin(), *(chunk(event) for event in events), chunk(COUNTED + DONE), END]


HELLO = streamed(delta(content="hel"), delta(content="lo"), delta("stop"))
CALLING = streamed(
    delta(reasoning_content="hm"),
    delta(tool_calls=[CALL]),
    delta(tool_calls=[REST]),
    delta("tool_calls"),
)


def client_of(gateway: Any, prefix: str = "/v1") -> AsyncOpenAI:
    """Give a client that does not try again by itself."""
    url = f"http://127.0.0.1:{gateway.address[1]}{prefix}"
    return AsyncOpenAI(base_url=url, api_key="sk-caller", max_retries=0, timeout=10)


async def events_of(client: AsyncOpenAI, **fields: Any) -> list[Any]:
    """Give the events of a streamed Response."""
    stream = await client.responses.create(model="m", input="hi", stream=True, **fields)
    return [event async for event in stream]


# -- whole, streamed, parsed ---------------------------------------------------------------------


@on_both_loops
@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_a_response(prefix):
    """A Response is created from a chat, with and without `/v1`."""
    async with (
        Provider(*HELLO) as provider,
        start_gateway(provider, model=ANY) as gateway,
        client_of(gateway, prefix) as client,
    ):
        response = await client.responses.create(
            model="m", instructions="be kind", input="hi", metadata={"k": "v"}, max_output_tokens=9
        )

        assert ("completed", "hello", "resp_a1") == (response.status, response.output_text, response.id)
        assert (response.usage.input_tokens, response.usage.output_tokens) == (9, 5)
        assert ({"k": "v"}, 9, "served") == (response.metadata, response.max_output_tokens, response.model)  # fmt: skip
        assert response._request_id.startswith("req-")
        (asked,) = provider.asked
        assert "/v1/chat/completions" == asked.path
        assert ["system", "user"] == [each["role"] for each in asked.json()["messages"]]


@on_uvloop
async def test_a_stream_of_events():
    """Events come one by one, numbered, from the first to `response.completed`."""
    async with (
        Provider(*HELLO) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        events = await events_of(client)

        assert list(range(len(events))) == [event.sequence_number for event in events]
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert ["hel", "lo"] == deltas
        assert ("response.created", "response.completed") == (events[0].type, events[-1].type)
        assert ("hello", 14) == (events[-1].response.output_text, events[-1].response.usage.total_tokens)  # fmt: skip


@on_uvloop
async def test_the_stream_helper_gathers_the_whole_response():
    """The client's own helper follows every event and has the Response at its end."""
    async with (
        Provider(*CALLING) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        async with client.responses.stream(model="m", input="hi", tools=[TOOL]) as helper:
            kinds = [event.type async for event in helper]
            response = await helper.get_final_response()

        assert "response.function_call_arguments.delta" in kinds
        thought, call = response.output
        assert ("hm", "f", {"a": 1}) == (thought.content[0].text, call.name, call.parsed_arguments)


class Point(BaseModel):
    """What an answer is to look like."""

    x: int


@on_uvloop
async def test_an_answer_is_parsed():
    """The client's schema reaches the backend, and its answer is an object of the caller's."""
    script = streamed(delta(content='{"x"'), delta(content=":4}"), delta("stop"))
    async with (
        Provider(*script) as provider,
        start_gateway(provider, model=ANY) as gateway,
        client_of(gateway) as client,
    ):
        response = await client.responses.parse(model="m", input="hi", text_format=Point)
        async with client.responses.stream(model="m", input="hi", text_format=Point) as helper:
            again = await helper.get_final_response()

        assert Point(x=4) == response.output_parsed == again.output_parsed
        form = provider.asked[0].json()["response_format"]
        assert ("json_schema", "Point", True) == (form["type"], form["json_schema"]["name"], form["json_schema"]["strict"])  # fmt: skip


@on_uvloop
async def test_a_talk_with_a_tool():
    """What a Response said is handed back as it came, and the thoughts stand beside the call."""

    def play(asked: Asked) -> Script:
        return HELLO if asked.number else CALLING

    async with (
        Provider(play=play) as provider,
        start_gateway(provider, model=ANY) as gateway,
        client_of(gateway) as client,
    ):
        items: list[Any] = [{"role": "user", "content": "q"}]
        first = await client.responses.create(model="m", input=items, tools=[TOOL])
        items += [item.to_dict() for item in first.output]
        items.append({"type": "function_call_output", "call_id": "c1", "output": "42"})
        second = await client.responses.create(model="m", input=items, tools=[TOOL])

        assert "hello" == second.output_text
        turn, told = provider.asked[1].json()["messages"][1:]
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
        assert ("hm", [call]) == (turn["reasoning_content"], turn["tool_calls"])
        assert {"role": "tool", "tool_call_id": "c1", "content": "42"} == told


@on_uvloop
async def test_an_answer_cut_at_its_bound():
    """It is incomplete, whole or streamed, and says why."""
    async with (
        Provider(*streamed(delta(content="hel"), delta("length"))) as provider,
        start_gateway(provider, model=ANY) as gateway,
        client_of(gateway) as client,
    ):
        response = await client.responses.create(model="m", input="hi", max_output_tokens=1)
        last = (await events_of(client, max_output_tokens=1))[-1]

        assert "response.incomplete" == last.type
        for each in (response, last.response):
            assert ("incomplete", "max_output_tokens", "hel") == (each.status, each.incomplete_details.reason, each.output_text)  # fmt: skip


# -- failover and resuming -----------------------------------------------------------------------


@on_uvloop
@pytest.mark.parametrize("script", [[refusal(429)], [refusal(503)], [CLOSE], [begin(), CLOSE], streamed(delta("stop"))])  # fmt: skip
async def test_failover_before_the_first_token(script):
    """A backend that is busy, gone, cut off or silent is never seen by the caller."""
    async with (
        Provider(*script) as first,
        Provider(*HELLO) as second,
        start_gateway(first, second, model=ANY) as gateway,
        client_of(gateway) as client,
    ):
        response = await client.responses.create(model="m", input="hi")
        events = await events_of(client)

        assert "hello" == response.output_text == events[-1].response.output_text
        assert "response.completed" == events[-1].type


@on_uvloop
async def test_failover_from_a_backend_that_stalls_before_its_first_token():
    """Silence before the first token is a reason to go elsewhere, too."""
    model = ANY | {"first_token_s": 0.1}
    async with (
        Provider(begin(), 30.0) as first,
        Provider(*HELLO) as second,
        start_gateway(first, second, model=model) as gateway,
        client_of(gateway) as client,
    ):
        assert "response.completed" == (await events_of(client))[-1].type


@on_uvloop
async def test_an_answer_that_broke_off_goes_on():
    """One row of events, one id, one text: nobody can tell that two backends wrote it."""
    broken = [begin(), chunk(delta(content="hel")), 0.02, CLOSE]
    again = streamed(delta(content="lo"), delta("stop"))
    async with (
        Provider(*broken) as first,
        Provider(*again) as second,
        start_gateway(first, second, model=ANY) as gateway,
        client_of(gateway) as client,
    ):
        gateway.probes.kinds["b1"] = "vllm"
        events = await events_of(client)

        assert list(range(len(events))) == [event.sequence_number for event in events]
        assert ("completed", "hello") == (events[-1].response.status, events[-1].response.output_text)
        assert "hel" == second.asked[0].json()["messages"][-1]["content"]
        assert 1 == gateway.telemetry.resumes


@on_uvloop
async def test_keep_alives_are_comments():
    """A caller who waits is sent comments, which no client takes for an event."""
    model = {"keepalive_s": 0.05, "first_token_s": 5.0}
    steps = [begin(), 0.4, *HELLO[1:]]
    async with Provider(*steps) as provider, start_gateway(provider, model=model) as gateway:
        async with client_of(gateway) as client:
            events = await events_of(client)
        (answer,) = await raw(gateway.address[1], ask(stream=True))

        assert "response.completed" == events[-1].type
        assert answer.body.startswith(b": keep-alive\n\n")


# -- errors --------------------------------------------------------------------------------------


def ask(**fields: Any) -> bytes:
    """Give the bytes of a request for a Response."""
    return request({"model": "m", "input": "hi"} | fields, "/v1/responses")


BROKEN = [begin(), chunk(delta(content="hel")), 0.01, CLOSE]


@on_both_loops
async def test_a_stream_that_breaks_fails_and_raises():
    """`response.failed` has the text so far; then the client raises, as it does for a chat."""
    async with (
        Provider(*BROKEN) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        events: list[Any] = []
        with pytest.raises(openai.APIError) as raised:
            async for event in await client.responses.create(model="m", input="hi", stream=True):
                events.append(event)  # noqa: PERF401 - kept on error

        assert "response.failed" == events[-1].type
        response = events[-1].response
        assert ("failed", "hel", "server_error") == (response.status, response.output_text, response.error.code)  # fmt: skip
        assert "stream_broken" == raised.value.code
        assert "broke off in the middle" in raised.value.message


@on_uvloop
async def test_the_stream_helper_raises_where_a_stream_breaks():
    """The helper gives no final Response for a broken stream."""
    async with (
        Provider(*BROKEN) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        async with client.responses.stream(model="m", input="hi") as helper:
            with pytest.raises(openai.APIError, match="broke off in the middle"):
                await helper.get_final_response()


@on_uvloop
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("script", "kind", "status"),
    [
        ([refusal(429)], openai.RateLimitError, 429),
        ([refusal(400)], openai.BadRequestError, 400),
        ([refusal(500)], openai.InternalServerError, 502),
        ([refusal(401)], openai.InternalServerError, 502),
    ],
)
async def test_refusals_raise_as_for_a_chat(script, kind, status, is_stream):
    """Before the first event a failure is a status, and the client's own class for it."""
    async with (
        Provider(*script) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(kind) as raised:
            await client.responses.create(model="m", input="hi", stream=is_stream)

        assert status == raised.value.status_code


@on_uvloop
async def test_no_backend_and_no_model():
    """Nobody to ask, or nobody of that name: the client's own classes, too."""
    async with nowhere() as gone, start_gateway(gone) as gateway, client_of(gateway) as client:
        with pytest.raises(openai.InternalServerError) as unreachable:
            await client.responses.create(model="m", input="hi")
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.responses.create(model="x", input="hi")

        assert ("backend_unreachable", "model_not_found") == (unreachable.value.code, unknown.value.code)


@on_uvloop
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "code_interpreter", "container": "x"}]}, "tools[0].type"),
    ],
)
async def test_what_is_not_here_is_refused_by_name(fields, param):
    """The client raises its error for 400, which names the field; no backend is asked."""
    async with (
        Provider() as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(openai.BadRequestError) as raised:
            await client.responses.create(model="m", input="hi", **fields)

        assert (param, "unsupported_parameter") == (raised.value.param, raised.value.code)
        assert [] == provider.asked


@on_uvloop
async def test_nothing_is_kept():
    """No Response can be fetched later, and the answer says that it was not stored."""
    async with Provider(*HELLO) as provider, start_gateway(provider, model=ANY) as gateway:
        (answer,) = await raw(gateway.address[1], ask(store=True))
        async with client_of(gateway) as client:
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve("resp_a1")

        assert isinstance(answer, Answer)
        assert answer.json()["store"] is False


@on_uvloop
async def test_a_client_that_stops_reading_frees_the_backend():
    """Closing the client's stream ends the call at the backend."""
    async with (
        Provider(begin(), chunk(delta(content="x")), 30.0) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        stream = await client.responses.create(model="m", input="hi", stream=True)
        async for _ in stream:
            break
        await stream.close()
        await until(lambda: len(provider.departures) == 1)

        assert 0 == gateway.gate.seats["b0"].in_flight
