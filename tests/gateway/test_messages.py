"""The official Anthropic client against the gateway, with backends that speak chat completions.

The client is real, and so are both sockets; only the model behind them is a script.
"""

import asyncio
import json

import pytest

from baseload.config.fleet import Inbound
from tests.gateway.harness import (
    call_up,
    on_both_loops,
    on_uvloop,
    raw,
    request,
    start_gateway,
    until,
)
from tests.gateway.messages_kit import ASK, HI, client_of, in_sync, said, texts
from tests.gateway.provider import END, Provider, ask, begin, chunk, in_turn, stream, whole

PREFIXES = pytest.mark.parametrize("prefix", ["", "/anthropic"])
TOOL = {
    "name": "weather",
    "description": "How is the weather?",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 2}


def piece(delta, finish=None, **more):
    """Give one event of a chat's stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    fields = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "served"}
    return b"data: " + json.dumps(fields | {"choices": [choice]} | more).encode() + b"\n\n"


def answered(*events):
    """Give a whole HTTP answer that is a stream of these events."""
    return begin() + b"".join(chunk(event) for event in (*events, b"data: [DONE]\n\n")) + END


def call(index, **function):
    """Give one event with a piece of a tool call."""
    return piece({"tool_calls": [{"index": index, "id": f"id{index}", "function": function}]})


CALLS = answered(
    piece({"role": "assistant", "content": ""}),
    piece({"reasoning_content": "two "}),
    piece({"reasoning_content": "cities"}),
    piece({"content": "I look."}),
    call(0, name="weather", arguments='{"ci'),
    call(0, arguments='ty":"Bern"}'),
    call(1, name="weather", arguments='{"city":"Rome"}'),
    piece({}, "tool_calls"),
    piece({}, choices=[], usage=USAGE),
)


# -- plain messages ------------------------------------------------------------------------------


@on_uvloop
@PREFIXES
async def test_sync_messages(prefix):
    """The synchronous client is answered whole and as a stream, below DeepSeek's base URL, too."""

    def use(client):
        with client.messages.stream(**ASK) as events:
            return client.messages.create(**ASK), "".join(events.text_stream)

    async with Provider() as provider, start_gateway(provider) as gateway:
        message, text = await in_sync(gateway, use, prefix)

        assert (["hello"], "hello") == (texts(message), text)
        assert ("end_turn", "assistant", "message") == (
            message.stop_reason, message.role, message.type,
        )  # fmt: skip
        assert (3, 5) == (message.usage.input_tokens, message.usage.output_tokens)
        assert message.id.startswith("msg_")
        assert message._request_id.startswith("req-")
        assert {"/v1/chat/completions"} == {asked.path for asked in provider.asked}


@on_both_loops
async def test_async_messages():
    """So is the asynchronous one; events come one by one."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        async with client_of(gateway) as client:
            message = await client.messages.create(**ASK)
            events = await client.messages.create(**ASK, stream=True)
            kinds = [event.type async for event in events]

        assert ["hello"] == texts(message)
        assert [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ] == kinds


@on_uvloop
async def test_a_call_that_is_not_streamed_is_put_together_first():
    """With `assemble` the backend is asked for a stream, and the caller gets one message."""
    async with (
        Provider(CALLS) as provider,
        start_gateway(provider, model={"assemble": True}) as gateway,
        client_of(gateway) as client,
    ):
        message = await client.messages.create(**ASK, tools=[TOOL])

        assert ["thinking", "text", "tool_use", "tool_use"] == [b.type for b in message.content]
        assert provider.asked[0].json()["stream"] is True


@on_uvloop
async def test_an_answer_too_large_to_be_held():
    """It is gathered and becomes a message all the same."""
    text = "x" * (2 << 20)
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    async with (
        Provider(whole({"id": "c", "model": "m", "choices": [choice]})) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        assert [text] == texts(await client.messages.create(**ASK))


@on_uvloop
async def test_where_an_answer_came_from_is_in_its_head():
    """The head names the backend, and the request under the name that Anthropic's clients read."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        async with client_of(gateway) as client:
            answer = await client.messages.with_raw_response.create(**ASK)

        assert "b0" == answer.headers["x-baseload-backend"]
        assert answer.headers["x-request-id"] == answer.headers["request-id"]


# -- tools and thoughts --------------------------------------------------------------------------


