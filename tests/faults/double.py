"""What the provider of these tests says: a text that is always the same, and faults in it.

It is a double, played by `tests.gateway.provider`. Its "model" knows one answer by heart, so every
copy of it has the very same weights: asked to go on from any beginning of that answer it says the
rest, and a test can tell a joint that lost or doubled a letter from one that did not.

What it does not prove: that a real provider fails in these ways and no others, that a real model
continues a text as it would have gone on by itself, or anything about time, load and distance. Bytes
cross loopback whole and at once; a real network cuts them elsewhere.
"""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, Self, cast

from tests.gateway.harness import DONE
from tests.gateway.provider import END, Asked, Script, begin, chunk, refusal, whole

THOUGHT = "The user wants a pangram. There is a well known one about a fox and a dog."
TEXT = 'The quick brown fox jumps over the lazy dog.\n\nThat is a "pangram": 🦊 and all.'
TOKENS = re.findall(r"\s*\S+", TEXT)
THOUGHTS = re.findall(r"\s*\S+", THOUGHT)
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SILENCE = 20.0
"""A step that no test waits for: whoever is not hung up on meanwhile was forgotten."""
Play = Callable[[Asked], Script]


# -- events --------------------------------------------------------------------------------------


def event(name: str = "a", finish: str | None = None, index: int = 0, **delta: Any) -> bytes:
    """Give one event of a chat's stream in a chunk of HTTP; `name` is whose answer it is."""
    return chunk(words(name, finish, index, **delta))


def words(name: str = "a", finish: str | None = None, index: int = 0, **delta: Any) -> bytes:
    """Give one event of a chat's stream, without any framing of HTTP."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return data(_about(name) | {"choices": [choice]})


def data(value: Any) -> bytes:
    """Give a server-sent event."""
    return (
        b"data: " + json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"
    )


def _about(name: str) -> dict[str, Any]:
    kind = "chat.completion.chunk"
    return {"id": f"chat-{name}", "object": kind, "created": 7, "model": "m"}


ROLE = event(role="assistant", content="")
KEEP_ALIVE = chunk(b": keep-alive\n\n")
STOP = event(finish="stop")
FAREWELL = chunk(DONE) + END


def error_event(code: Any, message: str = "no", kind: str = "server_error") -> bytes:
    """Give an error in the middle of a stream, as OpenAI-like servers word it."""
    return chunk(data({"error": {"message": message, "type": kind, "param": None, "code": code}}))


def coded(status: int, code: str, message: str = "no", head: str = "") -> bytes:
    """Give a refusal with a code, as OpenAI-like servers word it."""
    error = {"message": message, "type": "t", "param": None, "code": code}
    return whole({"error": error}, status, head)


def said(count: int) -> bytes:
    """Give the beginning of a streamed answer: so many tokens of its text."""
    return begin() + ROLE + b"".join(event(content=token) for token in TOKENS[:count])


def unchunked(count: int, head: str = "") -> bytes:
    """Give the same, but framed by `head` or by the connection's end."""
    lines = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{head}\r\n".encode()
    return lines + b"".join(words(content=token) for token in TOKENS[:count])


def thought(count: int) -> bytes:
    """Give the beginning of a streamed answer: so many tokens of what is thought before it."""
    return begin() + ROLE + b"".join(event(reasoning_content=token) for token in THOUGHTS[:count])


# -- the model -----------------------------------------------------------------------------------


def given(asked: Asked) -> tuple[str, str]:
    """Give the beginning that a request wants to be continued: what was thought, what was said."""
    last = asked.json()["messages"][-1]
    if last["role"] != "assistant":
        return "", ""
    return last.get("reasoning_content") or "", last.get("content") or ""


def twin(
    name: str = "b", thinks: str = "", says: str = TEXT, *, ignores_prefill: bool = False
) -> Play:
    """Play a healthy server of the model: it says its answer, or the rest of one that was begun."""

    def play(asked: Asked) -> Script:
        begun = ("", "") if ignores_prefill else given(asked)
        # Once an answer has begun, nothing more is thought.
        thinking = "" if begun[1] else thinks.removeprefix(begun[0])
        text = says.removeprefix(begun[1])
        if not asked.json().get("stream"):
            return [whole(completion(text, name))]
        events = [event(name, reasoning_content=t) for t in re.findall(r"\s*\S+", thinking)]
        events += [event(name, content=t) for t in re.findall(r"\s*\S+", text)]
        start = begin() + event(name, role="assistant", content="")
        return [start + b"".join(events) + event(name, finish="stop") + counts(name) + FAREWELL]

    return play


def counts(name: str = "a") -> bytes:
    """Give the event that tells what an answer took."""
    usage = {"prompt_tokens": 9, "completion_tokens": 14, "total_tokens": 23}
    return chunk(data(_about(name) | {"choices": [], "usage": usage}))


def completion(text: str = TEXT, name: str = "a", finish: str = "stop") -> dict[str, Any]:
    """Give a whole answer that is not streamed."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    usage = {"prompt_tokens": 9, "completion_tokens": 14, "total_tokens": 23}
    about = _about(name) | {"object": "chat.completion"}
    return about | {"choices": [choice], "usage": usage}


def refuses_prefill(play: Play) -> Play:
    """Play a server that wants no answer to be begun for it, and else is as told."""
    sentence = "the last message must be of the user"
    return lambda asked: [refusal(400, sentence)] if given(asked)[1] else play(asked)


def in_turn(*plays: Play | tuple[Any, ...]) -> Play:
    """Play the first script for the first request, and so on; the last one for all that follow."""

    def play(asked: Asked) -> Script:
        script = plays[min(asked.number, len(plays) - 1)]
        return script if isinstance(script, tuple) else script(asked)

    return play


# -- a provider that does not listen -------------------------------------------------------------


class Deaf(asyncio.Protocol):
    """A server that takes connections and reads nothing from them, ever."""

    def __init__(self) -> None:
        self._transports: list[asyncio.Transport] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for transport in self._transports:
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        deaf = cast("asyncio.Transport", transport)
        deaf.pause_reading()
        self._transports.append(deaf)
