"""What has been said so far, as a list of items, and how would a chat tell it?

A chat's message holds a whole turn: thoughts, words and calls together. Here each of them is an
item of its own. So an assistant's items are gathered until somebody else speaks, and become one
message; that is also where thoughts find their way back to the model, as `reasoning_content`
beside the calls that they led to. Thoughts that led to nothing are dropped: a message without
words or calls would be taken for the beginning of an answer.

Not here: the other fields of a request (`asking`).
"""

from typing import Any

from baseload.apis.openai import BadRequestError, UnmappedError

Item = dict[str, Any]

_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
_ROLES = {"user": "user", "system": "system", "developer": "system"}
"""Model servers' templates know no developer; OpenAI gives both the same weight."""
UNSUPPORTED = "unsupported_parameter"
_WHY = "`{param}` is not supported here: {why}."
SHOWN_CHARS_MAX = 50
"""So much of an unknown word is repeated in an error."""
_ELSEWHERE = "speaks of what a provider keeps or runs itself"


def messages_of(instructions: Any, spoken: Any) -> list[Item]:
    """Give a chat's messages; raises `BadRequestError` at an item that no chat can tell."""
    messages: list[Item] = []
    if instructions is not None:
        if not isinstance(instructions, str):
            raise misshapen("instructions", "a string")
        messages.append({"role": "system", "content": instructions})
    if isinstance(spoken, str):
        messages.append({"role": "user", "content": spoken})
        return messages
    if not isinstance(spoken, list) or not spoken:
        raise misshapen("input", "a string, or a list of items")
    turn = _Turn(messages)
    for number, item in enumerate(spoken):
        _take(turn, f"input[{number}]", item)
    turn.close()
    return messages


class _Turn:
    """An assistant's turn while its items come in."""

    def __init__(self, messages: list[Item]) -> None:
        self._messages = messages
        self._thoughts: list[str] = []
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._calls: list[Item] = []

    def think(self, text: str) -> None:
        if self._texts and not self._calls:
            self.close()  # Calls bind a turn together until their results are there.
        if text:
            self._thoughts.append(text)

    def say(self, texts: list[str], refusals: list[str]) -> None:
        if self._texts and not self._calls:
            self.close()  # Two answers one after the other.
        self._texts += texts or [""]
        self._refusals += refusals

    def call(self, item: Item) -> None:
        self._calls.append(item)

    def other(self, message: Item) -> None:
        """Somebody else speaks."""
        self.close()
        self._messages.append(message)

    def close(self) -> None:
        """Tell the turn as one message."""
        if self._texts or self._calls:
            text = "\n".join(self._texts)
            message: Item = {"role": "assistant", "content": text if self._texts else None}
            if self._thoughts:
                message["reasoning_content"] = "\n".join(self._thoughts)
            if self._refusals:
                message["refusal"] = "\n".join(self._refusals)
            if self._calls:
                message["tool_calls"] = self._calls
            self._messages.append(message)
        self._thoughts, self._texts, self._refusals, self._calls = [], [], [], []


def _take(turn: _Turn, where: str, item: Any) -> None:
    if not isinstance(item, dict):
        raise misshapen(where, "an object")
    kind = item.get("type", "message")
    if kind == "message":
        _take_message(turn, where, item)
    elif kind == "reasoning":
        turn.think(_thoughts(where, item))
    elif kind == "function_call":
        function = {
            "name": _string(where, item, "name"),
            "arguments": _string(where, item, "arguments"),
        }
        call_id = _string(where, item, "call_id")
        turn.call({"id": call_id, "type": "function", "function": function})
    elif kind == "function_call_output":
        content = _plain(f"{where}.output", item.get("output"))
        call_id = _string(where, item, "call_id")
        turn.other({"role": "tool", "tool_call_id": call_id, "content": content})
    else:
        told = refused if kind == "item_reference" else unmapped
        raise told(f"{where}.type", f"`{str(kind)[:SHOWN_CHARS_MAX]}` {_ELSEWHERE}")


def _take_message(turn: _Turn, where: str, item: Item) -> None:
    role, content = item.get("role"), item.get("content")
    where = f"{where}.content"
    if role == "assistant":
        refusals: list[str] = []
        if isinstance(content, list):
            said = [_object(where, part) for part in content]
            refusals = [str(part.get("refusal")) for part in said if part.get("type") == "refusal"]
            content = [part for part in said if part.get("type") != "refusal"]
        turn.say([_plain(where, content)], refusals)
    elif isinstance(role, str) and role in _ROLES:
        turn.other({"role": _ROLES[role], "content": _content(where, content)})
    else:
        raise misshapen(where.replace(".content", ".role"), "user, assistant, system or developer")


def _content(where: str, content: Any) -> Any:
    """Give a content as one string if it is text alone: not every server takes parts."""
    parts = content if isinstance(content, list) else []
    if all(isinstance(part, dict) and part.get("type") in _TEXTS for part in parts):
        return _plain(where, content)
    return [_part(f"{where}[{number}]", part) for number, part in enumerate(parts)]


def _part(where: str, part: Any) -> Item:
    kind = _object(where, part).get("type")
    if kind in _TEXTS:
        return {"type": "text", "text": _string(where, part, "text")}
    if kind != "input_image":
        raise unmapped(
            f"{where}.type", f"`{str(kind)[:SHOWN_CHARS_MAX]}` is neither text nor an image"
        )
    if not isinstance(part.get("image_url"), str):
        raise refused(f"{where}.file_id", "give the image itself as `image_url`")
    image = {"url": part["image_url"]}
    if part.get("detail") is not None:
        image["detail"] = part["detail"]
    return {"type": "image_url", "image_url": image}


def _plain(where: str, content: Any) -> str:
    """Give a content that may only be text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise misshapen(where, "a string, or a list of parts")
    texts = []
    for number, part in enumerate(content):
        if _object(f"{where}[{number}]", part).get("type") not in _TEXTS:
            raise unmapped(f"{where}[{number}].type", "only text can stand here")
        texts.append(_string(f"{where}[{number}]", part, "text"))
    return "\n".join(texts)


def _thoughts(where: str, item: Item) -> str:
    """Give what was thought, in full or else in summary; encrypted, it says nothing to us."""
    return _plain(f"{where}.content", item.get("content") or item.get("summary") or [])


def _object(where: str, value: Any) -> Item:
    if not isinstance(value, dict):
        raise misshapen(where, "an object")
    return value


def _string(where: str, item: Item, key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise misshapen(f"{where}.{key}", "a string")
    return value


def misshapen(param: str, expected: str) -> BadRequestError:
    """Give the error for a value of the wrong form."""
    return BadRequestError(f"`{param}` must be {expected}.", param)


def refused(param: str, why: str) -> BadRequestError:
    """Give the error for what cannot be done here, whatever the backend."""
    return BadRequestError(_WHY.format(param=param, why=why), param, UNSUPPORTED)


def unmapped(param: str, why: str) -> UnmappedError:
    """Give the error for what a chat cannot say, though a backend might understand it."""
    return UnmappedError(_WHY.format(param=param, why=why), param, UNSUPPORTED)
