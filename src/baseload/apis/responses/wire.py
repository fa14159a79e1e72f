"""What a Response's own events mean to a gateway that passes them on.

Where a backend speaks the Responses API itself, nothing is translated. The relay asks of its stream
what it asks of every other (see `gateway.transcript.Wire`): is this a token, an end, an error, or
only a sign of life, and what was counted? The last event holds the whole Response, and with it the
usage and the reason of the end; there is no terminator after it.

`NativeResponsesSpeech` gives the events on as they came. Only what the gateway says on its own
account, that the stream broke, is put into a Response's words, with the id and the number that the
caller's client waits for.
"""

from typing import Any

import msgspec

from baseload.apis import openai, trouble
from baseload.apis.dialect import NativeSpeech
from baseload.apis.openai import END, ERROR, FINISH, GARBAGE, NOTHING, TOKEN, Event, Usage
from baseload.apis.responses.speech import ResponsesSpeech
from baseload.apis.sse import data_of, events
from baseload.apis.unreadable import UNREADABLE

_ENDS = {
    "response.completed": FINISH,
    "response.incomplete": FINISH,
    "response.failed": ERROR,
    "response.cancelled": ERROR,
    "error": ERROR,
}
_SPOKEN_LATER = ("message", "reasoning")
"""Items whose beginning says nothing yet; any other is something that the model does."""
_WRONG = (b"event: error\n", b"event: response.failed\n")


class _Item(msgspec.Struct, gc=False):
    type: Any = None


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None

    def usage(self) -> Usage:
        """Give it as a chat counts."""
        cached, thought = self.input_tokens_details, self.output_tokens_details
        found = {
            "prompt_tokens": max(self.input_tokens, 0),
            "completion_tokens": max(self.output_tokens, 0),
        }
        found["prompt_cache_hit_tokens"] = (cached.cached_tokens if cached else None) or 0
        details = {"reasoning_tokens": thought.reasoning_tokens if thought else None}
        return msgspec.convert({**found, "completion_tokens_details": details}, Usage)


class _Response(msgspec.Struct, gc=False):
    id: Any = None
    object: Any = None
    status: Any = None
    error: Any = None
    output: list[_Item] | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")


class _Event(msgspec.Struct, gc=False):
    type: Any = None
    delta: Any = None
    item: _Item | None = None
    response: _Response | None = None


class _Numbered(msgspec.Struct, gc=False):
    sequence_number: int = -1


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_response = msgspec.json.Decoder(_Response).decode
_decode_usage = msgspec.json.Decoder(_Usage | None).decode
_decode_number = msgspec.json.Decoder(_Numbered).decode
_decode = msgspec.json.Decoder().decode


class ResponsesWire:
    """How one answer of a backend that speaks the Responses API is understood."""

    END_EVENT = b""
    """What ends a stream: nothing after the last event."""

    def count_plain(self, whole: bytes) -> int:
        """Count the events of whole bytes if they are all plain pieces of text, else give -1.

        Inside a JSON string quotes and line ends are escaped, so text cannot fool this.
        """
        ends = whole.count(b"\n\n")
        is_plain = (
            whole.count(b"event: response.output_text.delta\n") == ends
            and b'"delta":""' not in whole
            and b'"delta": ""' not in whole
        )
        return ends if ends and is_plain else -1

    def read_event(self, event: bytes) -> tuple[Event, Usage | None]:
        """Say what an event is, and what was counted if it says so."""
        data = (data_of(event) or b"").strip()
        if not data:
            return NOTHING, None
        if data == b"[DONE]":
            return END, None
        try:
            found = _decode_event(data)
        except UNREADABLE:
            return GARBAGE, None
        kind = found.type if isinstance(found.type, str) else ""
        if kind in _ENDS:
            return _ENDS[kind], None if found.response is None else _usage(found.response.usage)
        says_something = bool(found.delta) if kind.endswith(".delta") else _begins(kind, found.item)
        return (TOKEN if says_something else NOTHING), None

    def read_finish(self, event: bytes) -> tuple[str, bool]:
        """Give the reason of an end, as a chat says it, and whether anything was said at all."""
        try:
            found = _decode_event((data_of(event) or b"").strip())
        except UNREADABLE:
            return "", False
        reason = "stop" if found.type == "response.completed" else "length"
        return reason, found.response is not None and bool(found.response.output)

    def read_answer(self, body: bytes) -> tuple[bool, Usage | None]:
        """Say whether a body is a Response that did not fail, and what was counted."""
        try:
            found = _decode_response(body)
        except UNREADABLE:
            return False, None
        is_answer = not found.error and found.status != "failed" and found.output is not None
        return is_answer, _usage(found.usage)

    def status_of_event(self, event: bytes) -> int:
        """Give the status that an error would have had in place of the stream."""
        return trouble.status_of_event(event)


class NativeResponsesSpeech(NativeSpeech):
    """The way of an answer that is a Response already."""

    _first = _last = b""
    """The events that name the Response, and the newest ones."""

    def feed(self, whole: bytes) -> bytes:
        """Give events as they came; those that may be needed are kept by reference."""
        if whole.startswith(b":"):
            return whole
        if not self._first:
            self._first = whole
        self._last = whole
        self._is_over = self._is_over or whole.startswith(_WRONG)
        return whole

    def end(self, last: bytes) -> bytes:
        """The same for the last ones; the gateway's own error fails the Response."""
        if not last.startswith(b"data:") or openai.read_event(last)[0] is not ERROR:
            return last
        return b"" if self._is_over else self._fail(last)

    def _fail(self, last: bytes) -> bytes:
        """Tell it as a translated answer would, after the events that the caller has."""
        speech = ResponsesSpeech({})
        created = _created(self._first)
        if created is not None:
            speech.go_on(created, _number(self._last) + 1)
        return speech.end(last)


def _begins(kind: str, item: _Item | None) -> bool:
    """Say whether an item begins that is a token by itself."""
    if kind != "response.output_item.added" or item is None:
        return False
    return item.type not in _SPOKEN_LATER


def _created(whole: bytes) -> dict[str, Any] | None:
    """Give the Response that the first events name."""
    for event in events(whole):
        try:
            found = _decode((data_of(event) or b"").strip())
        except UNREADABLE:
            continue
        response = found.get("response") if isinstance(found, dict) else None
        if isinstance(response, dict):
            return response
    return None


def _number(whole: bytes) -> int:
    """Give the number of the newest event; -1 if it has none."""
    number = -1
    for event in events(whole):
        try:
            number = _decode_number((data_of(event) or b"").strip()).sequence_number
        except UNREADABLE:
            continue
    return number


def _usage(raw: msgspec.Raw) -> Usage | None:
    """Read what was counted; numbers that are none spoil the count, but not the answer."""
    try:
        found = _decode_usage(raw)
    except UNREADABLE:
        return None
    return None if found is None else found.usage()
