"""How is what was meant for DeepSeek said to another server, and the other way round?

DeepSeek's API is OpenAI's with habits of its own: a switch for thinking, thoughts that must be
handed back beside the calls they led to, a `user_id`, an answer whose beginning the caller writes,
gaps that are filled in. Other servers know the same things by other names. A call may be tried at
several of them, so each attempt is worded for the server that it goes to, and from the caller's own
bytes each time.

    what                 DeepSeek                    vLLM, SGLang, llama.cpp
    thinking switch      `thinking.type`             `thinking`, `enable_thinking` of the template
    no thinking at all   the same                    the same; `reasoning_effort: none` says it, too
    thoughts handed back `reasoning_content`         the same, but vLLM reads `reasoning`
    who asks             `user_id`                   `user`
    answer's beginning   `prefix`, at `/beta`        as `apis.resume` says of each
    gaps                 `/beta/completions`         `/completions`

Bytes in which nothing of this stands go out as they came, and a server of unknown kind gets
everything as it came: guessing wrong is worse than its own refusal.

Not here: how a backend's kind is known (`gateway.keeping`). The formats:
api-docs.deepseek.com/guides (thinking_mode, chat_prefix_completion, fim_completion,
quick_start/rate_limit), docs.vllm.ai and docs.sglang.io on reasoning, llama.cpp's tools/server.
"""

from typing import Any

import msgspec

from baseload.apis.resume import (
    ASSISTANT,
    BETA,
    BETA_CHAT,
    CHAT,
    COMPLETIONS,
    CONTINUE,
    PREFIX,
    Way,
)
from baseload.apis.unreadable import UNREADABLE

BETA_COMPLETIONS = BETA + b"completions"
DEEPSEEK, OPENAI, VLLM, SGLANG, LLAMA_CPP = "deepseek", "openai", "vllm", "sglang", "llama.cpp"
_KINDS = frozenset((DEEPSEEK, OPENAI, VLLM, SGLANG, LLAMA_CPP))

_EFFORTS = ("low", "medium", "high")
"""What every release of vLLM and SGLang takes as `reasoning_effort`; older ones refuse the rest."""
_SWITCHES = ("thinking", "enable_thinking")
"""Two names of one switch in chat templates: DeepSeek's, and that of most others."""


class _Spoken(msgspec.Struct, gc=False):
    role: Any = None
    prefix: Any = None
    reasoning_content: Any = None
    reasoning: Any = None


class _Glance(msgspec.Struct, gc=False):
    """What may need fitting. Reading only these costs less than to search the body for them."""

    messages: list[_Spoken] | None = None
    thinking: Any = None
    reasoning_effort: Any = None
    user_id: Any = None
    user: Any = None
    chat_template_kwargs: Any = None
    max_completion_tokens: Any = None
    max_tokens: Any = None

    def is_plain(self) -> bool:
        """Say whether there is nothing that any server calls by another name; most are plain."""
        for message in self.messages or ():
            if message.reasoning_content is not None or message.reasoning is not None:
                return False
            if message.prefix is not None:
                return False
        return (
            self.thinking is None
            and self.reasoning_effort is None
            and self.user_id is None
            and self.chat_template_kwargs is None
            and self.max_completion_tokens is None
        )

    def has_prefix(self) -> bool:
        """Say whether the caller wrote the answer's beginning."""
        last = self.messages[-1] if self.messages else None
        return last is not None and last.prefix is True and last.role == "assistant"


Fields = dict[str, msgspec.Raw]
_glance = msgspec.json.Decoder(_Glance).decode
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_message = msgspec.json.Decoder(Fields).decode


def fit(
    path: bytes, body: bytes, kind: str, way: Way, *, is_beta: bool = False
) -> tuple[bytes, bytes]:
    """Word a request for a kind of server; `way` is how it is given an answer's beginning.

    `is_beta` says that the caller used DeepSeek's beta address.
    """
    if path == COMPLETIONS and kind == DEEPSEEK:
        path = BETA_COMPLETIONS  # The only place where it has them.
    elif path in (CHAT, BETA_CHAT):
        try:
            return _fit_chat(path, body, kind, way, is_beta)
        except UNREADABLE:
            pass  # The backend may say what is wrong with it.
    return path, body


def think(body: bytes, switch: str) -> bytes:
    """Set DeepSeek's thinking switch, `enabled` or `disabled`, where the caller says nothing of it.

    DeepSeek's models are one that thinks and one that does not under the same name, so an operator
    who gives them two names says by this which is which.
    """
    try:
        seen = _glance(body)
        if (
            seen.thinking is None
            and seen.reasoning_effort is None
            and not seen.chat_template_kwargs
        ):
            fields = _decode_fields(body)
            fields["thinking"] = _raw({"type": switch})
            return msgspec.json.encode(fields)
    except UNREADABLE:
        pass  # The backend may say what is wrong with it.
    return body


