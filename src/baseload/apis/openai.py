"""OpenAI's wire format, as far as a gateway must understand it.

The gateway reads a few fields of a request (`model`, `stream`, its bounds), looks for a few in an
answer, and leaves everything else alone: unknown fields pass through untouched because nothing here
builds or rebuilds them. Where a tier knows the model under another name, that one value is replaced
in the caller's own bytes.

The format: platform.openai.com/docs/api-reference. DeepSeek's additions (`reasoning_content`,
`prompt_cache_hit_tokens`) are read here too, because they are fields of the same objects.
"""

import re
from enum import Enum
from typing import Any

import msgspec

from baseload.apis import chunks, trouble
from baseload.apis.lenient import whole
from baseload.apis.sse import data_of
from baseload.apis.unreadable import UNREADABLE

MODEL_PATHS = (b"/chat/completions", b"/completions", b"/embeddings")
"""Paths below the base URL that ask a model."""
ANSWER_TOKENS_MAX = 1 << 20
"""Who asks for more than any model gives has not bounded the answer."""
CHOICES_MAX = 128
"""Who asks for more answers at once will be refused by the backend: it is OpenAI's bound."""
TOKENS_MAX = 1 << 40
"""A backend that reports more has not counted."""
FIELDS_MAX = 500_000
"""Fields, or rather colons, in a whole body: to take apart many more takes seconds."""
ANSWER_TOKENS = 256
"""What an answer is expected to take if the request does not bound it."""

# -- requests ----------------------------------------------------------------------------------


class Request(msgspec.Struct, gc=False):
    """What a gateway needs to know of a request."""

    model: str
    stream: bool | None = None
    n: Any = None
    """How many answers are wanted; whether it is a sound number is the backend's business."""
    best_of: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None

    def answer_tokens(self) -> int:
        """Give how long the answer may become, or what is usual where that is not said.

        Which of several bounds holds is the backend's to say: the largest is expected.
        """
        most = self.max_tokens
        others = (self.max_completion_tokens, self.max_output_tokens)
        if type(most) is not int or others != (None, None):
            most = max(map(whole, (most, *others)))
        return most if 0 < most <= ANSWER_TOKENS_MAX else ANSWER_TOKENS

    def choices(self) -> int:
        """Give how many answers are wanted, for whoever must expect them."""
        if self.n is None and self.best_of is None:
            return 1
        most = max(whole(self.n), whole(self.best_of))
        return most if 0 < most <= CHOICES_MAX else 1


