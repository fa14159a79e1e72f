"""How does a caller who wants no stream get an answer that was streamed?

A whole answer cannot be watched: until its last byte a slow backend looks like a dead one, and if
it breaks all of it is lost. So every call is streamed upstream, where tokens are signs of life and
a broken answer can be continued, and `Assembly` puts the chunks together into the object that the
backend would have sent.

The rules are those by which chunks are cut: strings of a delta are joined, numbered things (tool
calls) are merged by their number, lists (log probabilities) are strung together, and what does not
grow (identifiers, names, the role) is whole each time. What nobody has heard of yet follows the
same rules; at the top of a chunk the last value stands.

Not here: whether the answer is finished, and whether an event is an error (`openai.read_event`).
"""

import re
from typing import Any

import msgspec

from baseload.apis.chunks import Chunk, ChunkError, chunks
from baseload.apis.unreadable import UNREADABLE

ANSWER_BYTES_MAX = 32 << 20
"""The largest answer that is put together: text in characters, chunks with more in bytes."""

_STREAMED = b'"stream":true,"stream_options":{"include_usage":true}'
_OPENING = re.compile(rb"[ \t\r\n]*\{[ \t\r\n]*(\})?")
_ESCAPED = (b"\\u006", b"\\u007")
"""Begin the escapes of all small letters; without them no key can be hidden behind escapes."""

_TOO_DEEP = "The answer cannot be put together: it is nested too deeply."

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class AssemblyError(ValueError):
    """The chunks cannot be put together: they are too many, or no JSON."""


def to_stream(body: bytes) -> bytes:
    """Give a request's body with a stream and its usage asked for; all else stays as it came.

    If no key begins like `stream`, the two fields are put in front. Otherwise the top level is
    taken apart, every other value untouched. What cannot be read goes out as it came.
    """
    opening = _OPENING.match(body)
    if opening and b'"stream' not in body and not any(escape in body for escape in _ESCAPED):
        start = body.index(b"{") + 1
        comma = b"" if opening.group(1) else b","
        return b"".join((body[:start], _STREAMED, comma, body[start:]))
    try:
        fields = _decode_fields(body)
    except UNREADABLE:
        return body
    fields["stream"] = msgspec.Raw(b"true")
    fields["stream_options"] = msgspec.Raw(b'{"include_usage":true}')
    return _encode(fields)


# -- merging -----------------------------------------------------------------------------------

_WHOLE = frozenset(("role", "id", "type", "name", "index", "format", "expires_at"))
"""Keys whose strings are sent whole, and by some servers again with each chunk."""


class _Text(list[str]):
    """The pieces of a string that grows."""


class _Numbered(dict[int, Any]):
    """Things with an `index`, by it."""


def _grow(whole: dict[str, Any], part: dict[str, Any]) -> None:
    """Merge what a chunk adds into what there is."""
    for key, value in part.items():
        if type(value) is str and key not in _WHOLE:
            found = whole.get(key)
            if type(found) is _Text:
                if value:
                    found.append(value)
            else:
                whole[key] = _Text((value,))
        elif type(value) is dict:
            if type(whole.get(key)) is not dict:
                whole[key] = {}
            _grow(whole[key], value)
        elif type(value) is list:
            whole[key] = _string(whole.get(key), value)
        elif (value is not None and value != "") or key not in whole:
            whole[key] = value


def _string(found: Any, items: list[Any]) -> Any:
    """String a list to the one there is, or merge its items by their numbers."""
    if not items:
        return found if found is not None else items
    if not all(type(item) is dict and type(item.get("index")) is int for item in items):
        if type(found) is list:
            found += items
            return found
        return items
    numbered = found if type(found) is _Numbered else _Numbered()
    for item in items:
        _grow(numbered.setdefault(item["index"], {}), item)
    return numbered


def _settled(value: Any) -> Any:
    """Give a merged value as it is written."""
    kind = type(value)
    if kind is _Text:
        return "".join(value)
    if kind is dict:
        return {key: _settled(part) for key, part in value.items()}
    if kind is _Numbered:
        return [_settled(part) for _, part in sorted(value.items())]
    return value


# -- the answer --------------------------------------------------------------------------------


