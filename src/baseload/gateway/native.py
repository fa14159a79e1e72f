"""When is a call passed on in its caller's own words, because a backend speaks its API itself?

Each attempt is one or the other. To a backend that speaks Anthropic's API goes what the caller
wrote, byte for byte but for the model's name, and what it answers is given on as it came; to all
others the same call goes as a chat. So a model may have both kinds of backends, and a call that
found one of them broken goes to the other. Which it was is decided with the first token.

An answer that is passed on like this cannot be gone on with elsewhere when it breaks: nothing of it
is kept, and Anthropic's API has no way to say that every server understands.

Calls that share one answer are always translated: each of their callers may speak another API.
"""

from typing import Protocol

from baseload.apis import openai
from baseload.apis.anthropic.blocks import UnmappedError
from baseload.apis.anthropic.dialect import NativeSpeech
from baseload.apis.anthropic.wire import AnthropicWire
from baseload.apis.dialect import Dialect, Speech
from baseload.config.fleet import Fleet
from baseload.gateway.attempt import Attempt
from baseload.gateway.upstream import NATIVE


class Interpreter(Protocol):
    """Whoever puts answers into the caller's words."""

    speech: Speech | None


class Native:
    """One call in its caller's words."""

    __slots__ = ("_body", "_interpreter")

    def __init__(self, body: bytes, interpreter: Interpreter) -> None:
        self._body, self._interpreter = body, interpreter

    def asks(self, attempt: Attempt) -> bool:
        """Send the call in its own words, if the attempt's backend understands them."""
        backend, send = attempt.pool.backend, attempt.send
        if backend.anthropic_path is None or send.is_resumed:
            return False
        attempt.wire, attempt.is_native = AnthropicWire(), True
        if not send.call.is_stream:
            attempt.expect_whole()
        body = self._body
        if send.target.model != send.call.model:
            body = openai.rename_model(body, send.call.model, send.target.model)
        attempt.ask(NATIVE, body)
        return True

    def pass_on(self, *, is_stream: bool) -> None:
        """From now on what the caller is given is in its words already."""
        self._interpreter.speech = NativeSpeech(is_stream=is_stream)


class Natives:
    """Which models of a fleet have backends that speak Anthropic's API."""

    def __init__(self, fleet: Fleet) -> None:
        speaks = {
            model.name: [
                fleet.backends[name].anthropic_path is not None
                for tier in model.tiers
                for name in tier
            ]
            for model in fleet.models.values()
            if not model.share_identical
        }
        self.some = frozenset(name for name, each in speaks.items() if any(each))
        """At least one of their backends does."""
        self._all = frozenset(name for name, each in speaks.items() if all(each))

    def read(self, dialect: Dialect, body: bytes) -> tuple[bytes, Speech]:
        """Put a request into a chat's words; what has none goes through where all speak natively.

        Raises `BadRequestError` with a sentence for the caller.
        """
        try:
            return dialect.read(body)
        except UnmappedError:
            if openai.read_request(body).model not in self._all:
                raise
            return body, NativeSpeech()