class BadRequestError(ValueError):
    """The body is not a request: `param` names the field at fault, `code` the kind of fault."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param, self.code = param, code


class UnmappedError(BadRequestError):
    """The request is sound, but says something that a chat has no words for."""


_decode_request = msgspec.json.Decoder(Request).decode
_PARAM = re.compile(r"\$\.([A-Za-z_]\w*)")
_MISSING = re.compile(r"missing required field `(\w+)`")


def read_request(body: bytes) -> Request:
    """Read `model` and `stream`; raises `BadRequestError` with a sentence for the caller."""
    if len(body) > FIELDS_MAX and body.count(b":") > FIELDS_MAX:
        raise BadRequestError(f"The body has more than {FIELDS_MAX} fields.")
    try:
        return _decode_request(body)
    except msgspec.ValidationError as error:
        text = str(error)
        if missing := _MISSING.search(text):
            raise BadRequestError(
                f"The request has no `{missing.group(1)}`.", missing.group(1)
            ) from None
        param = _PARAM.search(text)
        raise BadRequestError(f"{text}.", param.group(1) if param else None) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = "the body is empty" if not body else str(error)
        raise BadRequestError(f"The body is not valid JSON: {reason}.") from None
    except RecursionError:
        raise BadRequestError("The body is nested too deeply.") from None


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_ESCAPED = b"\\u006"
"""Begins the escape of every letter of `model`; without it, no key can be hidden behind escapes."""


def rename_model(body: bytes, old: str, new: str) -> bytes:
    """Replace the request's model in the caller's own bytes.

    Inside a JSON string a quote is always escaped, so a match of the quoted key and value is one of
    a real field; if it is the only one, it is the request's. Otherwise (the same pair also stands
    in a nested object, or the key or value is written with escapes) the top level is taken apart,
    every other value still as it came. Where even that fails (names that are not UTF-8, which the
    reading of a request passes over) the body goes out as it came, for the backend to refuse.
    """
    quoted = msgspec.json.encode(new)
    pattern = re.compile(rb'"model"(\s*):(\s*)' + re.escape(msgspec.json.encode(old)))
    is_once = body.count(b'"model"') == 1 and _ESCAPED not in body
    if is_once and (match := pattern.search(body)) is not None:
        between = match.group(1) + b":" + match.group(2)
        return body[: match.start()] + b'"model"' + between + quoted + body[match.end() :]
    try:
        fields = _decode_fields(body)
    except UNREADABLE:
        return body
    fields["model"] = msgspec.Raw(quoted)
    return msgspec.json.encode(fields)


# -- answers -----------------------------------------------------------------------------------


class _Prompt(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Completion(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class Usage(msgspec.Struct, gc=False):
    """Tokens as the backend counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek's name for `prompt_tokens_details.cached_tokens`."""
    prompt_tokens_details: _Prompt | None = None
    completion_tokens_details: _Completion | None = None

    @property
    def cached_tokens(self) -> int:
        """Of the prompt's tokens, those that were in the backend's cache."""
        counts = self.counts()
        return 0 if counts is None else counts[1]

    @property
    def reasoning_tokens(self) -> int:
        """Of the answer's tokens, those that were thoughts."""
        counts = self.counts()
        return 0 if counts is None else counts[3]

    def counts(self) -> tuple[int, int, int, int] | None:
        """Give tokens in, of them cached, tokens out, of them thoughts; None if it is nonsense."""
        prompt, completion = self.prompt_tokens, self.completion_tokens
        if not (0 <= prompt <= TOKENS_MAX and 0 <= completion <= TOKENS_MAX):
            return None
        cached, inward = self.prompt_cache_hit_tokens, self.prompt_tokens_details
        if not cached:
            cached = 0 if inward is None else inward.cached_tokens or 0
        outward = self.completion_tokens_details
        reasoning = 0 if outward is None else outward.reasoning_tokens or 0
        if cached or reasoning:
            cached = min(max(cached, 0), prompt)
            reasoning = min(max(reasoning, 0), completion)
        return prompt, cached, completion, reasoning


class _Answer(msgspec.Struct, gc=False):
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None
    object: Any = None  # `error`, in what older model servers send with a status of 200


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: Any = None
    function_call: Any = None
    refusal: Any = None
    audio: Any = None

    def says_something(self) -> bool:
        """Say whether there is a token in it; reasoning is one, a role is not."""
        return bool(
            self.content
            or self.reasoning_content
            or self.reasoning
            or self.tool_calls
            or self.function_call
            or self.refusal
            or self.audio
        )


class _Choice(msgspec.Struct, gc=False):
    index: Any = 0
    delta: _Delta | None = None
    text: Any = None
    finish_reason: Any = None

    def says_something(self) -> bool:
        """Say whether there is a token in it."""
        return bool(self.text) or (self.delta is not None and self.delta.says_something())


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None
    object: Any = None


END_EVENT = chunks.END_EVENT
"""What ends a stream; it stands here for those who ask one wire or another (`anthropic.wire`)."""
status_of_event = trouble.status_of_event


class Event(Enum):
    """What one event of a stream is to a gateway."""

    NOTHING = "nothing"  # a comment, a role, an empty delta: the backend lives, the model is silent
    TOKEN = "token"  # noqa: S105
    FINISH = "finish"  # a finish reason, with or without a last token
    END = "end"  # the terminator
    ERROR = "error"  # an error object inside the stream
    GARBAGE = "garbage"


NOTHING, TOKEN, FINISH, END, ERROR, GARBAGE = Event  # Bare names: see `core.facts`.

_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_usage = msgspec.json.Decoder(Usage | None).decode
_decode_any = msgspec.json.Decoder().decode


def count_plain(whole: bytes) -> int:
    """Count the events of whole bytes if they are all plain tokens, else give -1.

    A plain event says that its choice is not finished. Finish reasons, usage at the end, errors,
    comments and the terminator do not, so the two counts differ and the events must be read. Inside
    a JSON string quotes are escaped: an answer's text cannot fool this.
    """
    if b'"content":""' in whole or b'"content":null' in whole or b'"delta":{}' in whole:
        return -1  # Perhaps only a role, or nothing at all, which is no life.
    ends = whole.count(b"\n\n")  # None if lines end with CR or CRLF: such events are read, too.
    return ends if ends and whole.count(b'"finish_reason":null') == ends else -1


