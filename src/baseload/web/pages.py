"""The operator's page, and the little that it asks for.

The page is a handful of files without a build step; they come from this package and from nowhere
else, and the browser is told to accept nothing else. It polls `/api/v1/live` once a second and
posts what an operator presses to `/api/v1/backends/{name}/{action}`.

This room knows nothing of gateways: it is given a way to ask how things stand, and one to act.
"""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

PAGE = Path(__file__).parent / "page"
ACTIONS = ("drain", "disable", "enable")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a browser lets the page do: load what lies beside it, and ask where it came from."""
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-cache",  # Kept, but asked for anew: another version may run by now.
}
_WHOLE = re.compile(r"[0-9]{1,15}")

AskLive = Callable[[int], Awaitable[Any]]
"""Tells how things stand, with what is new since a tick; encoded as JSON."""
Operate = Callable[[str, str], Awaitable[Any]]
"""Does an action to a backend; gives what came of it. Raises KeyError for an unknown backend."""


class _Files(StaticFiles):
    """The page's files, each with the headers that keep a browser in bounds."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [pair for pair in message["headers"] if pair[0].lower() not in HEADERS]
                message = {**message, "headers": [*own, *HEADERS.items()]}
            await send(message)

        await super().__call__(scope, receive, guarded)


def page_routes() -> list[BaseRoute]:
    """Give the page itself, at `/page/`, and the way to it from `/`."""

    async def home(_request: Request) -> Response:
        return RedirectResponse("page/")

    return [
        Route("/", home, methods=["GET"]),
        Mount("/page", _Files(directory=PAGE, html=True)),
    ]


def live_routes(ask_live: AskLive, operate: Operate | None = None) -> list[BaseRoute]:
    """Give what the page asks for; without `operate` it can only look."""

    async def live(request: Request) -> Response:
        since = request.query_params.get("since", "0")
        if _WHOLE.fullmatch(since) is None:
            return JSONResponse({"detail": "`since` is a whole number"}, status_code=400)
        now = await ask_live(int(since))
        return Response(msgspec.json.encode(now), media_type="application/json")

    async def act(request: Request) -> Response:
        name, action = request.path_params["name"], request.path_params["action"]
        if request.headers.get("x-baseload-admin") != "1":
            return JSONResponse({"detail": "send `x-baseload-admin: 1`"}, status_code=403)
        if action not in ACTIONS:
            detail = f"an action is one of {', '.join(ACTIONS)}"
            return JSONResponse({"detail": detail}, status_code=404)
        assert operate is not None
        try:
            done = await operate(name, action)
        except KeyError:
            return JSONResponse({"detail": "no such backend"}, status_code=404)
        return Response(msgspec.json.encode(done), media_type="application/json")

    routes: list[BaseRoute] = [Route("/api/v1/live", live, methods=["GET"])]
    if operate is not None:
        routes.append(Route("/api/v1/backends/{name}/{action}", act, methods=["POST"]))
    return routes
