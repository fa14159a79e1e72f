"""What tests of the Messages API share: clients, and a double that speaks Anthropic's API natively.

The double answers from the API's documentation: events, errors and usage have the form that is
written there. It proves nothing about Anthropic's or DeepSeek's servers.
"""

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

from anthropic import Anthropic, AsyncAnthropic

from tests.gateway.harness import start_gateway
from tests.gateway.provider import END, backends, begin, chunk, healthy, whole

HI: list[Any] = [{"role": "user", "content": "hi"}]
NATIVE_PATH = "/anthropic/v1/messages"
ASK = {"model": "m", "max_tokens": 50, "messages": HI}


# -- clients -------------------------------------------------------------------------------------


def base_url(gateway, prefix=""):
    """Give what a program sets as its base URL; the client adds `/v1/messages`."""
    return f"http://127.0.0.1:{gateway.address[1]}{prefix}"


def client_of(gateway, prefix="", key="sk-caller", retries=0):
    """Give the asynchronous client."""
    return AsyncAnthropic(
        base_url=base_url(gateway, prefix), api_key=key, max_retries=retries, timeout=10
    )


async def in_sync(gateway, use, prefix=""):
    """Use the synchronous client, in a thread, as the gateway runs in this one."""

    def work():
        url = base_url(gateway, prefix)
        with Anthropic(base_url=url, api_key="sk-caller", max_retries=0, timeout=10) as client:
            return use(client)

    return await asyncio.to_thread(work)


async def said(client, **fields):
    """Give the message that the client's helper gathers from a stream."""
    async with client.messages.stream(**(ASK | fields)) as stream:
        return await stream.get_final_message()


def texts(message):
    """Give what a message says, block by block."""
    return [block.text for block in message.content if block.type == "text"]


# -- a backend that speaks it --------------------------------------------------------------------


def native_event(name, **fields):
    """Give one event as Anthropic sends it."""
    return f"event: {name}\ndata: {json.dumps({'type': name} | fields)}\n\n".encode()


def native_token(text):
    """Give one piece of a text."""
    return native_event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def native_message(content=None, stop_reason="end_turn", **usage):
    """Give a whole message."""
    return {
        "id": "msg_native",
        "type": "message",
        "role": "assistant",
        "model": "native-model",
        "content": [{"type": "text", "text": "native"}] if content is None else content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 3} | usage,
    }


NATIVE_START = (
    native_event("message_start", message=native_message([], None, output_tokens=1))
    + native_event("ping")
    + native_event("content_block_start", index=0, content_block={"type": "text", "text": ""})
)
NATIVE_FINISH = native_event(
    "message_delta",
    delta={"stop_reason": "end_turn", "stop_sequence": None},
    usage={"output_tokens": 3},
)
NATIVE_END = (
    native_event("content_block_stop", index=0) + NATIVE_FINISH + native_event("message_stop")
)


def native_stream(*pieces):
    """Give a whole stream's events."""
    return NATIVE_START + b"".join(native_token(text) for text in pieces) + NATIVE_END


def native_error(status, kind, head=""):
    """Give an error as Anthropic's API words it."""
    error = {"type": kind, "message": "no"}
    return whole({"type": "error", "error": error, "request_id": "req_1"}, status, head)


def natively(asked):
    """Answer as a healthy server of Anthropic's API does, and of chats on other paths."""
    if asked.path != NATIVE_PATH:
        return healthy(asked)
    if not asked.json().get("stream"):
        return [whole(native_message())]
    return [begin() + chunk(native_stream("nat", "ive")) + END]


def streamed(*events):
    """Give a whole HTTP answer with these events."""
    return begin() + b"".join(chunk(event) for event in events) + END


@asynccontextmanager
async def start_mixed(*providers, model=None, natives=(0,), **overrides):
    """Start a gateway; backends whose number is in `natives` speak Anthropic's API."""
    plain = backends(*providers)
    spoken = backends(*providers, anthropic_path=NATIVE_PATH, api_key="sk-backend")
    named = {
        name: (spoken if number in natives else plain)[name] for number, name in enumerate(plain)
    }
    async with start_gateway(*providers, model=model, backends=named, **overrides) as gateway:
        yield gateway
