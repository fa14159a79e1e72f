"""Connections of callers: when to read, in which order to answer, and when to give up.

Requests are answered one at a time and in the order in which they came; while one is being
answered, no more than one read's worth of others is taken in. Then the reading stops, and with it
the sight of that caller's leaving: whoever sends ahead is found to be gone at the next write.

Nobody may hold a connection for nothing: idle ones, slow heads, silent bodies and unread answers
each have a clock. The clocks are timestamps that a sweep looks at once in a second, so they cost
nothing while traffic flows.

A refusal that leaves part of a request unread is written, and then the connection *lingers*: what
still comes is thrown away for a moment, because closing upon unread bytes would make the kernel
destroy the refusal on its way.

Not here: what a request asks for. It is handed to `Shared.handle`, which sees to it that this
connection's `answer`, or `begin` to `end`, is called sooner or later.
"""

import asyncio
from math import inf
from typing import Protocol, cast

from baseload.apis.openai import error_body
from baseload.config.fleet import Inbound
from baseload.gateway.requests import BODY, HEAD, IDLE, Phase, Reader, Refused, Request

WRITE_BUFFER_BYTES = 256 * 1024
LINGER_S = 2.0
SWEEP_S = 1.0
"""How often the clocks are looked at; each may be noticed this much late."""

_REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 402: b"Payment Required",
    403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout",
    413: b"Content Too Large", 417: b"Expectation Failed", 422: b"Unprocessable Content",
    429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
}  # fmt: skip
_STATUS_LINES = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, reason) for status, reason in _REASONS.items()
}


class Busy(Protocol):
    """Whoever is making the answer on a connection."""

    def caller_gone(self) -> None:
        """The connection is closed."""

    def pause(self) -> None:
        """The caller does not read: make no more of the answer for now."""

    def resume(self) -> None:
        """The caller reads again."""


class Shared(Protocol):
    """What all connections have in common."""

    inbound: Inbound
    clients: "set[Client]"
    is_draining: bool
    is_leaving: bool
    """Another process has taken the port over: every connection ends with its next answer."""
    coarse_now: float
    """The time as of the last sweep: free to read, and exact enough for these clocks."""

    def handle(self, client: "Client", request: Request) -> None:
        """Answer a request, now or later; if later, `client.busy` is set first."""

    def refusal_of(self, authorization: bytes) -> str:
        """Say why whoever shows this may not come in; empty if they may."""

    def refused(self, status: int) -> bytes:
        """Count a request that never became one; give a name for it."""

    def worded(self, path: bytes, status: int, body: bytes) -> bytes:
        """Give an error in the words of those who ask for a path."""


