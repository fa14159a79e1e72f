"""What does a request of the Responses API ask, in a chat's words?

Its fields are sorted into four heaps: what a chat calls by the same name, what it calls otherwise,
what only the answer repeats (metadata), and what cannot be done here. The last is refused with the
field's name, because a caller whose earlier answers are not found is better told than served an
answer that has forgotten them: nothing is stored between two requests. Tools that a provider runs
on its own machines are refused as what no chat can say; backends that speak this API may be asked
for them all the same. Fields that this API does not know are passed on, as in a chat: they are
meant for the backend.

Not here: the items of the input (`items`), and which backend can do what is asked.

The format: platform.openai.com/docs/api-reference/responses/create.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from baseload.apis.bulk import check_bulk
from baseload.apis.openai import BadRequestError
from baseload.apis.responses.items import SHOWN_CHARS_MAX, messages_of, misshapen, refused, unmapped
from baseload.apis.unreadable import UNREADABLE

Fields = dict[str, Any]

_STATEFUL = ("previous_response_id", "conversation")
_ELSEWHERE = ("prompt", "context_management", "moderation")
_ANSWERED = ("metadata", "store", "include", "max_tool_calls", "background", "truncation")
"""Fields that are looked at, or repeated in the answer, and that no chat is asked for."""
_RENAMED = {"max_output_tokens": "max_tokens", "safety_identifier": "user"}
_INCLUDABLE = ("reasoning.encrypted_content", "message.output_text.logprobs")
"""What may be wanted besides. Thoughts are given in the open, so there is nothing to encrypt."""
_LOGPROBS = "message.output_text.logprobs"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def read_asking(body: bytes) -> Fields:
    """Read a request as it stands; raises `BadRequestError`."""
    check_bulk(body)
    try:
        asked = _decode(body)
    except RecursionError:
        raise BadRequestError("The body is nested too deeply.") from None
    except UNREADABLE as error:
        reason = "the body is empty" if not body else str(error)
        raise BadRequestError(f"The body is not valid JSON: {reason}.") from None
    if not isinstance(asked, dict):
        raise BadRequestError("The body must be a JSON object.")
    return asked


def chat_of(asked: Fields) -> bytes:
    """Give the chat's request; raises `BadRequestError` for what a chat cannot say."""
    _check(asked)
    chat: Fields = {}
    for key, value in asked.items():
        if value is None:
            continue
        if (write := _WRITERS.get(key)) is not None:
            write(chat, asked, value)
        elif key not in _ANSWERED and key not in _RENAMED:
            chat[key] = value
    for key, name in _RENAMED.items():
        if asked.get(key) is not None:
            chat.setdefault(name, asked[key])
    chat["messages"] = messages_of(asked.get("instructions"), asked.get("input"))
    if asked.get("stream"):
        chat["stream_options"] = {"include_usage": True}
    try:
        return _encode(chat)
    except RecursionError:
        raise BadRequestError("The body is nested too deeply.") from None


def _check(asked: Fields) -> None:
    """Refuse what is not here at all."""
    for param in _STATEFUL:
        if asked.get(param) is not None:
            raise refused(param, "nothing is kept between requests; send all items as `input`")
    if asked.get("background"):
        raise refused("background", "an answer is given on the connection that asks for it")
    for param in _ELSEWHERE:
        if asked.get(param) is not None:
            raise unmapped(param, "it works on a provider's own store or machines")
    if asked.get("truncation") not in (None, "disabled"):
        raise unmapped("truncation", "no item of the input is ever dropped")
    include = () if asked.get("include") is None else asked["include"]
    if not isinstance(include, list | tuple):
        raise misshapen("include", "a list")
    for each in include:
        if each not in _INCLUDABLE:
            raise unmapped("include", f"here are {' and '.join(_INCLUDABLE)}")


# -- fields that a chat says otherwise ---------------------------------------------------------


def _text(chat: Fields, _asked: Fields, value: Any) -> None:
    """`text`: the answer's form, and how wordy it is."""
    if not isinstance(value, dict):
        raise misshapen("text", "an object")
    if value.get("verbosity") is not None:
        chat["verbosity"] = value["verbosity"]
    form = value.get("format")
    if form is None:
        return
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "json_schema":
        parts = ("name", "description", "schema", "strict")
        schema = {key: form[key] for key in parts if form.get(key) is not None}
        chat["response_format"] = {"type": kind, "json_schema": schema}
    elif kind == "json_object":
        chat["response_format"] = {"type": kind}
    elif kind != "text":
        raise misshapen("text.format", "of type `text`, `json_schema` or `json_object`")


def _reasoning(chat: Fields, _asked: Fields, value: Any) -> None:
    """`reasoning`: how hard to think; whether its summary is wanted concerns the answer alone."""
    if not isinstance(value, dict):
        raise misshapen("reasoning", "an object")
    if value.get("effort") is not None:
        chat["reasoning_effort"] = value["effort"]


def _tools(chat: Fields, asked: Fields, value: Any) -> None:
    """`tools`: functions only, and of them those that the choice allows."""
    if not isinstance(value, list):
        raise misshapen("tools", "a list")
    allowed = _allowed(asked.get("tool_choice"))
    tools = [_function(number, tool) for number, tool in enumerate(value)]
    if allowed is not None:
        tools = [tool for tool in tools if tool["function"]["name"] in allowed]
    if tools:
        chat["tools"] = tools


def _function(number: int, tool: Any) -> Fields:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind != "function":
        shown = str(kind)[:SHOWN_CHARS_MAX]
        raise unmapped(f"tools[{number}].type", f"only functions are, and this is `{shown}`")
    if not isinstance(tool.get("name"), str):
        raise misshapen(f"tools[{number}].name", "a string")
    parts = ("name", "description", "parameters", "strict")
    return {
        "type": "function",
        "function": {key: tool[key] for key in parts if tool.get(key) is not None},
    }


def _allowed(choice: Any) -> set[str] | None:
    """Give the functions that may be called, if only some of them may."""
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return None
    tools = choice.get("tools")
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise misshapen("tool_choice.tools", "a list of objects")
    return {str(tool.get("name")) for tool in tools}


def _tool_choice(chat: Fields, _asked: Fields, value: Any) -> None:
    """`tool_choice`: a word, one function, or some of them."""
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(value, str):
        chat["tool_choice"] = value
    elif kind == "function" and isinstance(value.get("name"), str):
        chat["tool_choice"] = {"type": kind, "function": {"name": value["name"]}}
    elif kind == "allowed_tools":
        chat["tool_choice"] = value.get("mode") or "auto"
    else:
        raise unmapped("tool_choice", "it can be a word, a function, or allowed functions")


def _include(chat: Fields, _asked: Fields, value: Any) -> None:
    """`include`: log probabilities; thoughts are given anyway."""
    if _LOGPROBS in value:
        chat["logprobs"] = True


def _top_logprobs(chat: Fields, _asked: Fields, value: Any) -> None:
    """`top_logprobs`: a chat wants to be told twice."""
    chat["top_logprobs"] = value
    if value:
        chat["logprobs"] = True


def _nothing(_chat: Fields, _asked: Fields, _value: Any) -> None:
    """Said elsewhere: in the messages, or once the chat is there."""


_WRITERS: dict[str, Callable[[Fields, Fields, Any], None]] = {
    "input": _nothing,
    "instructions": _nothing,
    "stream_options": _nothing,
    "text": _text,
    "reasoning": _reasoning,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "include": _include,
    "top_logprobs": _top_logprobs,
}
