"""The operator's page: where are its files, and what may a browser let them do?

The page is a handful of files without a build step; they come from this package and from nowhere
else, and the browser is told to accept nothing else. It asks the admin API once a second for
`/api/v1/live`, and posts what an operator presses to `/api/v1/backends/{name}/{action}`.

Everybody may load it: it holds nothing of this gateway. Not here: what it asks for (`routes`).
"""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

PAGE = Path(__file__).parent / "page"
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
