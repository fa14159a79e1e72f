"""One connection to a backend: one request and its answer at a time.

It is lent to a *listener* for a request. What comes back is parsed for framing and given on as body
bytes; what the bytes mean is the listener's business. A connection that ended its answer cleanly
goes back to its home, the pool.

A kept connection may have been closed by the backend just as it was taken. If it dies without a
single byte of answer, the request is sent once more on a fresh one, silently: this is a matter of
the transport and no failure of the backend.
"""

import asyncio
from time import monotonic
from typing import Protocol, cast

import httptools

from baseload.core.facts import LOST, Fact

HEAD_BYTES_MAX = 64 * 1024
"""The largest answer head, as in nginx's and Envoy's order of size."""
WRITE_BUFFER_BYTES = 256 * 1024
RESEND_S_MAX = 1.0
"""A kept connection that dies later than this after it was lent was not closed before it."""
COPY_BYTES_MAX = 16 * 1024
"""Up to here copying a body behind its head is cheaper than handing over two pieces."""

RETRY_AFTER_S_MAX = 86_400.0
"""A backend that wants to be left alone for longer than a day has made a mistake."""

_UNFORWARDED = frozenset(
    b"connection keep-alive proxy-authenticate proxy-connection te trailer transfer-encoding"
    b" upgrade content-length content-type set-cookie server date x-request-id alt-svc"
    b" x-baseload-backend x-baseload-attempts x-baseload-resumed strict-transport-security".split()
)
"""Headers that speak of the connection to the backend, or that the gateway says itself."""

Wire = tuple[bytes, bytes]
"""A request's head and body, as they are sent."""


class Lease(Protocol):
    """What a listener holds while its request is out: a connection, or the dialling of one."""

    def cancel(self) -> object:
        """Want no more of it."""


class Listener(Protocol):
    """Whoever sent a request and hears the answer. The pool keeps `lease` up to date."""

    lease: Lease | None

    def on_answer(self, connection: "Connection", body: bytes, is_complete: bool) -> None:
        """Hear more of the answer; the head is on the connection until its answer is complete."""

    def on_lost(self, reason: str, fact: Fact) -> None:
        """Hear that no more will come: the connection failed, or there never was one."""


class Home(Protocol):
    """Where connections belong."""

    def keep(self, connection: "Connection") -> None:
        """Take back a connection whose answer is complete."""

    def forget(self, connection: "Connection") -> None:
        """Drop a connection that is gone."""

    def dial(self, listener: Listener, request: Wire) -> None:
        """Send a request on a new connection."""


class _NotYet(asyncio.Transport):
    """The transport of a connection that is still being dialled."""

    def abort(self) -> None:
        """Do nothing: there is nothing to close."""


_NOT_YET = _NotYet()


