"""What operators, load balancers and Prometheus ask, on a port and in a thread of its own.

A gateway that is busy must still say that it is alive, so nothing here shares the data plane's
thread. What is asked of the data plane is asked across threads and with a time limit: if its loop
does not answer in `LOOP_WAIT_S`, it is not healthy, and that is the answer.

This room knows nothing of gateways; it is given a way to ask for a status and a registry.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

LOOP_WAIT_S = 5.0
"""Longest time the data plane's loop may take to answer before it counts as stuck."""
STOP_S_MAX = 5.0


class Status(Protocol):
    """Anything that can say whether callers may be sent here; encoded as JSON."""

    @property
    def is_ready(self) -> bool:
        """Whether to send callers."""


AskStatus = Callable[[], Awaitable[Status]]
"""Takes a snapshot of the data plane; may be awaited in the operator's thread."""


class _Pages:
    """One method a page."""

    def __init__(self, ask_status: AskStatus, registry: CollectorRegistry) -> None:
        self._ask_status = ask_status
        self._registry = registry

    async def index(self, _request: Request) -> Response:
        return JSONResponse({"here": ["/healthz", "/readyz", "/metrics", "/status"]})

    async def healthz(self, _request: Request) -> Response:
        return _stuck() if await self._status() is None else JSONResponse({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        if (now := await self._status()) is None:
            return _stuck()
        if now.is_ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, status_code=503)

    async def status(self, _request: Request) -> Response:
        if (now := await self._status()) is None:
            return _stuck()
        return Response(msgspec.json.encode(now), media_type="application/json")

    async def metrics(self, _request: Request) -> Response:
        text = generate_latest(self._registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    async def _status(self) -> Status | None:
        try:
            async with asyncio.timeout(LOOP_WAIT_S):
                return await self._ask_status()
        except TimeoutError:
            return None


def _stuck() -> Response:
    text = f"the data plane has not answered for {LOOP_WAIT_S:g} s"
    return JSONResponse({"status": "stuck", "detail": text}, status_code=503)


def make_app(
    ask_status: AskStatus, registry: CollectorRegistry, more: Sequence[BaseRoute] = ()
) -> Starlette:
    """Build the operator's application; of two routes for one path, that of `more` is taken."""
    pages = _Pages(ask_status, registry)
    routes = {
        "/": pages.index,
        "/healthz": pages.healthz,
        "/readyz": pages.readyz,
        "/status": pages.status,
        "/metrics": pages.metrics,
    }
    own = [Route(path, page, methods=["GET"]) for path, page in routes.items()]
    return Starlette(routes=[*more, *own])


class Operator:
    """The operator's port, served from a daemon thread between `start` and `stop`."""

    def __init__(self, address: tuple[str, int], app: Starlette) -> None:
        self.address = address
        # Off the main thread, uvicorn leaves signals alone: the drain is the data plane's business.
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                loop="asyncio",
            )
        )
        self._sockets: list[socket.socket] = []
        self._thread: threading.Thread | None = None

    def start(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Serve, on sockets that somebody else opened or on the address.

        Raises OSError if the address cannot be had.
        """
        host, port = self.address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._sockets = list(sockets) or [socket.create_server((host, port), family=family)]
        self.address = (host, self._sockets[0].getsockname()[1])
        self._thread = threading.Thread(
            target=self._server.run, args=(self._sockets,), name="operator", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the port is free afterwards."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_S_MAX)
        for one in self._sockets:
            one.close()
