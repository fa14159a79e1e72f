"""A caller who speaks another API, seen from the call as a plain caller of chat completions.

It stands between the two as an interpreter does: what the call gives is put into the caller's
dialect and handed on. Bytes of a stream arrive here as whole events, because that is all that a
call ever gives. An answer that is no stream can only be put into other words once it is whole.

Not here: the words (`apis`), and the connection.
"""

from baseload.apis import openai
from baseload.apis.assemble import ANSWER_BYTES_MAX
from baseload.apis.dialect import Dialect, Speech, SpeechError
from baseload.gateway.answering import Caller
from baseload.gateway.server import Busy

EVENT_STREAM = b"text/event-stream"
_ID = b"x-request-id: "


class Translator:
    """The interpreter for one call."""

    def __init__(self, caller: Caller, dialect: Dialect, id_name: bytes = b"") -> None:
        """`id_name` is the header in which the dialect's callers look for the request's id."""
        self._caller, self._dialect, self._id_name = caller, dialect, id_name
        self.speech: Speech | None = None
        """Set once the request has been understood; until then there can only be errors."""
        self._is_stream = False
        self._status, self._head = 0, b""
        self._whole: bytearray | None = None
        """An answer that is no stream and comes in pieces."""

    @property
    def busy(self) -> Busy | None:
        """Whoever makes the answer, as the caller's own connection knows it."""
        return self._caller.busy

    @busy.setter
    def busy(self, busy: Busy | None) -> None:
        self._caller.busy = busy

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """Give a whole answer or an error."""
        if status < 400 and self.speech is not None:
            try:
                body = self.speech.answer(body)
            except SpeechError as error:
                status = 502
                body = openai.error_body(str(error), "backend_error", "backend_failed", None, "")
        if status >= 400:
            body = self._dialect.error(status, body)
        self._caller.answer(status, self._with_id(head), body)

    def begin(self, status: int, head: bytes, first: bytes) -> None:
        """Begin a stream, or gather what is none."""
        self._is_stream = EVENT_STREAM in head
        if self._is_stream or self.speech is None:
            self._caller.begin(status, self._with_id(head), self._say(first))
        else:
            self._status, self._head, self._whole = status, head, bytearray(first)

    def write(self, body: bytes) -> None:
        """Give more of it."""
        if self._whole is not None:
            if len(self._whole) < ANSWER_BYTES_MAX:
                self._whole += body
        elif said := self._say(body):
            self._caller.write(said)

    def end(self, last: bytes) -> None:
        """End it."""
        if self._whole is not None:  # Too large, it is half an answer, and no JSON: an error.
            self.answer(self._status, self._head, bytes(self._whole) + last)
            return
        if self._is_stream and self.speech is not None:
            last = self.speech.end(last)
        self._caller.end(last)

    def abort(self) -> None:
        """Break it off; where nothing was given yet, that can still be said."""
        if self._whole is None:
            self._caller.abort()
            return
        message = "The backend broke off in the middle of this answer."
        body = openai.error_body(message, "backend_error", "stream_broken", None, "")
        self.answer(502, self._head, body)

    def _say(self, whole: bytes) -> bytes:
        if not self._is_stream or self.speech is None:
            return whole
        return self.speech.feed(whole)

    def _with_id(self, head: bytes) -> bytes:
        """Give the request's id under the name by which the caller knows it, unless it stands."""
        name = self._id_name
        if not name or b"\r\n" + name + b": " in head:
            return head
        request_id = head.partition(_ID)[2].partition(b"\r\n")[0]
        return head + b"%b: %b\r\n" % (name, request_id)
