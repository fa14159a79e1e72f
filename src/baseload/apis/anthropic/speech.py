"""A chat's stream is retold as a stream of Anthropic's events.

A chat adds to one message: here a word, there a piece of what a tool is given. Anthropic tells it
block by block, each opened, filled and closed before the next. So this is a scribe with one sheet
before him: what belongs to it is written at once, what belongs to another waits until this one is
done. Text is done when something else comes; a tool's sheet when what stands on it is a whole JSON
object. With servers that tell one tool after the other, which is all that are known, nothing waits.

Usage comes last in a chat, sometimes never; so the end is told when the chat's own end has come. An
answer that breaks off ends in an `error` event, never in silence.

The events: docs.anthropic.com/en/docs/build-with-claude/streaming. No signature is given to
thoughts, because nobody has signed them.
"""

from typing import Any

import msgspec

from baseload.apis.anthropic import answer
from baseload.apis.anthropic.errors import broken_event, error_event
from baseload.apis.assemble import ANSWER_BYTES_MAX
from baseload.apis.chunks import END, REASONING_KEYS, Chunk, ChunkError, choice_of, delta_of
from baseload.apis.dialect import UNSTREAMED, SpeechError
from baseload.apis.sse import data_of, events
from baseload.apis.unreadable import UNREADABLE

