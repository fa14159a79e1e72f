"""How is another backend asked to go on where a broken answer ended?

A dictation was cut off. Whoever takes over is handed the page so far, in the way that this scribe
understands: `Way` names the ways, `ways_of` says who understands which, `Said` is the page and
`continuation` writes the request. A scribe who understands none is asked to begin again, and
`apis.seam` then drops what the caller has already read.

A request is continued only if its answer is plain text, once. With tools a continuation silently
becomes prose, with a schema or a grammar it starts the grammar anew, and log probabilities cannot
be joined: such answers stay broken, and say so.

Not here: whether the other backend has the same weights, and when to give up. The formats:
api-docs.deepseek.com/guides/chat_prefix_completion, docs.vllm.ai (`continue_final_message`).
"""

import re
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from baseload.apis.chunks import (
    REASONING_KEYS,
    Chunk,
    ChunkError,
    choice_of,
    chunks,
    delta_of,
    texts_of,
)
from baseload.apis.unreadable import UNREADABLE

TEXT_CHARS_MAX = 1 << 20
"""A longer answer is not continued: its text would have to be sent along once more."""

CHAT = b"/chat/completions"
COMPLETIONS = b"/completions"
BETA = b"/beta/"
BETA_CHAT = BETA + b"chat/completions"
"""Where DeepSeek takes a prefix: not below the base URL, but in the place of its `/v1`."""


class Way(Enum):
    """How a backend is given the text so far."""

    PREFIX = "prefix"  # DeepSeek: a last message of the assistant with `prefix: true`
    CONTINUE = "continue_final_message"  # vLLM, SGLang: the same, with a flag beside the messages
    ASSISTANT = "assistant"  # llama.cpp: the last message alone says it
    PROMPT = "prompt"  # completions of any server: the prompt is longer
    RESTART = "restart"  # not at all: the answer begins again and must repeat itself


PREFIX, CONTINUE, ASSISTANT, PROMPT, RESTART = Way

_WAYS = {
    "deepseek": (PREFIX, RESTART),
    "prefix": (PREFIX, RESTART),
    "vllm": (CONTINUE, RESTART),
    "sglang": (CONTINUE, RESTART),
    "continue_final_message": (CONTINUE, RESTART),
    "llama.cpp": (ASSISTANT, RESTART),
    "assistant": (ASSISTANT, RESTART),
    "off": (RESTART,),
}
_ANY_SERVER = (PROMPT, RESTART)


def ways_of(kind: str) -> tuple[Way, ...]:
    """Give the ways to try, in order, for a kind of server or a fleet file's word.

    Whatever the kind, `continuation` uses `PROMPT` for a completion and falls back to `RESTART`
    where a way cannot carry what was said.
    """
    return _WAYS.get(kind, _ANY_SERVER)


# -- what was said -----------------------------------------------------------------------------


