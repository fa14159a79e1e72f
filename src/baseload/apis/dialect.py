"""How does a caller who speaks another API than chat completions get a chat's answer?

A *dialect* is one such API. Its request is put into a chat's request before the call begins, and
whatever comes back is put into its own words on the way out; the call itself, and all that is
decided about it, never learns of it. One answer's way back is a *speech*, because a stream has to
remember what it has said.

Where a backend speaks the dialect itself, the answer's way is `NativeSpeech`: it passes as it came.

Not here: the dialects themselves (each has a module), and connections.
"""

from typing import Protocol

UNSTREAMED = "The backend answered without a stream."


class SpeechError(ValueError):
    """A whole answer cannot be put into the dialect; says why, for the caller."""


class Speech(Protocol):
    """One answer's way from a chat's words into the dialect's. Pure: bytes in, bytes out."""

    def answer(self, body: bytes) -> bytes:
        """Put a whole chat completion into the dialect; raises `SpeechError` if it is none."""

    def feed(self, whole: bytes) -> bytes:
        """Put whole events of a chat's stream into the dialect's; maybe none come of them."""

    def end(self, last: bytes) -> bytes:
        """The same for the last events of a stream; what is open is closed."""


class Dialect(Protocol):
    """One API. Stateless."""

    def read(self, body: bytes) -> tuple[bytes, Speech]:
        """Give a request as a chat's request, and the speech for its answer.

        Raises `openai.BadRequestError` with a sentence for the caller.
        """

    def error(self, status: int, body: bytes) -> bytes:
        """Put an error in OpenAI's shape, with its HTTP status, into the dialect's."""


class NativeSpeech:
    """What the ways of answers that are in a dialect's words already have in common."""

    _is_over = False
    """An error was given: what comes after it would be a second one."""

    def __init__(self, *, is_stream: bool = False) -> None:
        self._is_stream = is_stream

    def answer(self, body: bytes) -> bytes:
        """Give it as it came; raises `SpeechError` where the caller would look for events in it."""
        if self._is_stream:
            raise SpeechError(UNSTREAMED)
        return body
