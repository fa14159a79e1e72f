"""What tests of the door share: a gateway with four kinds of keys, and requests that show one."""

import contextlib
import hashlib
from typing import Any

from baseload.config.fleet import Model, Target
from baseload.config.tenancy import Key
from baseload.gateway.gateway import Gateway
from baseload.store.keys import new_secret
from tests.gateway.harness import PLAIN, Answer, Backend, raw, request, start_gateway

SECRET = new_secret()
NARROW = new_secret()
WRONG = new_secret()
EXPIRED = new_secret()
HI: list[Any] = [{"role": "user", "content": "hi"}]
PATHS = [
    prefix + path
    for prefix in ("", "/v1")
    for path in ("/chat/completions", "/completions", "/embeddings", "/models", "/models/m")
]


def key(name: str, secret: str, **terms: Any) -> Key:
    return Key(name=name, sha256=hashlib.sha256(secret.encode()).hexdigest(), **terms)


KEYS = (
    key("team", SECRET, priority="interactive"),
    key("narrow", NARROW, models=("n",), priority="batch"),
    key("old", EXPIRED, expires="2020-01-01"),
)


def started(
    *backends: Backend, **overrides: Any
) -> contextlib.AbstractAsyncContextManager[Gateway]:
    """Start a gateway with these keys and the models `m`, `n` and `secret-project`."""
    tier = ({"b0": Target(backend="b0", model="m")},)
    models = {name: Model(name=name, tiers=tier, **PLAIN) for name in ("m", "n", "secret-project")}
    return start_gateway(*backends, **{"keys": KEYS, "models": models} | overrides)


def shown(secret: str, header: str = "authorization: Bearer ") -> str:
    return f"{header}{secret}\r\n"


def asking(path: str, head: str = "") -> bytes:
    """Give a request that fits the path, for the model `m`."""
    if "/models" in path:
        return request(path=path, method="GET", head=head)
    return request({"model": "m", "messages": HI, "prompt": "x", "input": "x"}, path, head=head)


async def one(gateway: Gateway, data: bytes) -> Answer:
    """Send a request on a connection of its own."""
    (answer,) = await raw(gateway.address[1], data)
    return answer
