"""Which paths are there, and how is each answered? One table, and no more.

DeepSeek's own documentation gives a base URL without `/v1`, one with `/beta` for what is not
settled yet, and one with `/anthropic` for Anthropic's API; programs written for it keep them.
"""

from typing import NamedTuple

from baseload.apis import openai
from baseload.apis.anthropic.dialect import MESSAGES as MESSAGES_DIALECT
from baseload.apis.dialect import Dialect
from baseload.apis.responses.speech import Responses
from baseload.gateway import native
from baseload.gateway.native import Tongue


class Route(NamedTuple):
    """How one path is answered: where backends are asked, and what the ledger calls it."""

    upstream_path: bytes
    api: str
    dialect: Dialect | None = None
    """What its callers speak, if not what backends are asked in."""
    is_beta: bool = False
    """DeepSeek is asked at its beta address, where it can do more; see `apis.deepseek`."""
    id_name: bytes = b""
    """The header in which they look for the request's id."""
    tongue: Tongue | None = None
    """The same, where some backends speak it themselves."""


VERSION = b"/v1"
BETA = b"/beta"
ANTHROPIC = b"/anthropic"
MESSAGES = b"/messages"
COUNT = b"/messages/count_tokens"
CHAT, COMPLETIONS, EMBEDDINGS = openai.MODEL_PATHS
COUNTING = Route(b"", "", MESSAGES_DIALECT, id_name=b"request-id")
"""How errors are worded where prompts are counted."""

_PLAIN = {path: Route(path, path.decode().removeprefix("/")) for path in openai.MODEL_PATHS}
_RESPONSES = Route(CHAT, "responses", Responses(), tongue=native.RESPONSES)
_MESSAGES = Route(CHAT, "messages", MESSAGES_DIALECT, id_name=b"request-id", tongue=native.MESSAGES)
_BELOW = _PLAIN | {b"/responses": _RESPONSES, MESSAGES: _MESSAGES}
KNOWN = tuple(_BELOW)
"""What can be asked below `/v1`."""

ROUTES: dict[bytes, Route] = {
    **{prefix + path: route for path, route in _BELOW.items() for prefix in (b"", VERSION)},
    **{
        prefix + path: _PLAIN[path]._replace(is_beta=True)
        for path in (CHAT, COMPLETIONS)
        for prefix in (BETA, BETA + VERSION)
    },
    **{prefix + MESSAGES: _MESSAGES for prefix in (ANTHROPIC, ANTHROPIC + VERSION)},
}


def below(path: bytes) -> bytes:
    """Give what follows the base URL, whichever of them it is."""
    return path.removeprefix(ANTHROPIC).removeprefix(BETA).removeprefix(VERSION)


def is_anthropic(path: bytes) -> bool:
    """Say whether whoever asks for this path expects Anthropic's errors."""
    return path.startswith(ANTHROPIC) or below(path).startswith(MESSAGES)