class _Choice:
    """One choice as it grows."""

    __slots__ = ("finish_reason", "is_chat", "message", "rest", "text")

    def __init__(self) -> None:
        self.is_chat = False
        self.message: dict[str, Any] = {}
        self.text: list[str] = []
        self.rest: dict[str, Any] = {}
        self.finish_reason: str | None = None

    def add(self, choice: Chunk) -> int:
        """Take what a chunk adds; give how many characters it was, or -1 if it was more."""
        size = 0
        for key, value in choice.items():
            if key == "delta":
                if type(value) is dict:
                    self.is_chat = True
                    size = self._add_delta(value)
            elif key == "finish_reason":
                self.finish_reason = value or self.finish_reason
            elif key == "text" and type(value) is str:
                if value:
                    self.text.append(value)
                size = len(value)
            elif value is None:
                self.rest.setdefault(key)
            elif type(value) is str:
                self.rest[key] = value
            elif key != "index":
                _grow(self.rest, {key: value})
                size = -1
        return size

    def _add_delta(self, delta: Chunk) -> int:
        message = self.message
        if len(delta) == 1:  # The common case, without a loop's cost.
            text = delta.get("content")
            if text and type(text) is str and type(found := message.get("content")) is _Text:
                found.append(text)
                return len(text)
        known = len(message)
        _grow(message, delta)
        size = 0 if len(message) == known else -1
        for value in delta.values():
            if type(value) is not str:
                size = -1 if value is not None else size
            elif size >= 0:
                size += len(value)
        return size

    def settled(self, index: int) -> Chunk:
        """Give the choice as an answer that was not streamed has it."""
        answer: Chunk = {"index": index}
        if self.is_chat:
            answer["message"] = self._message()
        else:
            answer["text"] = "".join(self.text)
        answer.update(_settled(self.rest))
        answer["finish_reason"] = self.finish_reason
        return answer

    def _message(self) -> Chunk:
        found: Chunk = _settled(self.message)
        message = {
            "role": found.pop("role", None) or "assistant",
            "content": found.pop("content", None),
        }
        message.update(found)
        calls: Any = message.get("tool_calls")
        if type(self.message.get("tool_calls")) is _Numbered:
            for call in calls:
                del call["index"]
        is_other = calls or message.get("function_call") or message.get("refusal")
        message["content"] = message["content"] or (None if is_other else "")
        return message


class Assembly:
    """Puts the chunks of one answer together."""

    def __init__(self) -> None:
        self._top: Chunk = {}
        self._face: Chunk = {}
        self._choices: dict[int, _Choice] = {}
        self._usage: Any = None
        self._size = 0

    def feed(self, whole: bytes) -> None:
        """Take the next whole events; comments and the terminator add nothing.

        Raises `AssemblyError` when the answer outgrows `ANSWER_BYTES_MAX`, or at what is no JSON.
        """
        try:
            for data, chunk in chunks(whole):
                if chunk is not None:
                    self._add(chunk, len(data))
        except ChunkError as error:
            raise AssemblyError(f"The answer cannot be put together: {error}.") from None
        except RecursionError:
            raise AssemblyError(_TOO_DEEP) from None

    def _add(self, chunk: Chunk, size: int) -> None:
        choices = chunk.pop("choices", None)
        if (usage := chunk.pop("usage", None)) is not None:
            self._usage = usage
        top = self._top
        if not top:
            self._face = {key: chunk[key] for key in ("id", "created", "model") if key in chunk}
        known = len(top)
        top.update(chunk)
        if len(top) != known:
            self._size += size
        if choices:
            if type(choices) is not list:
                raise ChunkError("its choices are no list")
            for choice in choices:
                self._add_choice(choice, size)
        if self._size > ANSWER_BYTES_MAX:
            raise ChunkError(f"it is larger than {ANSWER_BYTES_MAX} bytes")

    def _add_choice(self, choice: Any, size: int) -> None:
        index = choice.get("index", 0) if type(choice) is dict else None
        if type(index) is not int:
            raise ChunkError("a choice is no object, or has no number")
        found = self._choices.get(index)
        if found is None:
            found = self._choices[index] = _Choice()
            self._size += size
        added = found.add(choice)
        self._size += added if added >= 0 else size

    def answer(self) -> bytes:
        """Give the answer as one JSON object; raises `AssemblyError` if it is nested too deeply."""
        try:
            return self._answer()
        except RecursionError:
            raise AssemblyError(_TOO_DEEP) from None

    def _answer(self) -> bytes:
        is_chat = any(choice.is_chat for choice in self._choices.values())
        answer: Chunk = {
            **self._top,
            **self._face,
            "object": "chat.completion" if is_chat else "text_completion",
            "choices": [choice.settled(index) for index, choice in sorted(self._choices.items())],
        }
        if self._usage is not None:
            answer["usage"] = self._usage
        return _encode(answer)
