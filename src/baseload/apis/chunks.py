"""What is in one chunk of a streamed answer, for whoever must look inside?

The relay passes chunks on unread. Only an answer that broke, or one that is put together for a
caller who wanted no stream, is opened, and here is what the three readers of it share: events
become dictionaries, and the one choice of a plain answer becomes two texts.

Not here: what an event means for an attempt (`openai.read_event` says it without building
anything), and what becomes of the texts.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from baseload.apis.sse import data_of, events
from baseload.apis.unreadable import UNREADABLE

Chunk = dict[str, Any]

END = b"[DONE]"
END_EVENT = b"data: [DONE]\n\n"
REASONING_KEYS = ("reasoning_content", "reasoning")
"""Two spellings of one thing: DeepSeek's, which most servers took over, and a newer one."""

_OTHER_SPEECH = ("tool_calls", "function_call", "refusal", "audio")

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class ChunkError(ValueError):
    """A chunk cannot be read, or is none of a plain answer; says why, and quotes nothing."""


def chunks(whole: bytes) -> Iterator[tuple[bytes, Chunk | None]]:
    """Give each event's data, and the chunk in it; None for comments and the terminator.

    `whole` ends where an event ends. Raises `ChunkError` at data that is no JSON object.
    """
    # Without CR, an event ends exactly at an empty line: splitting there is six times as fast.
    for event in events(whole) if b"\r" in whole else whole.split(b"\n\n"):
        if event.startswith(b"data: ") and b"\n" not in event:
            data = event[6:]
        else:
            data = (data_of(event) or b"").strip()
        if data.startswith(b"{"):
            try:
                yield data, _decode(data)
            except UNREADABLE:
                raise ChunkError("an event holds no valid JSON") from None
        elif data and data.strip() != END:
            raise ChunkError("an event holds no JSON object")
        elif data:
            yield END, None


def event_of(chunk: Chunk) -> bytes:
    """Give a chunk as an event."""
    return b"data: " + _encode(chunk) + b"\n\n"


def choice_of(chunk: Chunk) -> Chunk | None:
    """Give the one choice of a plain answer; None if there is none, as in a chunk of usage.

    Raises `ChunkError` if there are several, if it is not the first, or if it is misshapen.
    """
    found = chunk.get("choices")
    if not found:
        return None
    if not isinstance(found, list) or len(found) > 1 or not isinstance(found[0], dict):
        raise ChunkError("a chunk holds several choices, or none that can be read")
    choice: Chunk = found[0]
    if choice.get("index"):
        raise ChunkError("the answer has several choices")
    return choice


def delta_of(choice: Chunk) -> Chunk:
    """Give what a choice adds, for chat; empty for a completion."""
    delta = choice.get("delta")
    return delta if isinstance(delta, dict) else {}


def texts_of(choice: Chunk) -> tuple[str, str]:
    """Give the reasoning and the content in a choice, either of them perhaps empty.

    Raises `ChunkError` if it says anything else: tool calls, a refusal, audio, log probabilities.
    """
    delta = delta_of(choice)
    if choice.get("logprobs") or any(delta.get(key) for key in _OTHER_SPEECH):
        raise ChunkError("the answer holds more than text")
    reasoning = delta.get("reasoning_content") or delta.get("reasoning") or ""
    content = delta.get("content") or choice.get("text") or ""
    if not (isinstance(reasoning, str) and isinstance(content, str)):
        raise ChunkError("the answer's text is not a string")
    return reasoning, content
