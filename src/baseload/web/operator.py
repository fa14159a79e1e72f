"""What operators, load balancers and Prometheus ask, on a port and in a thread of its own.

A gateway that is busy must still say that it is alive, so nothing here shares the data plane's
thread. What is asked of the data plane is asked across threads and with a time limit: if its loop
does not answer in `LOOP_WAIT_S`, it is not healthy, and that is the answer.

This room knows nothing of gateways; it is given a plane, an office and a registry (`plane`).
"""

import socket
import threading
import time
from collections.abc import Callable, Sequence

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from baseload.web import routes
from baseload.web.api import Api
from baseload.web.backroom import Backroom
from baseload.web.door import Door
from baseload.web.guard import Guard
from baseload.web.health import health_routes, problem_page
from baseload.web.journal import Journal
from baseload.web.openapi import describe
from baseload.web.plane import Office, Plane
from baseload.web.problem import ProblemError
from baseload.web.shield import CONNECTIONS_MAX, Impatient, Shield

STOP_S_MAX = 5.0


def make_app(
    plane: Plane,
    office: Office,
    registry: CollectorRegistry,
    *,
    host: str = "127.0.0.1",
    token: Callable[[], str | None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    more: Sequence[BaseRoute] = (),
) -> Starlette:
    """Build the operator's application for a port that listens on `host`.

    What is in `more` is served to everybody, and before what is here.
    """
    backroom = Backroom()
    api = Api(plane, office, backroom)
    api.description = describe(routes.ROUTES, plane.shapes)
    guard = Guard(host, token, clock)
    journal = Journal(office.audit, backroom)
    by_path: dict[str, list[routes.Route]] = {}
    for route in routes.ROUTES:
        by_path.setdefault(route.path, []).append(route)
    doors: list[BaseRoute] = [
        Route(path, Door(group, api, guard, journal)) for path, group in by_path.items()
    ]
    app = Starlette(
        routes=[*more, *doors, *health_routes(api, guard, registry)],
        middleware=[Middleware(Shield)],
        exception_handlers={ProblemError: problem_page, HTTPException: _no_such_page},
    )
    app.router.redirect_slashes = False
    app.state.backroom = backroom
    return app


async def _no_such_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = f"{request.method} {request.url.path[:100]}: {error.detail}; see /openapi.json"
    problem = ProblemError(error.status_code, text, headers=dict(error.headers or {}))
    return await problem_page(request, problem)


class Operator:
    """The operator's port, served from a daemon thread between `start` and `stop`."""

    def __init__(self, address: tuple[str, int], app: Starlette) -> None:
        self.address = address
        # Off the main thread, uvicorn leaves signals alone: the drain is the data plane's business.
        self._app = app
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=Impatient,
                ws="none",
                limit_concurrency=CONNECTIONS_MAX,
                proxy_headers=False,  # The audit log names who really connected.
                server_header=False,
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
        for one in self._sockets:
            # Whoever comes in by it has this from it. An answer is two small pieces, and the second
            # would wait for word of the first: 40 ms.
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
        self._app.state.backroom.close()
