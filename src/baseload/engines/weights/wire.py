"""How is a file, or a part of one, asked for over HTTP, and what do refusals mean?

Redirects are followed here and not by the client: a token goes to the host that it is for and to no
other, and where a hub sends its files is remembered, so that it is not asked again for each range.
Errors quote the name of a file and never the address it was redirected to, which may be signed.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from baseload import __version__
from baseload.engines.weights.pieces import Listing, Piece, WeightsError

if TYPE_CHECKING:
    import httpx

CONNECT_S = 10.0
SILENCE_S = 30.0
"""The longest that a server may say nothing."""

REDIRECTS_MAX = 5
BLOCK_BYTES = 1024 * 1024
TEXT_BYTES_MAX = 64 * 1024 * 1024
TEXT_MAX_S = 300.0
"""The largest list of files that is read, and how long it may take to come."""

RETRY_AFTER_MAX_S = 300.0
"""The longest wait that a server may ask for."""

CONNECTIONS_MAX = 16
_MOVED = {301, 302, 303, 307, 308}
_PASSING = {408, 425, 429, 500, 502, 503, 504}


class PassingError(Exception):
    """It did not work now and may later; `after_s` is the wait that the server asked for."""

    def __init__(self, what: str, after_s: float = 0.0) -> None:
        super().__init__(what)
        self.after_s = after_s


class ChangedError(Exception):
    """What is at the source is no longer what was listed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes of a file, from `begin` on."""

    begin: int
    """0 if it is no part: then it is all of the file."""
    is_part: bool
    size_bytes: int | None
    """Of the whole file; None if the server does not say."""
    etag: str
    blocks: Iterator[bytes]


Opening = Callable[[Piece, int, int], AbstractContextManager[Answer]]
"""Opens a file from one byte up to, and without, another. Raises WeightsError where asking again is
no use, PassingError where it may be, ChangedError, OSError."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from: what there is, and how each file is opened."""

    listing: Listing
    open: Opening


@dataclass(slots=True)
class Token:
    """A secret that is shown to one origin only. Its own text never appears in a message."""

    origin: str
    secret: str = field(repr=False)
    variable: str
    """The environment variable that it comes from, for messages."""
    cookie: str = ""
    """A cookie that holds it, too, where a server wants that."""