TOOLS_MAX = 1024
"""Calls of tools in one answer: models make a handful, and each one is remembered."""
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b}\n\n'
)
_DELTAS = {
    "text": b'{"type":"text_delta","text":%b}',
    "thinking": b'{"type":"thinking_delta","thinking":%b}',
    "tool_use": b'{"type":"input_json_delta","partial_json":%b}',
}
_EMPTY: dict[str, dict[str, str]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def _data_of(event: bytes) -> bytes:
    """Give an event's data, the common form without a loop; empty for comments."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:].strip()
    return (data_of(event) or b"").strip()


class _Block:
    """One block: its sheet, what waits to be written, and what was."""

    __slots__ = ("id", "is_closed", "kind", "name", "waiting", "written")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.id = self.name = ""
        self.is_closed = False
        self.waiting: list[str] = []
        self.written: list[str] = []
        """Kept of tools alone, to see when they are whole."""

    def is_whole(self) -> bool:
        """Say whether nothing more can come; most pieces of JSON show by their end that it can."""
        if self.kind != "tool_use":
            return True
        if not self.written or not self.written[-1].rstrip().endswith("}"):
            return False
        try:
            _decode("".join(self.written))
        except UNREADABLE:
            return False
        return True

    def start(self) -> dict[str, Any]:
        """Give the block as it is when it is opened."""
        if self.kind != "tool_use":
            return _EMPTY[self.kind]
        return {"type": "tool_use", "id": self.id, "name": self.name, "input": {}}


class MessagesSpeech:
    """One answer's way into Anthropic's words."""

    def __init__(self, stops: list[str], prompt_tokens: int, *, is_stream: bool) -> None:
        """`prompt_tokens` is an estimate, for backends that count nothing."""
        self._stops, self._prompt_tokens = stops, prompt_tokens
        self._is_stream = is_stream
        self._out: list[bytes] = []
        self._is_begun = self._is_over = self._is_refused = False
        self._open: _Block | None = None
        self._number = -1
        """Of the open block."""
        self._queue: list[_Block] = []
        self._tools: dict[Any, _Block] = {}
        self._last_tool: Any = None
        self._finish: Chunk | None = None
        """The choice with the finish reason in it."""
        self._usage: Chunk | None = None
        self._pieces = self._held = 0

    def answer(self, body: bytes) -> bytes:
        """Put a whole chat completion into a message; raises `SpeechError` if it is none."""
        if self._is_stream:  # The caller reads events: of a whole message it would see nothing.
            raise SpeechError(UNSTREAMED)
        return answer.message_of(body, self._stops, self._prompt_tokens)

    def feed(self, whole: bytes) -> bytes:
        """Retell whole events; maybe nothing comes of them."""
        # Without CR, an event ends exactly at an empty line: see `apis.chunks`.
        for event in events(whole) if b"\r" in whole else whole.split(b"\n\n"):
            if self._is_over:
                break
            try:
                self._take(event)
            except ChunkError as error:
                self._fail(f"The backend's answer cannot be read: {error}.")
            except UNREADABLE:
                self._fail("The backend's answer cannot be read: an event holds no valid JSON.")
        return self._said()

    def end(self, last: bytes) -> bytes:
        """Retell the last events, and close what is open."""
        said = self.feed(last)
        if not self._is_over:
            self._end()
        return said + self._said()

    # -- events ------------------------------------------------------------------------------

    def _said(self) -> bytes:
        out, self._out = self._out, []
        return b"".join(out)

    def _take(self, event: bytes) -> None:
        data = _data_of(event)
        if not data:
            if event.startswith(b":"):
                self._out.append(PING)
            return
        if data == END:
            if self._finish is not None:
                self._end()
            return
        chunk = _decode(data)
        if not isinstance(chunk, dict):
            raise ChunkError("an event holds no JSON object")
        if chunk.get("error") or chunk.get("object") == "error":
            self._is_over = True
            self._out.append(error_event(event))
            return
        if chunk.get("usage"):
            self._usage = answer.usage_of(chunk["usage"]) or self._usage
        if (choice := choice_of(chunk)) is not None:
            if not self._is_begun:
                self._begin(chunk)
            self._take_choice(choice)

    def _take_choice(self, choice: Chunk) -> None:
        delta = delta_of(choice)
        said = None
        for key in REASONING_KEYS:
            if thought := delta.get(key):
                self._say("thinking", thought)
                said = thought
                break
        if text := delta.get("content"):
            self._say("text", text)
            said = text
        if refusal := delta.get("refusal"):
            self._is_refused = True
            self._say("text", refusal)
            said = refusal
        if calls := delta.get("tool_calls"):
            if not isinstance(calls, list):
                raise ChunkError("its tool calls are no list")
            for call in calls:
                self._take_call(call)
            said = calls
        if said:
            self._pieces += 1
        if choice.get("finish_reason"):
            self._finish = choice

    def _take_call(self, call: Any) -> None:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise ChunkError("a tool call names no function")
        key = call.get("index")
        if type(key) is not int:  # Then a new name for itself means a new call.
            key = call.get("id") or self._last_tool
        self._last_tool = key
        if type(key) not in (int, str):
            raise ChunkError("a tool call has neither a number nor an id")
        block = self._tools.get(key)
        if block is None:
            if len(self._tools) >= TOOLS_MAX:
                raise ChunkError(f"it calls more than {TOOLS_MAX} tools")
            block = self._tools[key] = _Block("tool_use")
            self._queue.append(block)
        block.id = block.id or answer.tool_id(call.get("id"), len(self._tools) - 1)
        name, given = function.get("name") or "", function.get("arguments") or ""
        if not isinstance(name, str) or not isinstance(given, str):
            raise ChunkError("a tool call's name or arguments are no string")
        block.name = block.name or name
        if given:
            self._add(block, given)
        self._advance()

    # -- blocks ------------------------------------------------------------------------------

    def _say(self, kind: str, text: Any) -> None:
        """Write text or thoughts, on the open sheet if they go on there."""
        if not isinstance(text, str):
            raise ChunkError("the answer's text is not a string")
        queue, block = self._queue, self._open
        if queue:
            block = queue[-1]
        if block is None or block.kind != kind:
            block = _Block(kind)
            queue.append(block)
        self._add(block, text)
        if queue:
            self._advance()

    def _add(self, block: _Block, text: str) -> None:
        if block.is_closed:
            if text.strip():
                raise ChunkError("a tool call goes on after it was whole")
            return
        if block is self._open:
            self._write(block, text)
            return
        block.waiting.append(text)
        self._hold(text)

    def _write(self, block: _Block, text: str) -> None:
        if block.kind == "tool_use":
            block.written.append(text)
            self._hold(text)
        self._out.append(_DELTA % (self._number, _DELTAS[block.kind] % _encode(text)))

    def _hold(self, text: str) -> None:
        self._held += len(text)
        if self._held > ANSWER_BYTES_MAX:
            raise ChunkError(f"more than {ANSWER_BYTES_MAX} characters are given to tools")

    def _advance(self, *, is_end: bool = False) -> None:
        """Go on to the next sheets, as far as the open one is done."""
        queue = self._queue
        while queue and (self._open is None or is_end or self._open.is_whole()):
            block = queue[0]
            if block.kind == "tool_use" and not block.name:
                if is_end:
                    raise ChunkError("a tool call names no tool")
                return
            del queue[0]
            self._close()
            self._open = block
            self._number += 1
            start = {"type": "content_block_start", "index": self._number}
            self._event("content_block_start", start | {"content_block": block.start()})
            if block.waiting:
                self._write(block, "".join(block.waiting))
                block.waiting = []

    def _close(self) -> None:
        if self._open is not None:
            self._open.is_closed = True
            self._open.written = []
            stop = {"type": "content_block_stop", "index": self._number}
            self._event("content_block_stop", stop)
            self._open = None

    # -- beginning and end -------------------------------------------------------------------

    def _begin(self, chunk: Chunk) -> None:
        self._is_begun = True
        message = answer.face_of(chunk) | {"usage": self._usage or answer.guessed(0, 0)}
        self._event("message_start", {"type": "message_start", "message": message})

    def _end(self) -> None:
        """Tell the end, if there was one."""
        finish = self._finish
        if finish is None:
            self._fail("The answer broke off before its end.")
            return
        try:
            self._advance(is_end=True)
        except ChunkError as error:
            self._fail(f"The backend's answer cannot be read: {error}.")
            return
        self._close()
        stop = answer.stop_of(
            finish, self._stops, has_tools=bool(self._tools), is_refused=self._is_refused
        )
        usage = self._usage or answer.guessed(self._prompt_tokens, self._pieces)
        self._event("message_delta", {"type": "message_delta", "delta": stop, "usage": usage})
        self._out.append(STOP)
        self._is_over = True

    def _fail(self, message: str) -> None:
        self._is_over = True
        self._out.append(broken_event(message))

    def _event(self, name: str, fields: dict[str, Any]) -> None:
        self._out.append(b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(fields)))
