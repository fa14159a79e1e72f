"""How does a call belong to a caller's trace, and how does a backend hear of it?

W3C's `traceparent` says which trace a request is part of and which span it came from. Where spans
are made here, the call gets a span of its own between the caller's and the backend's; where they
are not, the header is passed on as it came, so that whoever traces on both sides still finds them
joined. The form: www.w3.org/TR/trace-context.

Not here: making and sending spans (`otel`).
"""

import re
from random import Random
from typing import NamedTuple

_FORM = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NOTHING = frozenset((b"0" * 32, b"0" * 16))
_SAMPLED = 1


class Trace(NamedTuple):
    """A call's place in a trace; identifiers in hexadecimal."""

    trace_id: str
    span_id: str
    """The call's own span."""
    parent_id: str
    """The caller's span; empty if the trace begins here."""

    def header(self) -> bytes:
        """Give the line of a request's head for a backend."""
        return b"traceparent: 00-%b-%b-01\r\n" % (self.trace_id.encode(), self.span_id.encode())


class Tracer:
    """Decides which calls are traced."""

    def __init__(self, share: float, rng: Random) -> None:
        self._share, self._rng = share, rng

    def begin(self, traceparent: bytes) -> Trace | None:
        """Give a call its place; None if it is not to be traced.

        A caller who traces decides for the call as well, as its flag says.
        """
        match = _FORM.fullmatch(traceparent) if traceparent else None
        if match is not None and not {match[1], match[2]} & _NOTHING:
            if not int(match[3], 16) & _SAMPLED:
                return None
            return Trace(match[1].decode(), self._id(64), match[2].decode())
        if self._rng.random() >= self._share:
            return None
        return Trace(self._id(128), self._id(64), "")

    def _id(self, bits: int) -> str:
        return f"{self._rng.getrandbits(bits) or 1:0{bits // 4}x}"


def passed_on(traceparent: bytes) -> bytes:
    """Give the line of a head that passes a caller's header on; nothing if it is none."""
    if _FORM.fullmatch(traceparent) is None:
        return b""
    return b"traceparent: %b\r\n" % traceparent