def _fit_chat(path: bytes, body: bytes, kind: str, way: Way, is_beta: bool) -> tuple[bytes, bytes]:
    seen = _glance(body)
    if seen.is_plain():
        return BETA_CHAT if is_beta and kind == DEEPSEEK else path, body
    has_prefix = seen.has_prefix()
    if (has_prefix and way is PREFIX) or (kind == DEEPSEEK and (has_prefix or is_beta)):
        path = BETA_CHAT
    changes: dict[str, Any] = {}
    if kind == DEEPSEEK:
        _for_deepseek(seen, changes)
    elif kind == OPENAI:
        _for_openai(seen, changes)
    elif kind in _KINDS:
        _for_engine(seen, kind, changes)
    ends = has_prefix and way in (CONTINUE, ASSISTANT)
    if ends and way is CONTINUE:
        changes |= {"continue_final_message": True, "add_generation_prompt": False}
    is_told = seen.messages is not None and any(_is_respelled(each, kind) for each in seen.messages)
    if changes or ends or is_told:
        fields = _decode_fields(body)
        if ends or is_told:
            fields["messages"] = _raw(_messages(fields["messages"], kind, ends))
        for key, value in changes.items():
            fields[key] = _raw(value)
        kept = {key: value for key, value in fields.items() if changes.get(key, 0) is not None}
        body = msgspec.json.encode(kept)
    return path, body


# -- fields of the request: new values, or None to leave one out -------------------------------


def _for_deepseek(seen: _Glance, changes: dict[str, Any]) -> None:
    given = seen.chat_template_kwargs
    if isinstance(given, dict):
        switch = next((given[key] for key in _SWITCHES if isinstance(given.get(key), bool)), None)
        if switch is not None and seen.thinking is None:
            changes["thinking"] = _switched(switch)
        changes["chat_template_kwargs"] = None
    if seen.reasoning_effort == "none":
        changes["reasoning_effort"] = None
        if seen.thinking is None:
            changes["thinking"] = _switched(False)
    if seen.max_completion_tokens is not None and seen.max_tokens is None:
        changes |= {"max_tokens": seen.max_completion_tokens, "max_completion_tokens": None}


def _for_openai(seen: _Glance, changes: dict[str, Any]) -> None:
    if seen.thinking is not None:
        changes["thinking"] = None
        if _switch_of(seen) is False and seen.reasoning_effort is None:
            changes["reasoning_effort"] = "none"
    _name_user(seen, changes)


def _for_engine(seen: _Glance, kind: str, changes: dict[str, Any]) -> None:
    switch, effort = _switch_of(seen), seen.reasoning_effort
    template: dict[str, Any] = {}
    if seen.thinking is not None:
        changes["thinking"] = None
    if effort == "none":
        changes["reasoning_effort"] = None
        switch = False if switch is None else switch
    elif isinstance(effort, str) and kind != LLAMA_CPP:
        switch = True if switch is None else switch  # An effort is one to think.
        if effort == "minimal":
            changes["reasoning_effort"] = "low"
        elif effort not in _EFFORTS:
            changes["reasoning_effort"] = None
            template["reasoning_effort"] = effort  # The template may know its model's words.
    last = seen.messages[-1].role if seen.messages else None
    if switch is True and kind == LLAMA_CPP and last == "assistant":
        switch = None  # It refuses to think once an answer has begun.
    if switch is not None:
        template |= dict.fromkeys(_SWITCHES, switch)
    if template:
        given = seen.chat_template_kwargs
        given = given if isinstance(given, dict) else {}
        changes["chat_template_kwargs"] = template | given
    _name_user(seen, changes)


def _name_user(seen: _Glance, changes: dict[str, Any]) -> None:
    if seen.user_id is not None:
        changes["user_id"] = None
        if seen.user is None:
            changes["user"] = seen.user_id


def _switch_of(seen: _Glance) -> bool | None:
    """Say whether thinking is switched on or off in DeepSeek's way, or None if it is neither."""
    kind = seen.thinking.get("type") if isinstance(seen.thinking, dict) else None
    return {"enabled": True, "disabled": False}.get(str(kind))


def _switched(is_on: bool) -> dict[str, str]:
    return {"type": "enabled" if is_on else "disabled"}


# -- messages ----------------------------------------------------------------------------------


def _is_respelled(message: _Spoken, kind: str) -> bool:
    """Say whether a message's thoughts are spelled in a way that the server does not read."""
    if kind == OPENAI:
        return message.reasoning_content is not None or message.reasoning is not None
    if kind == VLLM:
        return message.reasoning_content is not None and message.reasoning is None
    if kind in _KINDS:
        return message.reasoning is not None and message.reasoning_content is None
    return False


def _messages(raw: msgspec.Raw, kind: str, ends: bool) -> list[msgspec.Raw | Fields]:
    """Give the messages as the server reads them; all that need not change stay as they came."""
    items: list[msgspec.Raw | Fields] = list(_decode_items(raw))
    spoken = msgspec.json.decode(raw, type=list[_Spoken])
    for number, message in enumerate(spoken):
        if _is_respelled(message, kind):
            fields = _decode_message(_bytes_of(items[number]))
            _respell(fields, kind)
            items[number] = fields
    if ends:
        fields = _decode_message(_bytes_of(items[-1]))
        # Thoughts that are over are left out, as where a broken answer is gone on with.
        for key in ("prefix", "reasoning_content", "reasoning"):
            fields.pop(key, None)
        items[-1] = fields
    return items


def _bytes_of(item: msgspec.Raw | Fields) -> bytes:
    """Give a message's bytes."""
    return item if isinstance(item, msgspec.Raw) else msgspec.json.encode(item)


def _respell(fields: Fields, kind: str) -> None:
    if kind == OPENAI:
        fields.pop("reasoning_content", None)
        fields.pop("reasoning", None)
    elif kind == VLLM:
        fields["reasoning"] = fields["reasoning_content"]  # Both: older releases read the other.
    else:
        fields["reasoning_content"] = fields.pop("reasoning")


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
