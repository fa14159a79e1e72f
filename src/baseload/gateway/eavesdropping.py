"""Writes down what one call's caller says and is told. For debugging, and only if switched on.

This is the one place in the house from which prompts and answers reach a log. It stands between a
caller and its call only while `log.bodies` is true in the fleet file, which is said loudly when the
gateway starts.
"""

import logging

from baseload.gateway.answering import Caller
from baseload.gateway.server import Busy

SHOWN_BYTES_MAX = 64 * 1024
"""What is written of one body or one piece of an answer."""

_ONE_LINE = {sign: f"\\x{sign:02x}" for sign in (*range(9), *range(11, 32), 127)} | {10: "\\n"}
"""Nothing that is said can look like a line of the log."""

logger = logging.getLogger("baseload.bodies")


class Eavesdropper:
    """Stands beside one caller."""

    def __init__(self, caller: Caller, request_id: bytes, body: bytes) -> None:
        self._caller, self._name = caller, request_id.decode("ascii", "replace")
        self._note("asked", body)

    @property
    def busy(self) -> Busy | None:
        """Whoever makes the answer, as the caller knows it."""
        return self._caller.busy

    @busy.setter
    def busy(self, busy: Busy | None) -> None:
        self._caller.busy = busy

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """Give a whole answer."""
        self._note(f"answered with {status}", body)
        self._caller.answer(status, head, body)

    def begin(self, status: int, head: bytes, first: bytes) -> None:
        """Begin an answer of unknown length."""
        self._note(f"begins to be answered with {status}", first)
        self._caller.begin(status, head, first)

    def write(self, body: bytes) -> None:
        """Give more of it."""
        self._note("goes on with", body)
        self._caller.write(body)

    def end(self, last: bytes) -> None:
        """End it."""
        self._note("ends with", last)
        self._caller.end(last)

    def abort(self) -> None:
        """Break it off."""
        self._note("is broken off", b"")
        self._caller.abort()

    def _note(self, what: str, body: bytes) -> None:
        text = body[:SHOWN_BYTES_MAX].decode("utf-8", "replace").translate(_ONE_LINE)
        logger.info("request %s %s: %s", self._name, what, text, extra={"request_id": self._name})
