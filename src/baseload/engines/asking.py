"""Ask an engine one small question over HTTP, and be sure to come back.

Supervising needs two questions: are you well, and can you really answer. Both are short, so this
is the least of HTTP/1.1 that asks them: one connection a question, closed by the server at the
end, everything bounded by time and size.

It is no client for callers' traffic: no pooling, no streaming, no redirects.
"""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field

import msgspec

from baseload.config.addresses import parse_url

Address = tuple[str, int]

ANSWER_MAX_BYTES = 65536
QUOTE_MAX_CHARS = 200


@dataclass(frozen=True, slots=True)
class Access:
    """How an engine wants to be asked, beside its address."""

    authority: str = ""
    """What `Host` says; empty: the address."""
    api_key: str = field(default="", repr=False)
    """Shown as a bearer token; empty: none is."""
    tls: ssl.SSLContext | None = None
    prefix: str = "/v1"
    """Path before `/chat/completions`."""


PLAIN = Access()


class _Usage(msgspec.Struct):
    completion_tokens: int = 0


class _Chat(msgspec.Struct):
    """The part of a chat completion that proves a model has spoken."""

    choices: list[dict[str, msgspec.Raw]]
    model: str = ""
    usage: _Usage | None = None


def access_of(url: str, api_key: str, ca: str | None) -> tuple[Address, Access]:
    """Give where a base URL is, and how it is asked; raises OSError if `ca` cannot be read."""
    parsed = parse_url(url)
    tls = ssl.create_default_context(cafile=ca) if parsed.tls else None
    return (parsed.host, parsed.port), Access(parsed.authority, api_key, tls, parsed.path)


async def ask(
    address: Address,
    path: str,
    body: bytes,
    wait_max_s: float,
    access: Access = PLAIN,
    answer_max_bytes: int = ANSWER_MAX_BYTES,
) -> tuple[int, bytes]:
    """Return status and body of one request: POST if there is a `body`, else GET.

    `path` is the whole of it; what is longer than `answer_max_bytes` is cut. Raises OSError
    (TimeoutError included) when nobody answers properly within `wait_max_s`.
    """
    key = f"Authorization: Bearer {access.api_key}\r\n" if access.api_key else ""
    head = (
        f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: {access.authority or address[0]}\r\n"
        f"{key}Content-Type: application/json\r\nAccept-Encoding: identity\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    async with asyncio.timeout(wait_max_s):
        reader, writer = await asyncio.open_connection(*address, ssl=access.tls)
        try:
            writer.write(head.encode() + body)
            heard = bytearray()
            while len(heard) < answer_max_bytes and (part := await reader.read(ANSWER_MAX_BYTES)):
                heard += part
        finally:
            writer.transport.abort()  # By TLS, a good-bye is waited for: from who hangs, long.
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    head_bytes, _, rest = bytes(heard).partition(b"\r\n\r\n")
    words = head_bytes.split(maxsplit=2)
    if len(words) < 2 or not words[1].isdigit():
        raise ConnectionError("the engine's answer is not HTTP")
    is_chunked = b"\r\ntransfer-encoding: chunked" in head_bytes.lower()
    return int(words[1]), _joined(rest) if is_chunked else rest


def _joined(chunks: bytes) -> bytes:
    """Put a chunked body together, as far as it has come."""
    whole = b""
    while chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        try:
            length = int(size.split(b";")[0], 16)
        except ValueError:
            break
        if length <= 0:
            break
        whole, chunks = whole + chunks[:length], chunks[length + 2 :]
    return whole


async def is_healthy(
    address: Address, wait_max_s: float, access: Access = PLAIN, path: str = "/health"
) -> bool:
    """Tell whether its health's path answers 200 in time."""
    try:
        status, _ = await ask(address, path, b"", wait_max_s, access)
    except OSError:
        return False
    return status == 200


async def version_of(address: Address, path: str, wait_max_s: float, access: Access = PLAIN) -> str:
    """Give the engine's own word for its version; empty if it says none."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        status, answer = await ask(address, path, b"", wait_max_s, access)
        if status == 200:
            said = msgspec.json.decode(answer, type=dict[str, object]).get("version")
            return said[:64] if isinstance(said, str) else ""
    return ""


async def chat_fault(
    address: Address,
    model: str,
    wait_max_s: float,
    access: Access = PLAIN,
    *,
    is_named: bool = True,
) -> str | None:
    """Have the engine say a few tokens; return what is wrong with the answer, None if nothing.

    This also touches every weight once, so that the first caller does not wait for the disk. A
    model without a chat's template is asked to complete a text instead. With `is_named` the answer
    must carry the model's name. Raises OSError when there is no answer at all.
    """
    chat = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    plain = {"model": model, "prompt": "Hello", "max_tokens": 4}
    status, answer = await _said(address, "/chat/completions", chat, wait_max_s, access)
    if status == 400 and b"template" in answer:
        status, answer = await _said(address, "/completions", plain, wait_max_s, access)
    quote = answer[:QUOTE_MAX_CHARS].decode(errors="replace")
    if status != 200:
        return f"the warm-up chat was answered {status}: {quote}"
    try:
        said = msgspec.json.decode(answer, type=_Chat)
    except msgspec.DecodeError:
        return f"the warm-up chat was not answered as a chat: {quote}"
    if (is_named and said.model != model) or not said.choices:
        return f"the warm-up chat for {model!r} was answered as {said.model!r}"
    if said.usage is not None and said.usage.completion_tokens < 1:
        return "the warm-up chat was answered without a token"
    return None


async def _said(
    address: Address, path: str, body: dict[str, object], wait_max_s: float, access: Access
) -> tuple[int, bytes]:
    return await ask(address, access.prefix + path, msgspec.json.encode(body), wait_max_s, access)
