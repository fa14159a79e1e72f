"""What is open on the operator's port: health, readiness, metrics.

Load balancers and Prometheus ask without a token, and learn nothing else by it.

Not here: all that needs the token (`door`), and the page.
"""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from baseload.web.api import Api
from baseload.web.door import address_of, id_of
from baseload.web.guard import Guard
from baseload.web.problem import ProblemError


class _Pages:
    """One method a page."""

    def __init__(self, api: Api, guard: Guard, registry: CollectorRegistry) -> None:
        self._api = api
        self._guard = guard
        self._registry = registry

    async def index(self, _request: Request) -> Response:
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


def health_routes(api: Api, guard: Guard, registry: CollectorRegistry) -> list[BaseRoute]:
    """Give the routes to all of them, and to a list of them at `/`."""
    pages = _Pages(api, guard, registry)
    found = {
        "/": pages.index,
        "/healthz": pages.healthz,
        "/readyz": pages.readyz,
        "/metrics": pages.metrics,
    }
    return [Route(path, page, methods=["GET"]) for path, page in found.items()]


async def problem_page(request: Request, error: Exception) -> Response:
    """Say that there is no such page, or that it cannot be asked for like this."""
    assert isinstance(error, ProblemError)
    return error.answer(id_of(request))
