"""What is open on the operator's port: health, readiness, metrics, and the page itself.

Load balancers and Prometheus ask without a token. The page is open because it holds nothing: it
asks for its data with the token that an operator gives it.

Not here: the data, and the page's own files (`page/`).
"""

from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from baseload.web.api import Api
from baseload.web.door import address_of, id_of
from baseload.web.guard import Guard
from baseload.web.problem import ProblemError

FOLDER = Path(__file__).parent / "page"
"""The page: `index.html` is served at `/`, and everything there at `/page/…`."""
_KEPT = {"cache-control": "no-cache"}
"""A browser keeps the page's files, and asks each time whether they are still the same."""


class _Pages:
    """One method a page."""

    def __init__(self, api: Api, guard: Guard, registry: CollectorRegistry, folder: Path) -> None:
        self._api = api
        self._guard = guard
        self._registry = registry
        self._folder = folder

    def routes(self) -> list[BaseRoute]:
        found: list[BaseRoute] = [
            Route(path, page, methods=["GET"])
            for path, page in {
                "/": self.index,
                "/healthz": self.healthz,
                "/readyz": self.readyz,
                "/metrics": self.metrics,
            }.items()
        ]
        if self._folder.is_dir():
            found.append(Mount("/page", _Files(directory=self._folder)))
        return found

    async def index(self, _request: Request) -> Response:
        file = self._folder / "index.html"
        if file.is_file():
            return FileResponse(file, headers=_KEPT)
        return JSONResponse({"here": ["/healthz", "/readyz", "/metrics", "/openapi.json"]})

    async def healthz(self, request: Request) -> Response:
        return await self._health(request, of_whom="alive")

    async def readyz(self, request: Request) -> Response:
        return await self._health(request, of_whom="ready")

    async def metrics(self, request: Request) -> Response:
        self._let_in(request)
        text = generate_latest(self._registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    async def _health(self, request: Request, of_whom: str) -> Response:
        self._let_in(request)
        try:
            now = await self._api.now()
        except ProblemError as problem:
            return JSONResponse({"status": "stuck", "detail": problem.detail}, status_code=503)
        if of_whom == "alive":
            return JSONResponse({"status": "ok"})
        if now.is_ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, status_code=503)

    def _let_in(self, request: Request) -> None:
        self._guard.let_in(request.headers, address_of(request), is_change=False, is_open=True)


class _Files(StaticFiles):
    def file_response(self, *args: object, **kwargs: object) -> Response:
        answer = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        answer.headers.update(_KEPT)
        return answer


def page_routes(
    api: Api, guard: Guard, registry: CollectorRegistry, folder: Path
) -> list[BaseRoute]:
    """Give the routes to all of them; the page's files are those in `folder`."""
    return _Pages(api, guard, registry, folder).routes()


async def problem_page(request: Request, error: Exception) -> Response:
    """Say that there is no such page, or that it cannot be asked for like this."""
    assert isinstance(error, ProblemError)
    return error.answer(id_of(request))
