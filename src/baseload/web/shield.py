"""What every answer of the operator's port says to a browser, and how long it may be asked for.

The headers keep a browser from running anything that is not this port's own, from showing it in a
frame, from guessing types and from keeping what it was shown. There are no CORS headers, ever: no
other page may read from here, or send more than a plain form.

A connection that sends its request's head too slowly, or too much of it, is closed.
"""

import asyncio
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S_MAX = 10.0
"""Longest time for a request's head."""
HEAD_BYTES_MAX = 64 * 1024
"""What a request's head may come to, give or take one read from the socket."""
CONNECTIONS_MAX = 256
"""Beyond it, askers are told 503: operators, probes and Prometheus are few."""
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Shield:
    """Adds `HEADERS` to every answer, where it has none of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Names may hold a quoted `/`: paths are taken apart first and unquoted then.
        scope["path"] = scope.get("raw_path", b"").decode("latin-1") or scope["path"]

        async def send_shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_shielded)


class Impatient(HttpToolsProtocol):
    """Uvicorn's connection, with bounds on a request's head, which it has none of."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_due: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read, and count while a head is being read."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_due is not None and self._head_bytes > HEAD_BYTES_MAX:
            self.send_400_response(f"A request's head has {HEAD_BYTES_MAX} bytes at most.")

    def on_message_begin(self) -> None:
        """Begin to wait for a head, on a connection that was kept."""
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Wait no longer; the body has bounds of its own."""
        self._head_came()
        super().on_headers_complete()

    # -- within ------------------------------------------------------------------------------

    def _expect_head(self) -> None:
        if self._head_due is None:
            self._head_bytes = 0
            self._head_due = self.loop.call_later(HEAD_S_MAX, self.transport.abort)

    def _head_came(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
