"""How does a chat's answer become a Response?

The backend's own id and time become the Response's, so one can be found by the other. Comments
(somebody is still alive, or went on elsewhere) stay comments.

A stream ends in exactly one of three ways: completed, incomplete, failed. Whoever only prints the
deltas would take a broken answer for a short one, so after `response.failed`, for readers who look
at events, there follows `error` in the form at which OpenAI's clients raise.

Not here: the request (`asking`), and the form of the events (`answer`).
"""

from contextlib import suppress
from typing import Any

import msgspec

from baseload.apis.dialect import UNSTREAMED, Speech, SpeechError
from baseload.apis.openai import BadRequestError, Usage
from baseload.apis.responses.answer import CALLS_MAX, Answer
from baseload.apis.responses.asking import Fields, chat_of, read_asking
from baseload.apis.sse import data_of, events
from baseload.apis.unreadable import UNREADABLE

_BOUNDS = {"length": "max_output_tokens", "content_filter": "content_filter"}
_DEFAULTS: Fields = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": None,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""What a Response repeats of its request, and what it says where that said nothing."""
_IS_LIMIT = ("rate_limit", "queue_full", "queue_timeout", "backend_busy", "backend_overloaded")
_NAME_CHARS_MAX = 64

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Responses:
    """The dialect. Stateless."""

    def read(self, body: bytes) -> tuple[bytes, Speech]:
        """Give the chat's request, and the speech for its answer."""
        asked = read_asking(body)
        chat = chat_of(asked)
        try:
            return chat, ResponsesSpeech(asked)
        except RecursionError:
            raise BadRequestError("The body is nested too deeply.") from None

    def error(self, status: int, body: bytes) -> bytes:
        """Errors have the same shape in both."""
        return body


