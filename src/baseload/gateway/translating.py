"""A caller who speaks another API, seen from the call as a plain caller of chat completions.

It stands between the two as an interpreter does: what the call gives is put into the caller's
dialect and handed on. Bytes of a stream arrive here as whole events, because that is all that a
call ever gives.

Not here: the words (`apis`), and the connection.
"""

from baseload.apis.dialect import Dialect, Speech
from baseload.gateway.answering import Caller
from baseload.gateway.server import Busy

EVENT_STREAM = b"text/event-stream"


class Translator:
    """The interpreter for one call."""

    def __init__(self, caller: Caller, dialect: Dialect) -> None:
        self._caller, self._dialect = caller, dialect
        self.speech: Speech | None = None
        """Set once the request has been understood; until then there can only be errors."""
        self._is_stream = False

    @property
    def busy(self) -> Busy | None:
        """Whoever makes the answer, as the caller's own connection knows it."""
        return self._caller.busy

    @busy.setter
    def busy(self, busy: Busy | None) -> None:
        self._caller.busy = busy

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """Give a whole answer or an error."""
        if status >= 400 or self.speech is None:
            self._caller.answer(status, head, self._dialect.error(status, body))
        else:
            self._caller.answer(status, head, self.speech.answer(body))

    def begin(self, status: int, head: bytes, first: bytes) -> None:
        """Begin a stream; an answer too large to be held, and no stream, is passed on as it is."""
        self._is_stream = EVENT_STREAM in head
        self._caller.begin(status, head, self._say(first))

    def write(self, body: bytes) -> None:
        """Give more of it."""
        if said := self._say(body):
            self._caller.write(said)

    def end(self, last: bytes) -> None:
        """End it."""
        if self._is_stream and self.speech is not None:
            last = self.speech.end(last)
        self._caller.end(last)

    def abort(self) -> None:
        """Break it off."""
        self._caller.abort()

    def _say(self, whole: bytes) -> bytes:
        if not self._is_stream or self.speech is None:
            return whole
        return self.speech.feed(whole)
