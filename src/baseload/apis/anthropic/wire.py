"""What Anthropic's own events mean to a gateway that passes them on.

The relay asks the same of every stream: is this a token, an end, an error, or only a sign of life,
and what was counted? For chat completions the module `apis.openai` answers; for backends that speak
Anthropic's API themselves an `AnthropicWire` does. There is one for each answer, because Anthropic
counts the prompt at the beginning and the answer at the end.

Not here: what is done with the answers to these questions (`gateway.transcript`).
"""

from typing import Any

import msgspec

from baseload.apis.anthropic import errors
from baseload.apis.anthropic.speech import STOP
from baseload.apis.openai import END, ERROR, FINISH, GARBAGE, NOTHING, TOKEN, Event, Usage
from baseload.apis.sse import data_of
from baseload.apis.unreadable import UNREADABLE

_CHAT_REASONS = {"end_turn": "stop", "stop_sequence": "stop"}
"""Reasons that say that the model has finished by itself, as a chat says it."""

_ENDS = {"message_stop": END, "error": ERROR}
_SILENT = ("signature_delta", "citations_delta")
"""Deltas in which the model says nothing new."""


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None

    def merged(self, later: "_Usage") -> "_Usage":
        """Give both as one; what is said later stands, because the counts are totals."""
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(later), strict=True)
        return _Usage(*(old if new is None else new for old, new in pairs))

    def usage(self) -> Usage:
        """Give it as a chat counts: what was in the cache is a part of the prompt."""
        cached = max(self.cache_read_input_tokens or 0, 0)
        written = max(self.cache_creation_input_tokens or 0, 0)
        prompt = max(self.input_tokens or 0, 0) + cached + written
        return Usage(prompt, max(self.output_tokens or 0, 0), cached)


class _Event(msgspec.Struct, gc=False):
    type: Any = None
    message: Any = None
    content_block: Any = None
    delta: Any = None
    usage: Any = None


class _Answer(msgspec.Struct, gc=False):
    type: Any = None
    error: Any = None
    content: Any = None
    usage: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode


class AnthropicWire:
    """How one answer of a backend that speaks Anthropic's API is understood."""

    END_EVENT = STOP
    """What ends a stream."""

    def __init__(self) -> None:
        self._usage = _Usage()

    def count_plain(self, whole: bytes) -> int:
        """Count the events of whole bytes if they are all plain pieces of text, else give -1.

        Inside a JSON string quotes and line ends are escaped, so text cannot fool this.
        """
        ends = whole.count(b"\n\n")
        is_plain = (
            whole.count(b"event: content_block_delta\n") == ends
            and whole.count(b'"text_delta"') == ends
            and b'"text":""' not in whole
            and b'"text": ""' not in whole
        )
        return ends if ends and is_plain else -1

    def read_event(self, event: bytes) -> tuple[Event, Usage | None]:
        """Say what an event is, and what was counted if it says so."""
        data = (data_of(event) or b"").strip()
        if not data:
            return NOTHING, None
        try:
            found = _decode_event(data)
        except UNREADABLE:
            return GARBAGE, None
        usage, kind = None, NOTHING
        if found.type == "content_block_delta":
            kind = TOKEN if _says_something(found.delta) else NOTHING
        elif found.type == "content_block_start":
            kind = TOKEN if _opens_something(found.content_block) else NOTHING
        elif found.type == "message_start":
            message = found.message if isinstance(found.message, dict) else {}
            self._usage = self._usage.merged(_usage(message.get("usage")))
        elif found.type == "message_delta":
            self._usage = self._usage.merged(_usage(found.usage))
            usage = None if found.usage is None else self._usage.usage()
            kind = FINISH if _reason(found.delta) else NOTHING
        else:
            kind = _ENDS.get(found.type, NOTHING) if isinstance(found.type, str) else NOTHING
        return kind, usage

    def read_finish(self, event: bytes) -> tuple[str, bool]:
        """Give the reason of an end, as a chat says it; the model never speaks in that event."""
        try:
            reason = _reason(_decode_event((data_of(event) or b"").strip()).delta)
        except UNREADABLE:
            return "", False
        return _CHAT_REASONS.get(reason, reason), False

    def read_answer(self, body: bytes) -> tuple[bool, Usage | None]:
        """Say whether a body is a message, and what was counted."""
        try:
            found = _decode_answer(body)
        except UNREADABLE:
            return False, None
        is_answer = found.type != "error" and not found.error and isinstance(found.content, list)
        return is_answer, None if found.usage is None else _usage(found.usage).usage()

    def status_of_event(self, event: bytes) -> int:
        """Give the status that an error would have had in place of the stream."""
        return errors.status_of(event)


def _says_something(delta: Any) -> bool:
    """Say whether there is a token in a delta; one of a kind that is yet unknown may hold one."""
    if not isinstance(delta, dict) or delta.get("type") in _SILENT:
        return False
    return any(value for key, value in delta.items() if key != "type")


def _opens_something(block: Any) -> bool:
    """Say whether the beginning of a block is a token: that a tool is used is one."""
    if not isinstance(block, dict):
        return False
    kind = block.get("type")
    return bool(block.get(kind)) if kind in ("text", "thinking") else True


def _reason(delta: Any) -> str:
    reason = delta.get("stop_reason") if isinstance(delta, dict) else None
    return reason if isinstance(reason, str) else ""


def _usage(found: Any) -> _Usage:
    """Read what was counted; numbers that are none spoil the count, but not the answer."""
    try:
        return msgspec.convert(found, _Usage)
    except msgspec.ValidationError:
        return _Usage()