def read_event(event: bytes) -> tuple[Event, Usage | None]:
    """Say what an event is, and the usage in it if there is one."""
    data = (data_of(event) or b"").strip()
    if not data:
        return NOTHING, None
    if data == b"[DONE]":
        return END, None
    try:
        chunk = _decode_chunk(data)
    except UNREADABLE:
        return GARBAGE, None
    if chunk.error or chunk.object == "error":
        return ERROR, None
    kind = NOTHING
    for choice in chunk.choices or ():
        if choice.finish_reason:
            kind = FINISH
        elif kind is NOTHING and choice.says_something():
            kind = TOKEN
    return kind, _usage(chunk.usage)


def read_finish(event: bytes) -> tuple[str, bool]:
    """Give the finish reason in an event, and whether the model also says something in it."""
    choices = _choices_of(event)
    reasons = [choice.finish_reason for choice in choices if choice.finish_reason]
    return str(reasons[0]) if reasons else "", any(choice.says_something() for choice in choices)


def read_choices(event: bytes) -> list[tuple[str, bool]]:
    """Give the answers that an event speaks of, by their index, and whether each is finished."""
    return [(str(choice.index), bool(choice.finish_reason)) for choice in _choices_of(event)]


def _choices_of(event: bytes) -> list[_Choice]:
    """Give an event's choices; none if it cannot be read."""
    try:
        return _decode_chunk((data_of(event) or b"").strip()).choices or []
    except UNREADABLE:
        return []


def is_json(event: bytes) -> bool:
    """Say whether an event's data is JSON at all, of whatever form."""
    try:
        _decode_any(data_of(event) or b"")
    except UNREADABLE:
        return False
    return True


def read_answer(body: bytes) -> tuple[bool, Usage | None]:
    """Say whether a body is a JSON object without an error in it, and the usage it reports."""
    try:
        answer = _decode_answer(body)
    except UNREADABLE:
        return False, None
    return not answer.error and answer.object != "error", _usage(answer.usage)


def _usage(raw: msgspec.Raw) -> Usage | None:
    """Read what was counted; numbers that are none spoil the count, but not the answer."""
    try:
        usage: Usage | None = _decode_usage(raw)
    except UNREADABLE:
        return None
    return usage


# -- what the gateway says itself ----------------------------------------------------------------


def error_body(
    message: str, kind: str, code: str | None, param: str | None, request_id: str
) -> bytes:
    """Give an error as OpenAI's clients expect it, with the request's id added."""
    error = {
        "message": message,
        "type": kind,
        "param": param,
        "code": code,
        "request_id": request_id,
    }
    return msgspec.json.encode({"error": error})


def error_event(message: str, kind: str, code: str, request_id: str) -> bytes:
    """Give an error as an event of a stream that has already begun.

    OpenAI's clients raise an `APIError` when they meet it, so a broken answer is never taken for a
    whole one.
    """
    return b"data: " + error_body(message, kind, code, None, request_id) + b"\n\n"


def as_event(body: bytes, request_id: str) -> bytes:
    """Give an error in OpenAI's shape as an event of a stream, with the request's id added."""
    found = msgspec.json.decode(body)
    found["error"].setdefault("request_id", request_id)
    return b"data: " + msgspec.json.encode(found) + b"\n\n"


def shaped_error(body: bytes, status: int, request_id: str) -> bytes | None:
    """Give a backend's refusal in OpenAI's shape, or None if it has that shape already.

    Some servers answer `{"detail": …}`, proxies in front of them a page of HTML.
    """
    try:
        found = msgspec.json.decode(body)
    except UNREADABLE:
        found = None
    fields = found if isinstance(found, dict) else {}
    if isinstance(fields.get("error"), dict):
        return None
    said = fields.get("message") or fields.get("detail") or fields.get("error")
    message = said if isinstance(said, str) else f"The backend refused the request: HTTP {status}."
    return error_body(message, "invalid_request_error", None, None, request_id)


def models_body(names: list[str], created: int) -> bytes:
    """Give the answer to `GET /v1/models`; `created` is in seconds since 1970."""
    data = [_model_object(name, created) for name in names]
    return msgspec.json.encode({"object": "list", "data": data})


def model_body(name: str, created: int) -> bytes:
    """Give the answer to `GET /v1/models/NAME`."""
    return msgspec.json.encode(_model_object(name, created))


def _model_object(name: str, created: int) -> dict[str, str | int]:
    return {"id": name, "object": "model", "created": created, "owned_by": "baseload"}