class ResponsesSpeech:
    """One answer's way into the Responses API."""

    def __init__(self, asked: Fields) -> None:
        # Written once: every answer holds them three times, and tools may be many.
        told = {key: _raw(asked[key]) for key in _DEFAULTS if asked.get(key) is not None}
        echo = {**_DEFAULTS, **told, "store": False}
        reasoning = asked.get("reasoning") or {}
        self._answer = Answer(echo, is_summary=bool(reasoning.get("summary")))
        self._model = _word(asked.get("model"))
        self._is_stream = asked.get("stream") is True
        self._finish: str | None = None

    def answer(self, body: bytes) -> bytes:
        """Put a whole chat completion into a Response.

        Raises `SpeechError` where the caller would look for events in it, and find none.
        """
        if self._is_stream:
            raise SpeechError(UNSTREAMED)
        try:
            chat = _decode(body)
        except UNREADABLE:
            chat = {}
        self._begin(chat)
        for choice in _first(chat.get("choices")):
            message = choice.get("message")
            if isinstance(message, dict):
                self._take_delta(message, choice)
            self._note_finish(choice)
        self._count(chat.get("usage"))
        if not self._finish or self._answer.is_over:
            message = "The backend's answer holds no finished choice, or too many calls."
            error = {"code": "server_error", "message": message}
            return _encode(self._answer.response("failed", error=error))
        bound = _BOUNDS.get(self._finish)
        self._answer.end(bound)
        return _encode(
            self._answer.response("incomplete" if bound else "completed", incomplete=bound)
        )

    def feed(self, whole: bytes) -> bytes:
        """Put whole events into a Response's."""
        said = []
        # Without CR, an event ends exactly at an empty line: see `apis.chunks`.
        for event in events(whole) if b"\r" in whole else whole.split(b"\n\n"):
            if event.startswith(b":"):
                said.append(event.rstrip(b"\r\n") + b"\n\n")
            elif data := (data_of(event) or b"").strip():
                self._take(data)
                said.append(self._answer.take_events())
        return b"".join(said)

    def end(self, last: bytes) -> bytes:
        """End; a stream that has not said how it ended has failed."""
        said = self.feed(last)
        self._close()
        return said + self._answer.take_events()

    def go_on(self, response: Fields, number: int) -> None:
        """Go on where a backend's own events ended; `number` is that of the next event."""
        self._answer.go_on(response, number)

    # -- within ------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        answer = self._answer
        if answer.is_over:
            return
        if data == b"[DONE]":
            self._close()
            return
        try:
            chunk = _decode(data)
        except UNREADABLE:
            chunk = None
        if not isinstance(chunk, dict):
            self._fail({"message": "The backend sent what is no event of a chat."})
            return
        if chunk.get("error") or chunk.get("object") == "error":
            error = chunk.get("error") or chunk
            self._fail(error if isinstance(error, dict) else {"message": _word(error)})
            return
        if not answer.has_begun:
            self._begin(chunk)
        self._count(chunk.get("usage"))
        for choice in _first(chunk.get("choices")):
            delta = choice.get("delta")
            if isinstance(delta, dict):
                self._take_delta(delta, choice)
            self._note_finish(choice)

    def _begin(self, chunk: Fields) -> None:
        name = _word(chunk.get("id")).removeprefix("chatcmpl-").removeprefix("cmpl-")
        name = "".join(sign for sign in name[:_NAME_CHARS_MAX] if sign.isalnum() or sign in "-_")
        created = chunk.get("created")
        self._answer.begin(
            name or "0",
            created if isinstance(created, int | float) else 0,
            _word(chunk.get("model")) or self._model,
        )

    def _take_delta(self, delta: Fields, choice: Fields) -> None:
        """Take what a chunk adds, or what a whole message is."""
        answer = self._answer
        if thought := _word(delta.get("reasoning_content")) or _word(delta.get("reasoning")):
            answer.think(thought)
        if text := _word(delta.get("content")):
            probable = choice.get("logprobs")
            content = probable.get("content") if isinstance(probable, dict) else None
            answer.say(text, [_probable(each) for each in _list(content)])
        if refusal := _word(delta.get("refusal")):
            answer.refuse(refusal)
        for number, call in enumerate(_list(delta.get("tool_calls"))):
            self._take_call(number, call)

    def _take_call(self, number: int, call: Fields) -> None:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        number = call["index"] if isinstance(call.get("index"), int) else number
        if self._answer.is_over:
            return
        if number >= CALLS_MAX:
            self._fail({"message": f"The backend's answer has more than {CALLS_MAX} calls."})
            return
        self._answer.call(
            number,
            _word(call.get("id")),
            _word(function.get("name")),
            _word(function.get("arguments")),
        )

    def _note_finish(self, choice: Fields) -> None:
        if choice.get("finish_reason"):
            self._finish = _word(choice["finish_reason"]) or "stop"

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            with suppress(msgspec.ValidationError):  # It spoils the count, but not the answer.
                self._answer.usage = msgspec.convert(usage, Usage)

    def _close(self) -> None:
        if self._answer.is_over:
            return
        if self._finish:
            self._answer.end(_BOUNDS.get(self._finish))
        else:
            self._fail({"message": "The answer ended without a finish reason."})

    def _fail(self, error: Fields) -> None:
        if not self._answer.has_begun:
            self._begin({})
        told = {key: error.get(key) for key in ("type", "code", "param", "request_id")}
        told = {
            key: str(value) if isinstance(value, str | int) else None for key, value in told.items()
        }
        words = f"{told['code']} {told['type']}".lower()
        code = "server_error"
        if any(word in words for word in _IS_LIMIT):
            code = "rate_limit_exceeded"
        elif "invalid_request" in words:
            code = "invalid_prompt"
        message = _word(error.get("message")) or "The answer broke off."
        self._answer.fail(code, {"message": message, **told})


def _word(value: Any) -> str:
    """Give a string; anything else says nothing."""
    return value if isinstance(value, str) else ""


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


def _probable(token: Fields) -> Fields:
    """Give a token's log probability, and those of its rivals, as far as they can be read."""
    rivals = token.get("top_logprobs")
    found = _likely(token)
    found["top_logprobs"] = [_likely(each) for each in _list(rivals)]
    return found


def _likely(token: Fields) -> Fields:
    spelled, probable = token.get("bytes"), token.get("logprob")
    return {
        "token": _word(token.get("token")),
        "logprob": probable if isinstance(probable, int | float) else 0.0,
        "bytes": [each for each in spelled if isinstance(each, int)]
        if isinstance(spelled, list)
        else [],
    }


def _first(choices: Any) -> list[Fields]:
    """Give the first choice, if it is spoken of; a Response knows no other."""
    return [choice for choice in _list(choices) if not choice.get("index")][:1]


def _list(value: Any) -> list[Fields]:
    """Give a list's objects; anything else holds none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
