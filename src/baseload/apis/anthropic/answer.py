"""A whole answer of a chat becomes a message: what was thought, what was said, what is to be done.

Not here: streams (`speech`), which say the same piece by piece.
"""

from typing import Any

import msgspec

from baseload.apis.chunks import REASONING_KEYS
from baseload.apis.dialect import SpeechError
from baseload.apis.openai import Usage
from baseload.apis.unreadable import UNREADABLE

Fields = dict[str, Any]

UNREAD_INPUT = "INVALID_JSON"
"""Under this key stands what a model gave to a tool, if it is no JSON object: Anthropic's own
advice for what cannot be parsed."""

_STOPS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def message_of(body: bytes, stops: list[str], prompt_tokens: int) -> bytes:
    """Give a chat completion as a message; raises `SpeechError` if it is none."""
    try:
        found = _decode(body)
        choice = found["choices"][0]
        message = choice["message"]
        content, has_tools = _content(message)
        message = face_of(found) | {
            "content": content,
            **stop_of(choice, stops, has_tools=has_tools, is_refused=bool(message.get("refusal"))),
            "usage": usage_of(found.get("usage")) or guessed(prompt_tokens, 0),
        }
        return _encode(message)
    except (*UNREADABLE, LookupError, TypeError, AttributeError):
        raise SpeechError("The backend's answer has not the form of a chat completion.") from None


def face_of(found: Fields) -> Fields:
    """Give what a message says of itself, from the answer or the first chunk of one."""
    said, model = found.get("id"), found.get("model")
    name = said.removeprefix("chatcmpl-") if isinstance(said, str) else ""
    return {
        "id": f"msg_{name or 0}",
        "type": "message",
        "role": "assistant",
        "model": model if isinstance(model, str) else "",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def stop_of(choice: Fields, stops: list[str], *, has_tools: bool, is_refused: bool) -> Fields:
    """Give why an answer ended.

    Which stop sequence it was, few servers say (vLLM does, in `stop_reason`); where none does, the
    end is one of a turn.
    """
    said = choice.get("finish_reason")
    reason = _STOPS.get(said, "end_turn") if isinstance(said, str) else "end_turn"
    matched = choice.get("stop_reason")
    if is_refused:
        reason = "refusal"
    elif reason == "end_turn" and has_tools:
        reason = "tool_use"  # Some servers call it a stop.
    elif reason == "end_turn" and isinstance(matched, str) and matched in stops:
        return {"stop_reason": "stop_sequence", "stop_sequence": matched}
    return {"stop_reason": reason, "stop_sequence": None}


def usage_of(found: Any) -> Fields | None:
    """Give what was counted; None if it was not, or not in numbers.

    Anthropic counts tokens that were in the cache apart from those that were not.
    """
    try:
        usage = msgspec.convert(found, Usage | None)
    except msgspec.ValidationError:
        return None
    if usage is None:
        return None
    said: Fields = {
        "input_tokens": max(usage.prompt_tokens - usage.cached_tokens, 0),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": max(usage.completion_tokens, 0),
    }
    if usage.reasoning_tokens:
        said["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return said


def guessed(prompt_tokens: int, pieces: int) -> Fields:
    """Give a usage where a backend counted nothing: it must be there, so it is estimated."""
    return {
        "input_tokens": prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": pieces,
    }


def input_of(arguments: str) -> Fields:
    """Give what a tool is to be given, as an object."""
    if not arguments.strip():
        return {}
    try:
        found = _decode(arguments)
    except UNREADABLE:
        found = None
    return found if isinstance(found, dict) else {UNREAD_INPUT: arguments}


def tool_id(said: Any, number: int) -> str:
    """Give a tool call's name for itself, or one that is unlike all others of this answer."""
    return said if isinstance(said, str) and said else f"toolu_{number}"


def _content(message: Fields) -> tuple[list[Fields], bool]:
    blocks: list[Fields] = []
    thought = next((message[key] for key in REASONING_KEYS if message.get(key)), None)
    if thought is not None:
        blocks.append({"type": "thinking", "thinking": _str(thought), "signature": ""})
    blocks += [
        {"type": "text", "text": _str(message[key])}
        for key in ("content", "refusal")
        if message.get(key)
    ]
    calls = message.get("tool_calls") or []
    for number, call in enumerate(calls):
        function = call["function"]
        blocks.append(
            {
                "type": "tool_use",
                "id": tool_id(call.get("id"), number),
                "name": _str(function["name"]),
                "input": input_of(_str(function.get("arguments") or "")),
            }
        )
    return blocks, bool(calls)


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
