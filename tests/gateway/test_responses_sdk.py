"""The official OpenAI client asks for Responses: what it makes of answers and streams.

The client is real, and so are both sockets; only the model behind them is a script that knows
nothing but chats.
"""

import json
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.gateway.harness import DONE, on_both_loops, on_uvloop, start_gateway
from tests.gateway.provider import END, Asked, Provider, Script, begin, chunk

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

        assert ("completed", "hello", "resp_a1") == (
            response.status,
            response.output_text,
            response.id,
        )
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
