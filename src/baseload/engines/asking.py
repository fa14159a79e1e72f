"""Ask an engine one small question over HTTP, and be sure to come back.

Supervising needs two questions: are you well, and can you really answer. Both are short, so this
is the least of HTTP/1.1 that asks them: one connection a question, closed by the server at the
end, everything bounded by time and size.

It is no client for callers' traffic: no pooling, no streaming, no TLS.
"""

import asyncio
import contextlib

import msgspec

Address = tuple[str, int]

ANSWER_MAX_BYTES = 65536
QUOTE_MAX_CHARS = 200


class _Chat(msgspec.Struct):
    """The part of a chat completion that proves a model has spoken."""

    model: str
    choices: list[msgspec.Raw]


async def ask(address: Address, path: str, body: bytes, wait_max_s: float) -> tuple[int, bytes]:
    """Return status and body of one request: POST if there is a `body`, else GET.

    Raises OSError (TimeoutError included) when nobody answers properly within `wait_max_s`.
    """
    async with asyncio.timeout(wait_max_s):
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(
                f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: {address[0]}\r\n"
                "Content-Type: application/json\r\nConnection: close\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            answer = b""
            while len(answer) < ANSWER_MAX_BYTES and (part := await reader.read(ANSWER_MAX_BYTES)):
                answer += part
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    head, _, rest = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if len(words) < 2 or not words[1].isdigit():
        raise ConnectionError("the engine's answer is not HTTP")
    return int(words[1]), rest


async def is_healthy(address: Address, wait_max_s: float) -> bool:
    """Tell whether `/health` answers 200 in time."""
    try:
        status, _ = await ask(address, "/health", b"", wait_max_s)
    except OSError:
        return False
    return status == 200


async def chat_fault(address: Address, model: str, wait_max_s: float) -> str | None:
    """Have the engine say a few tokens; return what is wrong with the answer, None if nothing.

    This also touches every weight once, so that the first caller does not wait for the disk.
    Raises OSError when there is no answer at all.
    """
    body = msgspec.json.encode(
        {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    )
    status, answer = await ask(address, "/v1/chat/completions", body, wait_max_s)
    quote = answer[:QUOTE_MAX_CHARS].decode(errors="replace")
    if status != 200:
        return f"the warm-up chat was answered {status}: {quote}"
    try:
        chat = msgspec.json.decode(answer, type=_Chat)
    except msgspec.DecodeError:
        return f"the warm-up chat was not answered as a chat: {quote}"
    if chat.model != model or not chat.choices:
        return f"the warm-up chat for {model!r} was answered as {chat.model!r}"
    return None