class Client(asyncio.Protocol):
    """One connection of a caller."""

    __slots__ = (
        "_is_closing",
        "_is_full",
        "_is_paused",
        "_is_serving",
        "_reader",
        "_request",
        "_shared",
        "_transport",
        "busy",
        "due",
    )

    def __init__(self, shared: Shared) -> None:
        self.busy: Busy | None = None
        self.due = shared.coarse_now + shared.inbound.idle_s
        self._shared = shared
        self._reader = Reader(shared.inbound, shared.refusal_of)
        self._request = Request()
        self._is_closing = self._is_full = self._is_paused = self._is_serving = False

    # -- the transport -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or turn it away if there are too many."""
        self._transport = transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's is no subclass
        transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        shared = self._shared
        shared.clients.add(self)
        if shared.is_draining:
            self._close()
        elif len(shared.clients) > shared.inbound.connections:
            self._refuse(Refused(503, "The gateway has too many open connections."))

    def data_received(self, data: bytes) -> None:
        """Read; answer if nobody is being answered, else stop reading."""
        if self._is_closing:
            return
        reader = self._reader
        was = reader.phase
        reader.feed(data)
        if self.busy is not None or self._is_full:
            if reader.phase is not IDLE or (reader.items and not self._is_paused):
                self._is_paused = True
                self._transport.pause_reading()
            return
        if reader.items:
            self._serve()
        if self.busy is None:
            self._watch(was)

    def eof_received(self) -> bool:
        """Take a caller that closes its half for gone, as most proxies do."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever is making an answer that nobody wants it any more."""
        self._shared.clients.discard(self)
        self._is_closing = True
        self._reader.items.clear()
        busy, self.busy = self.busy, None
        if busy is not None:
            busy.caller_gone()

    def pause_writing(self) -> None:
        """The caller reads too slowly: slow down the answer, and start its clock."""
        self._is_full = True
        self.due = self._shared.coarse_now + self._shared.inbound.unread_s
        if self.busy is not None:
            self.busy.pause()

    def resume_writing(self) -> None:
        """The caller has caught up."""
        self._is_full = False
        if self._is_closing:
            return
        if self.busy is not None:
            self.due = inf
            self.busy.resume()
        else:
            self.due = self._shared.coarse_now + self._shared.inbound.idle_s
            self._serve()

    # -- clocks ------------------------------------------------------------------------------

    def overdue(self) -> None:
        """A clock ran out: of an unread answer, a slow request, or an idle connection."""
        if self._is_closing or self.busy is not None or self._transport.get_write_buffer_size():
            self._transport.abort()
        elif self._reader.phase is IDLE:
            self._close()
        else:
            self._reader.time_out()
            self._serve()

    def close_if_idle(self) -> None:
        """For a drain: close unless a request is being read or answered."""
        if self.busy is None and self._reader.phase is IDLE and not self._is_closing:
            self._close()

    def give_up(self) -> None:
        """For the end of a drain: tell a caller that is still sending a request."""
        if self.busy is None and self._reader.phase is not IDLE and not self._is_closing:
            self._refuse(Refused(503, "The gateway is stopping."))

    def _watch(self, was: Phase) -> None:
        """Set the clock for what is awaited next; the head's runs from its first byte."""
        if self.busy is not None or self._is_full or self._is_closing:
            return
        reader, inbound, now = self._reader, self._shared.inbound, self._shared.coarse_now
        if reader.wants_continue:
            reader.wants_continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if reader.phase is BODY:
            self.due = now + inbound.body_s + SWEEP_S
        elif reader.phase is not HEAD:
            self.due = now + inbound.idle_s + SWEEP_S
        elif was is not HEAD:
            self.due = now + inbound.header_s + SWEEP_S

    # -- answers -----------------------------------------------------------------------------

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """Give a whole answer. `head` is lines that end with CRLF."""
        request = self._request
        self._transport.write(
            b"%b%bcontent-length: %d\r\n%b\r\n%b"
            % (
                _status_line(status), head, len(body),
                self._connection(),
                b"" if request.method == b"HEAD" else body,
            )
        )  # fmt: skip
        self._done()

    def begin(self, status: int, head: bytes, first: bytes) -> None:
        """Begin an answer of unknown length; HTTP/1.0 knows it by the connection's end."""
        request = self._request
        if request.is_http_1_0:
            request.keep_alive = False
            framing = b""
        else:
            framing, first = b"transfer-encoding: chunked\r\n", _chunk(first)
        self._transport.write(
            b"%b%b%b%b\r\n%b" % (_status_line(status), head, framing, self._connection(), first)
        )

    def write(self, body: bytes) -> None:
        """Give more of a begun answer; `body` is not empty."""
        if self._request.is_http_1_0:
            self._transport.write(body)
        else:
            self._transport.write(b"%x\r\n%b\r\n" % (len(body), body))

    def end(self, last: bytes) -> None:
        """End a begun answer."""
        if self._request.is_http_1_0:
            self._transport.write(last)
        else:
            self._transport.write(_chunk(last) + b"0\r\n\r\n")
        self._done()

    def abort(self) -> None:
        """Close at once: the one way left to say that a begun answer is not whole."""
        self.busy = None
        self._is_closing = True
        self._transport.abort()

    def _connection(self) -> bytes:
        request = self._request
        if self._shared.is_draining or self._shared.is_leaving:
            request.keep_alive = False
        if not request.keep_alive:
            return b"connection: close\r\n"
        return b"connection: keep-alive\r\n" if request.is_http_1_0 else b""

    def _done(self) -> None:
        """An answer is complete: go on to the next request, or close."""
        self.busy = None
        if not self._request.keep_alive:
            self._close()
            return
        if not self._is_full:
            self.due = self._shared.coarse_now + self._shared.inbound.idle_s
        if self._is_serving:
            return
        if self._reader.items or self._is_paused:
            self._serve()
        if self._reader.phase is not IDLE:
            self._watch(IDLE)  # A request whose beginning came before or during the answer.

    def _serve(self) -> None:
        """Handle requests until an answer is unfinished or unread, or none is left."""
        items = self._reader.items
        self._is_serving = True
        while items and self.busy is None and not self._is_full and not self._is_closing:
            item = items.popleft()
            if type(item) is Request:
                self.due = inf
                self._request = item
                self._shared.handle(self, item)
                item.body = b""  # Whoever answers has it, for as long as it is needed.
            elif type(item) is Refused:
                self._refuse(item)
        self._is_serving = False
        if self._is_paused and self.busy is None and not self._is_full:
            self._is_paused = False
            self._transport.resume_reading()

    def _refuse(self, refused: Refused) -> None:
        """Say why, then linger until the caller has had time to read it."""
        request_id = self._shared.refused(refused.status)
        kind = "unavailable_error" if refused.status == 503 else "invalid_request_error"
        code = "invalid_api_key" if refused.status == 401 else None
        body = error_body(refused.message, kind, code, None, request_id.decode())
        body = self._shared.worded(refused.path, refused.status, body)
        head = b"content-type: application/json\r\nx-request-id: %b\r\nconnection: close\r\n"
        if refused.status == 401:
            head += b"www-authenticate: Bearer\r\n"
        self._transport.write(
            b"%b%bcontent-length: %d\r\n\r\n%b"
            % (_status_line(refused.status), head % request_id, len(body), body)
        )
        self._is_closing = True
        self.due = self._shared.coarse_now + LINGER_S
        if self._transport.can_write_eof():  # TLS has no half close; there the caller must close.
            self._transport.write_eof()

    def _close(self) -> None:
        """Close once everything is written; a caller that does not read gets a bounded time."""
        self._is_closing = True
        self.due = self._shared.coarse_now + self._shared.inbound.unread_s
        self._transport.close()


def _status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""