class Wire:
    """An HTTP client with the house's rules. Its methods may be called from several threads."""

    def __init__(self, token: Token | None = None) -> None:
        """Make the client; raises WeightsError if httpx is not installed."""
        self._http = _httpx()
        self._token = token
        self._lock = threading.Lock()
        self._moved: dict[str, str] = {}
        """Where files were redirected to, by the address that was asked first."""
        self._client = self._http.Client(
            timeout=self._http.Timeout(SILENCE_S, connect=CONNECT_S),
            limits=self._http.Limits(max_connections=CONNECTIONS_MAX),
            headers={"user-agent": f"baseload/{__version__}", "accept-encoding": "identity"},
            follow_redirects=False,
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def text(self, url: str, called: str) -> tuple[str, Any]:
        """Give a small text and its headers. Raises WeightsError, PassingError."""
        with self._asked("GET", url, {}, called) as answer:
            data, began_s = bytearray(), time.monotonic()
            for block in answer.iter_raw():
                data += block
                if len(data) > TEXT_BYTES_MAX:
                    raise WeightsError(f"{called}: longer than {TEXT_BYTES_MAX} bytes")
                if time.monotonic() - began_s > TEXT_MAX_S:
                    raise PassingError(f"{called}: did not come within {TEXT_MAX_S:g} s")
            return data.decode("utf-8", "replace"), answer.headers

    def size(self, url: str, called: str) -> int:
        """Give a file's size; raises WeightsError if the server does not say, PassingError."""
        with self._asked("HEAD", url, {}, called) as answer:
            length = str(answer.headers.get("content-length", ""))
        if not length.isdigit():
            raise WeightsError(f"{called}: the server does not say how long it is")
        return int(length)

    @contextmanager
    def open(self, piece: Piece, begin: int, end: int) -> Iterator[Answer]:
        """Open a file from `begin` up to `end`, or all of it if the server has no ranges."""
        asked = {"range": f"bytes={begin}-{end - 1}"}
        with self._asked("GET", piece.at, asked, piece.path) as answer:
            said = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("content-range", ""))
            length = str(answer.headers.get("content-length", ""))
            size: int | None = int(length) if length.isdigit() else None
            at = 0
            if said is not None:  # ModelScope gives 200 with it; what counts is what it says.
                at, size = int(said[1]), None if said[2] == "*" else int(said[2])
            elif answer.status_code == 206:
                raise PassingError(f"{piece.path}: the server does not say which part it sends")
            etag = str(answer.headers.get("etag", "")).removeprefix("W/")
            # As it comes: blocks of a given size would be lost with a connection that breaks.
            yield Answer(at, said is not None, size, etag, answer.iter_raw())

    @contextmanager
    def _asked(
        self, method: str, url: str, headers: dict[str, str], called: str
    ) -> Iterator["httpx.Response"]:
        """Ask, follow redirects, and give an answer whose status is good."""
        with self._lock:
            at = self._moved.get(url, url)
        was_moved = at != url
        try:
            for _ in range(REDIRECTS_MAX + 1):
                request = self._client.build_request(method, at, headers=headers | self._shown(at))
                answer = self._client.send(request, stream=True)
                try:
                    if answer.status_code not in _MOVED:
                        if was_moved and answer.status_code in {401, 403, 404, 410}:
                            with self._lock:
                                self._moved.pop(url, None)  # A signed address ends after a while.
                            raise PassingError(f"{called}: where it was redirected to is no more")
                        self._see_status(answer, called, is_moved=origin_of(at) != origin_of(url))
                        _see_packing(answer, called)
                        with self._lock:
                            self._moved[url] = at
                        yield answer
                        return
                finally:
                    answer.close()
                at = led_to(at, answer.headers.get("location", ""), called)
        except self._http.TransportError as error:
            raise PassingError(f"{called}: {type(error).__name__} {error}".rstrip()) from None
        except (self._http.InvalidURL, self._http.DecodingError, ValueError) as error:
            raise WeightsError(f"{called}: {error}") from None
        raise WeightsError(f"{called}: redirected more than {REDIRECTS_MAX} times")

    def _shown(self, url: str) -> dict[str, str]:
        """Give the token's header if this is the origin that it is for."""
        token = self._token
        if token is None or not token.secret or origin_of(url) != token.origin:
            return {}
        shown = {"authorization": f"Bearer {token.secret}"}
        return shown | ({"cookie": f"{token.cookie}={token.secret}"} if token.cookie else {})

    def _see_status(self, answer: "httpx.Response", called: str, *, is_moved: bool) -> None:
        code = answer.status_code
        if code in {200, 206}:
            return
        variable = self._token.variable if self._token else ""
        if code in _PASSING:
            after_s = retry_after_s(answer.headers.get("retry-after", ""), datetime.now(UTC))
            raise PassingError(f"{called}: the server answers {code}", after_s)
        if code == 416:
            raise ChangedError(f"{called}: the server has no such part of it")
        if is_moved and code in {401, 403}:
            raise PassingError(f"{called}: where it was redirected to answers {code}")
        what = {
            401: "it is not open to all" + f"; set {variable} to a token" * bool(variable),
            403: "it may not be read"
            + f"; are its terms accepted, and is {variable} right?" * bool(variable),
            404: "there is no such model, file or revision, or it is private",
        }.get(code, "no use in asking again")
        raise WeightsError(f"{called}: {code}: {what}")


def origin_of(url: str) -> str:
    """Give scheme, host and port of a URL: to whom a token is shown."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def retry_after_s(text: str, now: datetime) -> float:
    """Give the wait that a Retry-After asks for, in seconds or as a date; 0 if it says nothing."""
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), RETRY_AFTER_MAX_S))
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return min(max(0.0, (then - now).total_seconds()), RETRY_AFTER_MAX_S)


def _see_packing(answer: "httpx.Response", called: str) -> None:
    """Refuse an answer that is packed: unpacked it may be of any size, and nobody asked for it."""
    packing = answer.headers.get("content-encoding", "identity")
    if packing.lower() != "identity":
        raise WeightsError(f"{called}: the server packs it ({packing[:20]}), asked not to")


def led_to(at: str, location: str, called: str) -> str:
    """Give where a redirect or a link leads; raises WeightsError if nowhere, or less safe."""
    to = urljoin(at, location)
    scheme = urlsplit(to).scheme
    if not location or scheme not in {"http", "https"}:
        raise WeightsError(f"{called}: redirected to no web address")
    if urlsplit(at).scheme == "https" and scheme == "http":
        raise WeightsError(f"{called}: redirected from https to http, which anybody may listen to")
    return to


def _httpx() -> Any:
    try:
        import httpx as found  # noqa: PLC0415 - an extra that only this verb needs
    except ImportError:
        raise WeightsError(
            "httpx is not installed: run `pip install 'baseload[weights]'`"
        ) from None
    return found
