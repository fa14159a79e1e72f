"""Content blocks of a message become messages of a chat.

Anthropic writes a turn as a list of blocks, a chat as messages that each have one text. Text stays
text, pictures become `image_url` parts, thoughts `reasoning_content`, tools that were used become
`tool_calls` and what came of them messages of the role `tool`. Those come first in their turn,
because a chat wants them right behind the call that they answer.

What has no counterpart in a chat is refused with a sentence, never left out: a model that is asked
about a document it has not been given answers all the same.

Not here: the other fields of a request (`request`).
"""

from collections.abc import Callable
from typing import Any

import msgspec

from baseload.apis.openai import BadRequestError, UnmappedError

Block = dict[str, Any]
Message = dict[str, Any]

BETWEEN_TEXTS = "\n\n"
"""What stands between two blocks of text that become one."""
ERROR_MARK = "Error: "
"""Begins what a tool gave when it failed: a chat has no other way to say so."""

_encode = msgspec.json.Encoder().encode


def wrong(where: str, what: str) -> BadRequestError:
    """Give the error for a field that is not as it must be; `where` is written `messages.0`."""
    return BadRequestError(f"{where}: {what}.", where.partition(".")[0])


def unmapped(where: str, what: str) -> UnmappedError:
    """Give the error for what cannot be put into a chat's words."""
    reason = f"{where}: {what} cannot be given to a backend that speaks chat completions"
    return UnmappedError(f"{reason}.", where.partition(".")[0])


def plain_text(content: Any, where: str) -> str:
    """Give content that may only be text: a string, or blocks of text."""
    if isinstance(content, str):
        return content
    texts = []
    for at, block in _blocks(content, where):
        if block.get("type") != "text":
            raise unmapped(at, f"a block of the type `{_shown(block.get('type'))}`")
        texts.append(_text(block, "text", at))
    return BETWEEN_TEXTS.join(text for text in texts if text)


def turn(message: Any, where: str) -> list[Message]:
    """Give one message of Anthropic's as messages of a chat: one, or several."""
    if not isinstance(message, dict):
        raise wrong(where, "a message is an object with `role` and `content`")
    role, content = message.get("role"), message.get("content")
    if role == "user":
        return _user(content, where)
    if role == "assistant":
        return [_assistant(content, where)]
    if role == "system":
        return [{"role": "system", "content": plain_text(content, f"{where}.content")}]
    raise wrong(f"{where}.role", "it is none of `user`, `assistant` and `system`")


# -- what a user says --------------------------------------------------------------------------


def _user(content: Any, where: str) -> list[Message]:
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    results: list[Message] = []
    parts: list[Block] = []
    for at, block in _blocks(content, f"{where}.content"):
        kind = block.get("type")
        if kind == "tool_result":
            results.append(_result(block, at, parts))
        elif kind in ("text", "image"):
            parts += _PARTS[kind](block, at)
        elif kind in ("tool_use", "thinking", "redacted_thinking"):
            raise wrong(at, f"`{kind}` is said by the assistant, not by a user")
        else:
            raise unmapped(at, f"a block of the type `{_shown(kind)}`")
    if not parts:
        return results or [{"role": "user", "content": ""}]
    return [*results, {"role": "user", "content": _joined(parts)}]


def _result(block: Block, where: str, parts: list[Block]) -> Message:
    """Give what came of a tool; its pictures go to the user's own parts, which follow it."""
    call_id = _text(block, "tool_use_id", where)
    content = block.get("content")
    texts, pictures = [], []
    if isinstance(content, str):
        texts.append(content)
    elif content is not None:
        for at, part in _blocks(content, f"{where}.content"):
            kind = part.get("type")
            if kind == "text":
                texts.append(_text(part, "text", at))
            elif kind == "image":
                pictures += _picture(part, at)
            else:
                raise unmapped(at, f"a block of the type `{_shown(kind)}`")
    if pictures:
        said = f"What the tool call {call_id} gave, as a picture:"
        parts += [{"type": "text", "text": said}, *pictures]
    text = BETWEEN_TEXTS.join(one for one in texts if one)
    if block.get("is_error") is True:
        text = ERROR_MARK + text
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def _written(block: Block, where: str) -> list[Block]:
    text = _text(block, "text", where)
    return [{"type": "text", "text": text}] if text else []


def _picture(block: Block, where: str) -> list[Block]:
    source, at = block.get("source"), f"{where}.source"
    if not isinstance(source, dict) or not isinstance(kind := source.get("type"), str):
        raise wrong(at, "an image has a source with a `type`")
    if kind == "base64":
        media, data = _text(source, "media_type", at), _text(source, "data", at)
        url = f"data:{media};base64,{data}"
    elif kind == "url":
        url = _text(source, "url", at)
    else:
        raise unmapped(at, f"a picture from a `{_shown(kind)}`")
    return [{"type": "image_url", "image_url": {"url": url}}]


_PARTS: dict[str, Callable[[Block, str], list[Block]]] = {"text": _written, "image": _picture}


def _joined(parts: list[Block]) -> str | list[Block]:
    """Give parts as one text where they are text alone: not every server takes a list."""
    if all(part["type"] == "text" for part in parts):
        return BETWEEN_TEXTS.join(part["text"] for part in parts)
    return parts


# -- what the assistant has said ---------------------------------------------------------------


def _assistant(content: Any, where: str) -> Message:
    if isinstance(content, str):
        return {"role": "assistant", "content": content}
    texts, thoughts, calls = [], [], []
    for at, block in _blocks(content, f"{where}.content"):
        kind = block.get("type")
        if kind == "text":
            texts.append(_text(block, "text", at))
        elif kind == "thinking":
            thoughts.append(_text(block, "thinking", at))
        elif kind == "tool_use":
            calls.append(_call(block, at))
        elif kind in ("tool_result", "image"):
            raise wrong(at, f"`{kind}` is said by a user, not by the assistant")
        else:
            raise unmapped(at, f"a block of the type `{_shown(kind)}`")
    text = BETWEEN_TEXTS.join(one for one in texts if one)
    message: Message = {"role": "assistant", "content": text or (None if calls else "")}
    if any(thoughts):
        # DeepSeek refuses a turn that used tools and comes back without its thoughts; those of
        # other turns it passes over.
        message["reasoning_content"] = BETWEEN_TEXTS.join(one for one in thoughts if one)
    if calls:
        message["tool_calls"] = calls
    return message


def _call(block: Block, where: str) -> Block:
    given = block.get("input")
    if not isinstance(given, dict):
        raise wrong(f"{where}.input", "what a tool is given is an object")
    function = {"name": _text(block, "name", where), "arguments": _encode(given).decode()}
    return {"id": _text(block, "id", where), "type": "function", "function": function}


# -- within ------------------------------------------------------------------------------------


def _blocks(content: Any, where: str) -> list[tuple[str, Block]]:
    """Give blocks, each with where it stands."""
    if not isinstance(content, list):
        raise wrong(where, "content is a string or a list of blocks")
    found = [(f"{where}.{index}", block) for index, block in enumerate(content)]
    for at, block in found:
        if not isinstance(block, dict):
            raise wrong(at, "a block is an object with a `type`")
    return found


def _text(block: Block, key: str, where: str) -> str:
    value = block.get(key)
    if not isinstance(value, str):
        raise wrong(f"{where}.{key}", "it must be there, and a string")
    return value


def _shown(kind: Any) -> str:
    """Give a type as it may be repeated in a sentence."""
    return kind[:64] if isinstance(kind, str) else "?"
