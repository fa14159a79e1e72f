"""Bytes of a caller's connection become whole requests, or the reason why they do not.

httptools parses, and strictly: it refuses bare LF, folded headers, doubled or contradictory
lengths. What it does not know are bounds, so they are kept here: of the head, of the body, of what
a chunked body may cost on the wire. No I/O: `feed` takes bytes, `items` holds what came out of
them, in order. After a `Refused` nothing more comes out, because nothing after it can be trusted.
"""

import re
from collections import deque
from collections.abc import Callable
from enum import Enum

import httptools

from baseload.config.fleet import Inbound

PARTS_MAX = 256
"""Pieces of a body that are kept apart; as objects, pieces of two bytes weigh twenty times that."""
RAW_OVER_BODY = 8
"""How many bytes on the wire one byte of a chunked body may cost; above this it is an attack."""
STRANGER_BYTES_MAX = 64 * 1024
"""What is read of a body before it is asked whose it is: a few hundred strangers with bodies of the
largest size would fill the memory, and everybody waits for a key until the body is whole."""
_REQUEST_ID = re.compile(rb"[\w.:/+=-]{1,128}")
_HEADERS = frozenset(
    b"host transfer-encoding content-length expect x-request-id authorization"
    b" traceparent x-api-key x-baseload-priority".split()
)