@on_uvloop
async def test_a_conversation_with_tools():
    """Thoughts, calls of tools and their results go round through the client and back."""
    async with (
        Provider(play=in_turn([CALLS], [stream("sunny ", "and warm")])) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        first = await said(
            client, tools=[TOOL], thinking={"type": "enabled", "budget_tokens": 1024}
        )
        thought, text, *uses = first.content
        results = [
            {"type": "tool_result", "tool_use_id": use.id, "content": f"{use.input['city']}: fine"}
            for use in uses
        ]
        history = [
            *HI,
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": results},
        ]
        second = await said(client, tools=[TOOL], messages=history)

        assert ("two cities", "I look.") == (thought.thinking, text.text)
        assert [("id0", {"city": "Bern"}), ("id1", {"city": "Rome"})] == [
            (use.id, use.input) for use in uses
        ]
        assert ("tool_use", 7, 2, 4) == (
            first.stop_reason, first.usage.input_tokens,
            first.usage.cache_read_input_tokens, first.usage.output_tokens,
        )  # fmt: skip
        assert ["sunny and warm"] == texts(second)
        asked, again = (one.json() for one in provider.asked)
        assert {"type": "enabled"} == asked["thinking"]
        assert "weather" == asked["tools"][0]["function"]["name"]
        _, assistant, *tools = again["messages"]
        assert ("two cities", "I look.") == (assistant["reasoning_content"], assistant["content"])
        assert ["id0", "id1"] == [one["id"] for one in assistant["tool_calls"]]
        assert [("id0", "Bern: fine"), ("id1", "Rome: fine")] == [
            (tool["tool_call_id"], tool["content"]) for tool in tools
        ]


# -- what is refused before a call ---------------------------------------------------------------


@on_uvloop
async def test_refusals_before_the_call():
    """Each has Anthropic's shape and its own status: the body, the path, the method, the size."""
    small = request({"model": "m", "max_tokens": 1, "messages": HI * 3000}, "/v1/messages")
    cases = [
        (request({"model": "m"}, "/v1/messages"), 400, "invalid_request_error"),
        (request({"model": "x", "max_tokens": 1, "messages": HI}, "/v1/messages"), 404, "not_found_error"),
        (request(ASK, "/v1/messages", head="x-baseload-priority: now\r\n"), 400, "invalid_request_error"),
        (request(None, "/v1/messages", method="GET"), 405, "invalid_request_error"),
        (request(ASK, "/anthropic/v1/nothing"), 404, "not_found_error"),
        (request(ASK, "/v1/messages/batches?beta=true"), 404, "not_found_error"),
        (small, 413, "request_too_large"),
        (small.replace(b"/v1/messages", b"/v1/messages/count_tokens"), 413, "request_too_large"),
    ]  # fmt: skip
    inbound = Inbound(body_mb=0.05)
    async with Provider() as provider, start_gateway(provider, inbound=inbound) as gateway:
        for data, status, kind in cases:
            (answer,) = await raw(gateway.address[1], data)

            assert (status, "error", kind) == (
                answer.status, answer.json()["type"], answer.json()["error"]["type"],
            )  # fmt: skip
            assert answer.headers["x-request-id"] == answer.json()["request_id"]
        assert [] == provider.asked


@on_uvloop
async def test_what_has_no_words_in_a_chat_is_refused():
    """A document is not left out: the caller is told that it cannot be given on."""
    document = {"type": "document", "source": {"type": "text", "data": "x"}}
    body = ASK | {"messages": [{"role": "user", "content": [document]}]}
    async with Provider() as provider, start_gateway(provider) as gateway:
        answer = await ask(gateway, request(body, "/v1/messages"))

        assert 400 == answer.status
        assert "messages.0.content.0: a block of the type `document`" in answer.body.decode()
        assert [] == provider.asked


@on_uvloop
async def test_other_paths_keep_openai_s_shape():
    """Whoever asks for a chat is told of errors as before."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        async with call_up(gateway.address[1]) as caller:
            await caller.send(request(b"{}"))
            answer = await caller.answer()

        assert "type" not in answer.json()
        assert "request-id" not in answer.headers


@on_uvloop
async def test_callers_of_both_apis_share_one_answer():
    """Calls that are equal as chats may share; each caller is answered in its own words."""
    may_answer = asyncio.Event()
    async with Provider(may_answer, stream("hi")) as provider:
        async with start_gateway(provider, model={"share_identical": True}) as gateway:
            async with client_of(gateway) as client:
                both = [asyncio.create_task(said(client)) for _ in range(2)]
                await until(lambda: gateway.telemetry.shared == 1)
                may_answer.set()
                found = await asyncio.gather(*both)

        assert [["hi"], ["hi"]] == [texts(message) for message in found]
        assert 1 == len(provider.asked)