class Said:
    """What the caller has been given so far of one answer.

    `chunks` counts those that held text, which is a lower bound of tokens: some servers put
    several into one. `is_continuable` turns False for good once the answer is anything but one
    unfinished plain text: two choices, a tool call, reasoning after content, or too long.
    """

    def __init__(self) -> None:
        self.id: str | None = None
        self.created: int | None = None
        self.model: str | None = None
        self.system_fingerprint: str | None = None
        self.has_role = False
        self.is_continuable = True
        self.chunks = 0
        self.reasoning_chunks = 0
        self.reasoning_keys: tuple[str, ...] = ()
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._chars = 0

    @property
    def content(self) -> str:
        """The answer's text; a completion's text, too."""
        return "".join(self._content)

    @property
    def reasoning(self) -> str:
        """What the model thought before it."""
        return "".join(self._reasoning)

    def feed(self, whole: bytes) -> None:
        """Take the next whole events that the caller was given; cheap to call late, with many."""
        if not self.is_continuable:
            return
        if self.id is not None and (plain := _plain_text(whole)) is not None:
            text, count = plain
            if text:
                self._content.append(text)
            self._chars += len(text)
            self.chunks += count
            self.is_continuable = self._chars <= TEXT_CHARS_MAX
            return
        try:
            for _, chunk in chunks(whole):
                if chunk is not None:
                    self._take(chunk)
        except ChunkError:
            self.is_continuable = False

    def _take(self, chunk: Chunk) -> None:
        for key in ("id", "created", "model", "system_fingerprint"):
            if getattr(self, key) is None:
                setattr(self, key, chunk.get(key))
        if chunk.get("error"):
            raise ChunkError("the answer ended in an error")
        if (choice := choice_of(chunk)) is None:
            return
        reasoning, content = texts_of(choice)
        delta = delta_of(choice)
        self.has_role = self.has_role or bool(delta.get("role"))
        if reasoning:
            self._add_reasoning(reasoning, delta)
        if content:
            self._content.append(content)
        self.chunks += bool(reasoning or content)
        self._chars += len(reasoning) + len(content)
        if choice.get("finish_reason") or self._chars > TEXT_CHARS_MAX:
            raise ChunkError("the answer is finished, or too long")

    def _add_reasoning(self, text: str, delta: Chunk) -> None:
        if self._content:
            raise ChunkError("the answer thinks again after it has spoken")
        self.reasoning_keys = tuple(key for key in REASONING_KEYS if delta.get(key))
        self._reasoning.append(text)
        self.reasoning_chunks += 1


_ONCE_EACH = (b"data: ", b'"content":"', b'"index":0', b'"delta":{', b'"finish_reason":null')
"""What stands exactly once in every event of plain text."""
_NEVER = (
    b"\r", b'"tool_calls":[', b'"function_call":{', b'"refusal":"', b'"audio":{', b'"logprobs":{',
    b'"reasoning_content":"', b'"reasoning":"', b'"error":', b'"text":"',
)  # fmt: skip
_TEXT = re.compile(rb'"content":"([^"\\]*(?:\\.[^"\\]*)*)"')
_decode_text = msgspec.json.Decoder(str).decode


def _plain_text(whole: bytes) -> tuple[str, int] | None:
    """Read events that are all plain and written without spaces, at once; None if they are not.

    Gives their text, and how many of them held any.

    Inside a JSON string quotes are escaped, so none of the marks can be a part of what was said.
    Reading events one by one costs about eight times as much.
    """
    count = whole.count(b"\n\n")
    if any(whole.count(mark) != count for mark in _ONCE_EACH) or any(m in whole for m in _NEVER):
        return None
    texts = _TEXT.findall(whole)
    try:
        return _decode_text(b'"' + b"".join(texts) + b'"'), count - texts.count(b"")
    except UNREADABLE:
        return None


# -- what can be continued ---------------------------------------------------------------------

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode

_HARMLESS: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "functions": ([],),
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "prompt_logprobs": (),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    "structured_outputs": (),
    "grammar": ("",),
    "json_schema": (),
    "regex": (),
    "ebnf": (),
    "use_beam_search": (False,),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
}
"""Fields whose presence forbids to continue, and the values besides null that do not."""


def can_continue(path: bytes, body: bytes) -> bool:
    """Say whether this request's answer could ever be continued. It reads the whole body.

    `path` is the one below the base URL. A completion's prompt must be one string.
    """
    try:
        fields = msgspec.json.decode(body)
    except UNREADABLE:
        return False
    if not isinstance(fields, dict):
        return False
    for key, value in fields.items():
        if value is None:
            continue
        if key.startswith("guided_"):
            return False
        harmless = _HARMLESS.get(key)
        if harmless is not None and not any(
            type(value) is type(other) and value == other for other in harmless
        ):
            return False
    if path == CHAT:
        messages = fields.get("messages")
        return isinstance(messages, list) and all(isinstance(item, dict) for item in messages)
    return path == COMPLETIONS and isinstance(fields.get("prompt"), str)


