"""A request of the Messages API becomes a request for a chat.

Fields that say the same thing under another name are renamed, the conversation is rewritten by
`blocks`. What only helps (cache marks, tiers of service) is left out. What would change the answer
and has no counterpart is refused with a sentence.

The formats: docs.anthropic.com/en/api/messages, api-docs.deepseek.com/guides/thinking_mode.
"""

from typing import Any

import msgspec

from baseload.apis.anthropic.blocks import plain_text, turn, unmapped, wrong
from baseload.apis.bulk import check_bulk
from baseload.apis.openai import BadRequestError
from baseload.apis.unreadable import UNREADABLE

Fields = dict[str, Any]

USER_ID_BYTES_MAX = 512
"""DeepSeek takes a longer `user_id` for a mistake."""

_UNMAPPED = {
    "container": "a container",
    "mcp_servers": "a list of MCP servers",
    "inference_geo": "a promise of where the model runs",
}
"""Fields that would change what is done, with no counterpart in a chat."""
_SAME = ("temperature", "top_p", "top_k")
"""Fields of the same name and meaning. `top_k` is no part of OpenAI's API; engines know it."""
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_SWITCHES = ("enabled", "disabled")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def fields_of(body: bytes) -> Fields:
    """Give a request's fields; raises `BadRequestError` with a sentence if there are none."""
    check_bulk(body)
    try:
        fields = _decode(body)
    except UNREADABLE as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadRequestError(f"The body is not valid JSON: {reason}.") from None
    if not isinstance(fields, dict):
        raise BadRequestError("The body is not a JSON object.")
    return fields


def to_chat(fields: Fields) -> bytes:
    """Give a request as a chat's; raises `BadRequestError` with a sentence for the caller."""
    most = fields.get("max_tokens")
    if type(most) is not int or most < 1:
        raise wrong("max_tokens", "it must be there, and a whole number of at least 1")
    try:
        return _encode(prompt_of(fields) | {"max_tokens": most} | _options(fields))
    except RecursionError:
        raise BadRequestError("The body is nested too deeply.") from None


def prompt_of(fields: Fields) -> Fields:
    """Give what a model reads: who is asked, the conversation and the tools."""
    for name, what in _UNMAPPED.items():
        if fields.get(name):
            raise unmapped(name, what)
    chat: Fields = {"messages": _conversation(fields)}
    if "model" in fields:
        chat = {"model": fields["model"]} | chat
    tools = fields.get("tools") or []
    if not isinstance(tools, list):
        raise wrong("tools", "it is a list")
    if tools:
        chat["tools"] = [_tool(tool, f"tools.{index}") for index, tool in enumerate(tools)]
    return chat | _choice(fields.get("tool_choice"), has_tools=bool(tools))


def _conversation(fields: Fields) -> list[Fields]:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "it must be there, and a list of at least one message")
    chat = []
    if (system := fields.get("system")) is not None and (text := plain_text(system, "system")):
        chat.append({"role": "system", "content": text})
    for index, message in enumerate(messages):
        chat += turn(message, f"messages.{index}")
    if chat[-1]["role"] == "assistant":
        where = f"messages.{len(messages) - 1}"
        raise unmapped(where, "the beginning of an answer, as a last message of the assistant,")
    return chat


# -- tools -------------------------------------------------------------------------------------


def _tool(tool: Any, where: str) -> Fields:
    if not isinstance(tool, dict):
        raise wrong(where, "a tool is an object")
    kind = tool.get("type") or "custom"
    if kind != "custom":
        raise unmapped(where, f"the tool `{str(kind)[:64]}`, which Anthropic runs or has trained,")
    name, schema = tool.get("name"), tool.get("input_schema")
    if not isinstance(name, str) or not isinstance(schema, dict):
        raise wrong(where, "a tool has a `name` and an `input_schema`")
    function: Fields = {"name": name, "parameters": schema}
    for key in ("description", "strict"):
        if tool.get(key) is not None:
            function[key] = tool[key]
    return {"type": "function", "function": function}


def _choice(choice: Any, *, has_tools: bool) -> Fields:
    if choice is None:
        return {}
    kind = choice.get("type") if isinstance(choice, dict) else None
    name = choice.get("name") if kind == "tool" else None
    if not isinstance(kind, str) or (kind not in _CHOICES and not isinstance(name, str)):
        raise wrong("tool_choice", "its type is `auto`, `any`, `none`, or `tool` with a `name`")
    if not has_tools:
        if kind in ("any", "tool"):
            raise wrong("tool_choice", f"`{kind}` needs `tools`")
        return {}  # OpenAI's API refuses a choice of nothing.
    named = {"type": "function", "function": {"name": name}}
    found: Fields = {"tool_choice": _CHOICES.get(kind, named)}
    if choice.get("disable_parallel_tool_use") is True:
        found["parallel_tool_calls"] = False
    return found


# -- the rest ----------------------------------------------------------------------------------


def _options(fields: Fields) -> Fields:
    chat: Fields = {key: fields[key] for key in _SAME if fields.get(key) is not None}
    if stops := fields.get("stop_sequences"):
        if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
            raise wrong("stop_sequences", "it is a list of strings")
        chat["stop"] = stops
    if fields.get("stream") is True:
        chat["stream"] = True
        chat["stream_options"] = {"include_usage": True}
    elif fields.get("stream") not in (None, False):
        raise wrong("stream", "it is true or false")
    return chat | _user(fields.get("metadata")) | _thinking(fields) | _output(fields)


def _user(metadata: Any) -> Fields:
    """Give who asks: `user` as OpenAI calls it, and `user_id` as DeepSeek does."""
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    if not isinstance(user, str) or not user:
        return {}
    if len(user.encode()) > USER_ID_BYTES_MAX:
        return {"user": user}
    return {"user": user, "user_id": user}


def _thinking(fields: Fields) -> Fields:
    thinking = fields.get("thinking")
    if thinking is None:
        return {}
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if not isinstance(kind, str):
        raise wrong("thinking", "it is an object with a `type`")
    # A budget has no counterpart: DeepSeek passes it over, too. And where the model is to decide
    # for itself whether to think, nothing is said, and it does what it does by default.
    return {"thinking": {"type": kind}} if kind in _SWITCHES else {}


def _output(fields: Fields) -> Fields:
    config = fields.get("output_config")
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise wrong("output_config", "it is an object")
    chat: Fields = {}
    if isinstance(effort := config.get("effort"), str):
        chat["reasoning_effort"] = effort
    if (form := config.get("format")) is not None:
        if not isinstance(form, dict) or form.get("type") != "json_schema":
            raise unmapped("output_config.format", "a form other than `json_schema`")
        named = {"name": "answer", "schema": form.get("schema"), "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": named}
    return chat