class Phase(Enum):
    """Where in a request the bytes have come to."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    BROKEN = "broken"


IDLE, HEAD, BODY, BROKEN = Phase  # Bare names: see `core.facts`.


class Request:
    """A whole request, reduced to what the gateway reads of it."""

    method = path = body = request_id = authorization = api_key = priority = traceparent = b""
    keep_alive = is_http_1_0 = False


class Refused:
    """A request that cannot be read, with the HTTP status and the sentence to answer it."""

    __slots__ = ("message", "path", "status")

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        self.path = b""
        """What was asked for, as far as it was understood."""


class _StopReadingError(Exception):
    """Makes the parser stop; the reader knows why."""


class Reader:
    """One connection's requests."""

    __slots__ = (
        "_body_bytes",
        "_body_bytes_max",
        "_body_bytes_most",
        "_bulk",
        "_head_bytes",
        "_head_bytes_max",
        "_hosts",
        "_is_chunked",
        "_is_offer",
        "_length",
        "_parser",
        "_parts",
        "_raw_bytes",
        "_refusal_of",
        "_refused",
        "_request",
        "_unasked_bytes",
        "_unseen_bytes",
        "items",
        "phase",
        "wants_continue",
    )

    def __init__(self, inbound: Inbound, refusal_of: Callable[[bytes], str] | None = None) -> None:
        """`refusal_of` says why whoever shows this key may not send much; empty if they may."""
        self.items: deque[Request | Refused] = deque()
        self.phase = IDLE
        self.wants_continue = False
        """The caller waits for `100 Continue` before it sends the body."""
        self._head_bytes_max = int(inbound.header_kb * 1024)
        self._body_bytes_max = int(inbound.body_mb * 1024 * 1024)
        self._unasked_bytes = min(STRANGER_BYTES_MAX, self._body_bytes_max)
        self._refusal_of = refusal_of
        self._parser = httptools.HttpRequestParser(self)
        self._refused: Refused | None = None
        self._bulk = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes; they must not be empty."""
        while data and self.phase is not BROKEN:
            data = self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        """Parse, up to an offer to upgrade; give what is left to be fed."""
        if self.phase is not IDLE:
            self._raw_bytes += len(data)
            self._unseen_bytes += len(data)
        try:
            self._parser.feed_data(data)
            if self.phase is not IDLE:
                self._check_raw()
        except httptools.HttpParserUpgrade as offer:
            return self._decline() + data[offer.args[0] :]
        except httptools.HttpParserInvalidMethodError:
            self._break(Refused(501, "This HTTP method is not known."))
        except (httptools.HttpParserError, _StopReadingError) as error:
            self._break(self._refused or Refused(400, f"This is not valid HTTP/1.1: {error}."))
        return b""

    def time_out(self) -> None:
        """Give up a request that came too slowly."""
        self._break(Refused(408, "The request did not arrive in time."))

    # -- the parser --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start to gather."""
        self._request = Request()
        self._parts: list[bytes] = []
        # Bytes of the read in which a request begins are not counted: they may be another's.
        self._raw_bytes = self._unseen_bytes = self._head_bytes = self._body_bytes = 0
        self._body_bytes_most = self._unasked_bytes
        self._length = -1
        self._hosts = 0
        self._is_chunked = self.wants_continue = False
        self.phase = HEAD

    def on_url(self, url: bytes) -> None:
        """Keep the target."""
        self._request.path += url
        if len(self._request.path) > self._head_bytes_max:
            self._stop_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Weigh every header, read the few that matter. Trailers are weighed too."""
        self._unseen_bytes = 0
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._head_bytes_max:
            self._stop_head()
        name = name.lower()
        if name not in _HEADERS or self.phase is not HEAD:
            return  # Most headers are of no interest, and a trailer never is.
        if name == b"host":
            self._hosts += 1
        elif name == b"content-length":
            self._length = int(value)
        elif name == b"authorization":
            # A second one is put behind the first, as any proxy may: together they are no key.
            said = self._request.authorization
            self._request.authorization = said + b", " + value if said else value
        elif name == b"transfer-encoding":
            self._is_chunked = True
            if value.lower() != b"chunked":
                self._stop(501, "The only transfer encoding supported is `chunked`.")
        elif name == b"expect":
            if value.lower() != b"100-continue":
                self._stop(417, "The only expectation supported is `100-continue`.")
            self.wants_continue = True
        else:
            self._read_own(name, value)

    def _read_own(self, name: bytes, value: bytes) -> None:
        """Read what few requests have, or few need."""
        if name == b"traceparent":
            self._request.traceparent = value
        elif name == b"x-baseload-priority":
            self._request.priority = value
        elif name == b"x-api-key":  # Anthropic's name for it.
            said = self._request.api_key
            self._request.api_key = said + b", " + value if said else value
        elif _REQUEST_ID.fullmatch(value):
            self._request.request_id = value

    def on_headers_complete(self) -> None:
        """Check what can be said before the body."""
        request = self._request
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._stop(505, "The only versions supported are HTTP/1.1 and HTTP/1.0.")
        request.is_http_1_0 = version == "1.0"
        request.method = self._parser.get_method()
        if request.api_key and not request.authorization:
            request.authorization = b"Bearer " + request.api_key
        self._is_offer = self._parser.should_upgrade()
        if request.method == b"CONNECT":
            self._stop(501, "CONNECT is not supported.")
        if request.is_http_1_0:
            self.wants_continue = False
            if self._is_chunked:
                self._stop(400, "HTTP/1.0 has no chunked requests.")
        elif self._hosts != 1:
            self._stop(400, f"The request has {self._hosts or 'no'} Host headers, not one.")
        if self._length > self._unasked_bytes:
            self._weigh(self._length)
        self.phase = BODY

    def on_body(self, body: bytes) -> None:
        """Gather, up to the bound."""
        self._unseen_bytes = 0
        self._body_bytes += len(body)
        if self._body_bytes > self._body_bytes_most:
            self._weigh(self._body_bytes)
        self.wants_continue = False
        parts = self._parts
        parts.append(body)
        if len(parts) > PARTS_MAX:
            self._bulk += b"".join(parts)
            parts.clear()

    def on_message_complete(self) -> None:
        """Put a whole request out. Only here does the parser know whether to keep alive."""
        if self._is_offer:
            return  # The parser gives up the body of such a request: see `_decline`.
        request, parts = self._request, self._parts
        if self._bulk:
            parts.insert(0, bytes(self._bulk))
            self._bulk = bytearray()
        request.body = parts[0] if len(parts) == 1 else b"".join(parts)
        request.keep_alive = self._parser.should_keep_alive()
        self.items.append(request)
        self._parts = []
        self.wants_continue = False
        self.phase = IDLE

    # -- within ------------------------------------------------------------------------------

    def _decline(self) -> bytes:
        """Give the head anew, for a new parser, without the offer to upgrade.

        Java's own client offers HTTP/2 with every request that is not TLS, and a server may take
        no notice. The parser cannot: it takes what follows the head for another protocol.
        """
        request = self._request
        version = b"1.0" if request.is_http_1_0 else b"1.1"
        lines = [b"%b %b HTTP/%b" % (request.method, request.path, version), b"host: -"]
        if not self._parser.should_keep_alive():
            lines.append(b"connection: close")
        elif request.is_http_1_0:
            lines.append(b"connection: keep-alive")
        if self._is_chunked:
            lines.append(b"transfer-encoding: chunked")
        elif self._length >= 0:
            lines.append(b"content-length: %d" % self._length)
        if self.wants_continue:
            lines.append(b"expect: 100-continue")
        for name, value in (
            (b"x-request-id", request.request_id),
            (b"traceparent", request.traceparent),
            (b"authorization", request.authorization),
            (b"x-api-key", request.api_key),
            (b"x-baseload-priority", request.priority),
        ):
            if value:
                lines.append(b"%b: %b" % (name, value))
        self._parser = httptools.HttpRequestParser(self)
        self.phase = IDLE
        return b"\r\n".join([*lines, b"", b""])

    def _check_raw(self) -> None:
        """Bound what the parser keeps out of our sight, and what chunked framing may cost."""
        if self.phase is HEAD and self._raw_bytes > self._head_bytes_max:
            self._stop_head()
        if self.phase is BODY:
            most = RAW_OVER_BODY * self._body_bytes_max + self._head_bytes_max
            if self._raw_bytes > most:
                self._stop_body()
            if self._unseen_bytes > self._head_bytes_max:
                self._stop(400, "A trailer or a chunk's extension comes to no end.")

    def _weigh(self, size: int) -> None:
        """Let a large body come, if it is not too large, nor a stranger's."""
        if size > self._body_bytes_max:
            self._stop_body()
        if self._refusal_of is not None and (why := self._refusal_of(self._request.authorization)):
            self._stop(401, why)
        self._body_bytes_most = self._body_bytes_max

    def _stop_head(self) -> None:
        most = self._head_bytes_max
        self._stop(431, f"The head is larger than {most} bytes, which `inbound.header_kb` allows.")

    def _stop_body(self) -> None:
        most = self._body_bytes_max
        self._stop(413, f"The body is larger than {most} bytes, which `inbound.body_mb` allows.")

    def _stop(self, status: int, message: str) -> None:
        self._refused = Refused(status, message)
        raise _StopReadingError

    def _break(self, refused: Refused) -> None:
        if self.phase is not IDLE:
            refused.path = self._request.path
        self.phase = BROKEN
        self.wants_continue = False
        self._parts, self._bulk = [], bytearray()
        self.items.append(refused)