# -- the request for the rest ------------------------------------------------------------------


class Continuation(NamedTuple):
    """The request that asks for the rest; `way` is the one it really takes, for the seam."""

    path: bytes
    body: bytes
    way: Way


def continuation(path: bytes, body: bytes, said: Said, way: Way) -> Continuation | None:
    """Ask for the rest of what was said; None if this answer cannot be continued.

    Every field that need not change stays as the caller wrote it, byte for byte. If the way cannot
    carry what was said, the continuation is a `RESTART`. A caller who wanted no stream gets one
    with usage, for `apis.assemble`.
    """
    if not said.is_continuable or not can_continue(path, body):
        return None
    fields: dict[str, msgspec.Raw] = _decode_fields(body)
    way = _usable(path, fields, said, way)
    write = _WRITERS.get(way)
    if write is not None:
        write(fields, said)
        path = BETA_CHAT if way is PREFIX else path
        for key, least in (("max_tokens", 1), ("max_completion_tokens", 1), ("min_tokens", 0)):
            _reduce(fields, key, said.chunks, least)
    if _value(fields, "stream") is not True:
        fields["stream"] = _raw(True)
        fields["stream_options"] = _raw({"include_usage": True})
    elif write is None:
        return Continuation(path, body, way)
    return Continuation(path, msgspec.json.encode(fields), way)


def _usable(path: bytes, fields: dict[str, msgspec.Raw], said: Said, way: Way) -> Way:
    """Give the way, or `RESTART` where it cannot carry what was said."""
    if way is RESTART or not said.chunks:
        return RESTART
    if path == COMPLETIONS:
        return RESTART if said.reasoning_chunks else PROMPT
    is_thinking = said.chunks == said.reasoning_chunks
    if way is PROMPT or (is_thinking and way is not PREFIX):
        return RESTART  # Only DeepSeek's prefix can hold a thought that is not over.
    messages = _value(fields, "messages")
    if not messages or messages[-1].get("role") == "assistant":
        return RESTART  # The caller gave a start of its own, which ours would end.
    return way


def _prefix(fields: dict[str, msgspec.Raw], said: Said) -> None:
    message: dict[str, Any] = {"role": "assistant", "content": said.content, "prefix": True}
    if said.reasoning_chunks:
        message["reasoning_content"] = said.reasoning
    _append(fields, message)


def _continue(fields: dict[str, msgspec.Raw], said: Said) -> None:
    _assistant(fields, said)
    fields["continue_final_message"] = _raw(True)
    fields["add_generation_prompt"] = _raw(False)


def _assistant(fields: dict[str, msgspec.Raw], said: Said) -> None:
    # Thoughts that are over are left out: chat templates drop those of earlier messages, too.
    _append(fields, {"role": "assistant", "content": said.content})


def _prompt(fields: dict[str, msgspec.Raw], said: Said) -> None:
    fields["prompt"] = _raw(_value(fields, "prompt") + said.content)


_WRITERS: dict[Way, Callable[[dict[str, msgspec.Raw], Said], None]] = {
    PREFIX: _prefix,
    CONTINUE: _continue,
    ASSISTANT: _assistant,
    PROMPT: _prompt,
}


def _append(fields: dict[str, msgspec.Raw], message: dict[str, Any]) -> None:
    messages = _decode_items(fields["messages"])
    fields["messages"] = _raw([*messages, message])


def _reduce(fields: dict[str, msgspec.Raw], key: str, by: int, least: int) -> None:
    value = _value(fields, key)
    if type(value) is int:  # A bool is an int, too; the backend may refuse it.
        fields[key] = _raw(max(value - by, least))


def _value(fields: dict[str, msgspec.Raw], key: str) -> Any:
    return msgspec.json.decode(fields[key]) if key in fields else None


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
