"""How many tokens has a prompt? Questions for servers that can tell, and an estimate for the rest.

vLLM takes a whole conversation and counts it with the model's own template. llama.cpp does it in
two steps: one writes the conversation out, the other cuts that into tokens. Nobody else is known to
count without answering, so there the letters are counted and DeepSeek's own rule of thumb is used:
0.3 tokens for a letter of English, 0.6 for a Chinese sign.

Sources: docs.vllm.ai (`/tokenize`), llama.cpp's server (`/apply-template`, `/tokenize`),
api-docs.deepseek.com/quick_start/token_usage.
"""

from typing import Any, NamedTuple

import msgspec

from baseload.apis.unreadable import UNREADABLE

TOKENS_PER_ASCII = 0.3
TOKENS_PER_OTHER = 0.6
TOKENS_PER_MESSAGE = 4
"""What a template writes around each message: its role and where it ends."""
TOKENS_PER_IMAGE = 1000
"""The order of size of what models make of a picture; its own size is not looked at."""

TOKENIZE = b"/tokenize"
APPLY_TEMPLATE = b"/apply-template"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Question(NamedTuple):
    """What to ask a server next: a path beside its `/v1`, and a body."""

    path: bytes
    body: bytes


def first_question(kind: str, prompt: dict[str, Any], model: str) -> Question | None:
    """Give what a server of this kind is asked about a chat's prompt; None if it cannot count."""
    read = {key: prompt[key] for key in ("messages", "tools") if key in prompt}
    if kind == "vllm":
        return Question(TOKENIZE, _encode(read | {"model": model}))
    if kind == "llama.cpp":
        return Question(APPLY_TEMPLATE, _encode(read))
    return None


def next_step(asked: bytes, body: bytes) -> Question | int | None:
    """Give what to ask next, or the count, or None if the answer says neither."""
    try:
        found = _decode(body)
    except UNREADABLE:
        return None
    if not isinstance(found, dict):
        return None
    if asked == APPLY_TEMPLATE:
        text = found.get("prompt")
        if not isinstance(text, str):
            return None
        content = {"content": text, "add_special": True, "parse_special": True}
        return Question(TOKENIZE, _encode(content))
    count, tokens = found.get("count"), found.get("tokens")
    if type(count) is int and count >= 0:
        return count
    return len(tokens) if isinstance(tokens, list) else None


def estimate(prompt: dict[str, Any]) -> int:
    """Estimate the tokens of a chat's prompt, its tools included."""
    tokens = 0.0
    for message in prompt["messages"]:
        tokens += TOKENS_PER_MESSAGE
        for key in ("content", "reasoning_content", "tool_calls"):
            tokens += _weight(message.get(key))
    return max(1, round(tokens + _weight(prompt.get("tools"))))


def _weight(value: Any) -> float:
    """Weigh a text, parts with text and pictures, or anything else by how it is written."""
    if not value:
        return 0.0
    if isinstance(value, list) and all(part.get("type") in ("text", "image_url") for part in value):
        return sum(
            _weight(part["text"]) if part["type"] == "text" else TOKENS_PER_IMAGE for part in value
        )
    text = value if isinstance(value, str) else _encode(value).decode()
    ascii_count = len(text.encode("ascii", "ignore"))
    return ascii_count * TOKENS_PER_ASCII + (len(text) - ascii_count) * TOKENS_PER_OTHER