class Connection(asyncio.Protocol):
    """One connection to a backend. Attributes of the answer's head are valid until it is lent."""

    __slots__ = (
        "_can_be_kept",
        "_has_extra",
        "_head_bytes",
        "_home",
        "_parser",
        "_parts",
        "_transport",
        "content_type",
        "headers",
        "is_chunked",
        "is_complete",
        "is_old",
        "is_reused",
        "length",
        "lent_at",
        "listener",
        "request",
        "retry_after_s",
        "status",
    )

    def __init__(self, home: Home) -> None:
        self._home = home
        self.listener: Listener | None = None
        self._transport: asyncio.Transport = _NOT_YET
        self.is_old = False
        """Idle since before the last look at idle connections."""
        self._parser = httptools.HttpResponseParser(self)

    # -- lending -----------------------------------------------------------------------------

    def lend(self, listener: Listener, request: Wire, is_reused: bool) -> None:
        """Send a request and from now on tell the listener what comes."""
        self.listener, self.is_reused = listener, is_reused
        self.request: Wire | None = request
        self.lent_at = monotonic()
        listener.lease = self
        self.is_complete = self._has_extra = self._can_be_kept = False
        self._clear_head()
        head, body = request
        if len(body) > COPY_BYTES_MAX:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head + body)

    def cancel(self) -> None:
        """Close at once: the listener wants no more of this answer."""
        self.listener = None
        self._transport.abort()

    def close(self) -> None:
        """Close when everything is written."""
        self._transport.close()

    def pause(self) -> None:
        """Stop reading: whoever takes the answer is slower than the backend."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def _clear_head(self) -> None:
        self.status, self.length, self.is_chunked = 0, -1, False
        self.content_type, self.retry_after_s = b"", 0.0
        self.headers: list[bytes] = []
        self._parts: list[bytes] = []
        self._head_bytes = 0

    # -- the transport -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's is no subclass
        transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Parse, give back the connection if the answer is complete, and tell the listener."""
        listener = self.listener
        if listener is None:
            self._transport.abort()  # An idle backend has nothing to say.
            return
        self.request = None  # An answer has begun: it will not be sent again, and may be large.
        if (reason := self._parse(data)) is not None:
            self._fail(reason)
            return
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        if self.is_complete:
            self.listener = None
            if self._can_be_kept and not self._has_extra:
                self._home.keep(self)
            else:
                self._transport.close()
            try:
                listener.on_answer(self, body, True)
            except Exception:
                # Nothing more will come, so a defect of ours must not leave the call waiting.
                listener.on_lost("its answer could not be read", LOST)
                raise
        elif self.status:
            listener.on_answer(self, body, False)

    def _parse(self, data: bytes) -> str | None:
        """Feed the parser; give what is wrong with the backend's bytes, if anything is."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.is_complete:
                if self.status and self._parts and self.listener is not None:
                    # What came before the mistake still counts.
                    self.listener.on_answer(self, b"".join(self._parts), False)
                return f"it does not speak HTTP: {error}"
            self._has_extra = True  # Behind a whole answer it is nobody's.
        if not self._parts and not self.is_complete:
            # What `on_header` does not see: half a header, framing without a body.
            self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            return "its answer's head is too large, or its framing comes to no end"
        if self._parts:
            self._head_bytes = 0
        return None

    def eof_received(self) -> bool:
        """Let the transport close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the listener, unless the end of the connection is the end of the answer."""
        self._home.forget(self)
        listener, self.listener = self.listener, None
        if listener is None:
            return
        if self.status and self.length < 0 and not self.is_chunked and exc is None:
            self.is_complete = True  # Delimited by the close, as HTTP/1.0 has it.
            listener.on_answer(self, b"", True)
        elif self.is_reused and self.request and monotonic() - self.lent_at < RESEND_S_MAX:
            self._home.dial(listener, self.request)
        else:
            reason = "it closed the connection" if exc is None else f"the connection broke: {exc}"
            listener.on_lost(reason, LOST)

    def _fail(self, reason: str) -> None:
        listener, self.listener = self.listener, None
        self._transport.abort()
        if listener is not None:
            listener.on_lost(reason, LOST)

    # -- the parser --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Notice a second answer to one request: nobody asked for it."""
        self._has_extra = self.is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep what the caller may see; note what frames the body."""
        if self.is_complete or self.status:
            return  # A trailer, or an answer that nobody asked for.
        self._head_bytes += len(name) + len(value) + 4
        lower = name.lower()
        if lower == b"content-length":
            self.length = int(value)
        elif lower == b"content-type":
            self.content_type = value
        elif lower == b"transfer-encoding":
            self.is_chunked = True
        elif lower == b"retry-after":
            wish_s = float(value) if value.isdigit() else 0.0
            self.retry_after_s = min(wish_s, RETRY_AFTER_S_MAX)
        elif lower not in _UNFORWARDED:
            self.headers.append(b"%b: %b\r\n" % (lower, value))

    def on_headers_complete(self) -> None:
        """Take the status of a real answer; interim ones (100, 103) are passed over."""
        if not self.is_complete:
            status = self._parser.get_status_code()
            if status >= 200:
                self.status = status
            else:
                self._clear_head()

    def on_body(self, body: bytes) -> None:
        """Gather what one read brings."""
        if not self.is_complete:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """Note the end. Only here does the parser know whether the connection may be kept."""
        if self.status:
            self.is_complete = True
            self._can_be_kept = self._parser.should_keep_alive()
