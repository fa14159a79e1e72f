"""All connections to one backend: pooled, warm, and one call on each at a time.

A connection that ended its answer cleanly goes back on top of the pile, so the ones at the bottom
grow old and are closed.

Not here: limits (the gate's permits bound the number of connections), retries, timeouts other than
that of connecting.
"""

import asyncio
import errno
import ssl
from collections.abc import Callable

from baseload import __version__
from baseload.apis.counting import APPLY_TEMPLATE, TOKENIZE
from baseload.apis.resume import BETA
from baseload.config.addresses import BaseUrl, parse_url
from baseload.config.fleet import Backend
from baseload.core.facts import STARVED, UNREACHABLE, Fact
from baseload.errors import BaseloadError
from baseload.gateway.connection import Connection, Listener, Wire

_OURS = frozenset((errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS))
"""Reasons for no connection that are the gateway's own, and must not be held against a backend."""


NATIVE = b"/messages"
"""The path, below the base URL in name only, of a call that is asked in Anthropic's own words."""
NATIVE_RESPONSES = b"/responses"
"""The same for one that is asked in those of OpenAI's Responses API."""
_BESIDE_V1 = (TOKENIZE, APPLY_TEMPLATE)
"""Paths of engines that stand beside `/v1`, not below it."""
ANTHROPIC_VERSION = "2023-06-01"
"""The version of Anthropic's API, which its servers want to be told with every request."""


class Pool:
    """All connections to one backend."""

    def __init__(self, loop: asyncio.AbstractEventLoop, backend: Backend) -> None:
        self.backend = backend
        self.identity = b"x-baseload-backend: %b\r\n" % backend.name.encode()
        """The line of an answer's head that says where it came from."""
        self._loop = loop
        self._idle: dict[Connection, None] = {}
        self._open: set[Connection] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._url: BaseUrl | None = None
        self._tls: ssl.SSLContext | None = None
        self._static = b""
        self._heads: dict[bytes, bytes] = {}
        if backend.url is not None:
            self.point_at(backend.url)

    def point_at(self, url: str) -> None:
        """Learn where the backend is. An engine's address is known only once it has started."""
        self._url = parsed = parse_url(url)
        try:
            self._tls = ssl.create_default_context(cafile=self.backend.ca) if parsed.tls else None
        except OSError as error:
            where = f"backends.{self.backend.name}.ca: {self.backend.ca}"
            raise BaseloadError(f"{where}: {error.strerror or error}") from error
        lines = [f"Host: {parsed.authority}", f"User-Agent: baseload/{__version__}"]
        if self.backend.api_key:
            lines.append(f"Authorization: Bearer {self.backend.api_key}")
        lines += ["Content-Type: application/json", "Accept-Encoding: identity"]
        self._static = "".join(line + "\r\n" for line in lines).encode()
        self._heads.clear()

    def head(self, path: bytes) -> bytes:
        """Give the constant part of a request's head for a path below the base URL."""
        if (found := self._heads.get(path)) is None:
            prefix = self._url.path if self._url else ""
            if path.startswith(BETA) or path in _BESIDE_V1:
                prefix = prefix.removesuffix("/v1")  # It stands in the place of the version.
            start = b"POST %b%b HTTP/1.1\r\n" % (prefix.encode(), path)
            if path == NATIVE:
                start = self._native_start()
            elif path == NATIVE_RESPONSES:
                start = f"POST {self.backend.responses_path} HTTP/1.1\r\n".encode()
            found = self._heads[path] = start + self._static
        return found

    def _native_start(self) -> bytes:
        """Give what is different in a head for Anthropic's API: the path, and where the key is.

        The bearer token is sent as well: DeepSeek prefers it, and whoever knows only one of the
        two passes the other over.
        """
        lines = [f"POST {self.backend.anthropic_path} HTTP/1.1"]
        lines.append(f"anthropic-version: {ANTHROPIC_VERSION}")
        if self.backend.api_key:
            lines.append(f"x-api-key: {self.backend.api_key}")
        return "".join(line + "\r\n" for line in lines).encode()

    def get_head(self, path: bytes, *, is_from_root: bool) -> bytes:
        """Give the whole head of a GET, at the root beside `/v1` or below it; empty: no URL yet."""
        if self._url is None:
            return b""
        prefix = self._url.path.removesuffix("/v1") if is_from_root else self._url.path
        return b"GET %b%b HTTP/1.1\r\n%b\r\n" % (prefix.encode(), path, self._static)

    def send(self, listener: Listener, request: Wire) -> None:
        """Send a request on a warm connection, or on a new one."""
        if self._idle:
            # One that is closing just now is found out like any other that the backend has closed.
            self._idle.popitem()[0].lend(listener, request, is_reused=True)
        else:
            self.dial(listener, request)

    def dial(self, listener: Listener, request: Wire) -> None:
        """Send a request on a new connection."""

        def use(connection: Connection) -> None:
            connection.lend(listener, request, is_reused=False)

        listener.lease = self._spawn(use, listener.on_lost)

    def warm(self) -> None:
        """Have one idle connection ready, if the pool knows where to; a failure is kept quiet."""
        if self._url is not None and not self._idle and not self._dials:
            self._spawn(self.keep, lambda _reason, _fact: None)

    def keep(self, connection: Connection) -> None:
        """Take back a connection whose answer is complete."""
        connection.is_old = False
        self._idle[connection] = None

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is gone."""
        self._open.discard(connection)
        self._idle.pop(connection, None)

    def close_old(self) -> None:
        """Close connections that have been idle since the last time this was asked."""
        for connection in list(self._idle):
            if connection.is_old:
                self._idle.pop(connection)
                connection.close()
            connection.is_old = True

    async def close(self) -> None:
        """Close every connection, and wait for the dials under way to end."""
        dials = list(self._dials)
        for dial in dials:
            dial.cancel()
        await asyncio.gather(*dials, return_exceptions=True)
        for connection in list(self._open):
            connection.cancel()

    def _spawn(
        self, use: Callable[[Connection], None], fail: Callable[[str, Fact], None]
    ) -> asyncio.Task[None]:
        task = self._loop.create_task(self._dial(use, fail))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)
        return task

    async def _dial(
        self, use: Callable[[Connection], None], fail: Callable[[str, Fact], None]
    ) -> None:
        connection = Connection(self)
        assert self._url is not None
        try:
            async with asyncio.timeout(self.backend.connect_s):
                await self._loop.create_connection(
                    lambda: connection, self._url.host, self._url.port, ssl=self._tls
                )
        except TimeoutError:
            fail(f"no connection within {self.backend.connect_s:g} s", UNREACHABLE)
        except OSError as error:
            fact = STARVED if error.errno in _OURS else UNREACHABLE
            fail(f"no connection: {error.strerror or error}", fact)
        except ValueError as error:  # A name that cannot be encoded for DNS.
            fail(f"no connection: {error}", UNREACHABLE)
        except asyncio.CancelledError:
            connection.cancel()
            raise
        else:
            self._open.add(connection)
            use(connection)
