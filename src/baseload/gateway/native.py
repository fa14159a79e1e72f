"""When is a call passed on in its caller's own words, because a backend speaks its API itself?

Each attempt is one or the other. To a backend that speaks the caller's API goes what the caller
wrote, byte for byte but for the model's name, and what it answers is given on as it came; to all
others the same call goes as a chat. So a model may have both kinds of backends, and a call that
found one of them broken goes to the other. Which it was is decided with the first token.

An answer that is passed on like this cannot be gone on with elsewhere when it breaks: nothing of it
is kept, and these APIs have no way to say that every server understands.

Calls that share one answer are always translated: each of their callers may speak another API.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from baseload.apis import openai
from baseload.apis.anthropic.dialect import NativeMessagesSpeech
from baseload.apis.anthropic.wire import AnthropicWire
from baseload.apis.dialect import Dialect, Speech
from baseload.apis.openai import UnmappedError
from baseload.apis.responses.wire import NativeResponsesSpeech, ResponsesWire
from baseload.config.fleet import Backend, Fleet
from baseload.gateway.attempt import Attempt
from baseload.gateway.transcript import Wire
from baseload.gateway.upstream import NATIVE, NATIVE_RESPONSES


class Tongue(NamedTuple):
    """An API that some backends speak themselves."""

    path: bytes
    """What their pools are asked for."""
    wire: Callable[[], Wire]
    """How one of their answers is understood."""
    speech: Callable[[bool], Speech]
    """How it is given on, to a caller who wants a stream or none."""
    is_spoken_by: Callable[[Backend], bool]


MESSAGES = Tongue(
    NATIVE,
    AnthropicWire,
    lambda is_stream: NativeMessagesSpeech(is_stream=is_stream),
    lambda backend: backend.anthropic_path is not None,
)
RESPONSES = Tongue(
    NATIVE_RESPONSES,
    ResponsesWire,
    lambda is_stream: NativeResponsesSpeech(is_stream=is_stream),
    lambda backend: backend.responses_path is not None,
)


class Interpreter(Protocol):
    """Whoever puts answers into the caller's words."""

    speech: Speech | None


class Native:
    """One call in its caller's words."""

    __slots__ = ("_body", "_interpreter", "_tongue")

    def __init__(self, tongue: Tongue, body: bytes, interpreter: Interpreter) -> None:
        self._tongue, self._body, self._interpreter = tongue, body, interpreter

    def asks(self, attempt: Attempt) -> bool:
        """Send the call in its own words, if the attempt's backend understands them."""
        tongue, send = self._tongue, attempt.send
        if send.is_resumed or not tongue.is_spoken_by(attempt.pool.backend):
            return False
        attempt.wire, attempt.is_native = tongue.wire(), True
        if not send.call.is_stream:
            attempt.expect_whole()
        body = self._body
        if send.target.model != send.call.model:
            body = openai.rename_model(body, send.call.model, send.target.model)
        attempt.ask(tongue.path, body)
        return True

    def pass_on(self, *, is_stream: bool) -> None:
        """From now on what the caller is given is in its words already."""
        self._interpreter.speech = self._tongue.speech(is_stream)


class Natives:
    """Which models of a fleet have backends that speak a tongue."""

    def __init__(self, fleet: Fleet) -> None:
        self._some: set[tuple[Tongue, str]] = set()
        """At least one of the model's backends does."""
        self._all: set[tuple[Tongue, str]] = set()
        for tongue in (MESSAGES, RESPONSES):
            for model in fleet.models.values():
                names = [name for tier in model.tiers for name in tier]
                speaks = [tongue.is_spoken_by(fleet.backends[name]) for name in names]
                if any(speaks) and not model.share_identical:
                    self._some.add((tongue, model.name))
                    if all(speaks):
                        self._all.add((tongue, model.name))

    def speak(self, tongue: Tongue, model: str) -> bool:
        """Say whether some of a model's backends do."""
        return (tongue, model) in self._some

    def read(self, dialect: Dialect, tongue: Tongue | None, body: bytes) -> tuple[bytes, Speech]:
        """Put a request into a chat's words; what has none goes through where all speak natively.

        Raises `BadRequestError` with a sentence for the caller.
        """
        try:
            return dialect.read(body)
        except UnmappedError:
            asked = openai.read_request(body)
            if tongue is None or (tongue, asked.model) not in self._all:
                raise
            return body, tongue.speech(asked.stream is True)
