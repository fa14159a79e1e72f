"""How does a request get to its operation, and its answer back? One door a path.

Method, guard, names, query, body, operation, audit log, answer: always in this order, so that
nothing is read for a stranger and nothing is changed for a request that cannot be read.

Not here: what each of these decides.
"""

import logging
import secrets
import time
from contextlib import suppress

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from baseload.errors import BaseloadError
from baseload.store.audit import Change
from baseload.web.api import Api, Done
from baseload.web.asked import REQUEST_ID, Asked, read_body, read_name, read_query
from baseload.web.guard import Guard
from baseload.web.journal import WARNING_HEADER, Journal
from baseload.web.problem import ProblemError
from baseload.web.routes import NAMES, Route

_JSON = "application/json"

logger = logging.getLogger("baseload.web")


class Door:
    """The ASGI application of one path."""

    def __init__(self, routes: list[Route], api: Api, guard: Guard, journal: Journal) -> None:
        self._routes: dict[str, Route] = {route.method: route for route in routes}
        self._allow = ", ".join(sorted({*self._routes, *(["HEAD"] * ("GET" in self._routes))}))
        self._api = api
        self._guard = guard
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        request_id = id_of(request)
        try:
            answer = await self._answer(request, request_id)
        except ProblemError as problem:
            answer = problem.answer(request_id)
        except ClientDisconnect:
            return
        except Exception:
            logger.exception("operator's port: %s %s", request.method, request.url.path)
            answer = ProblemError(500, "this is a mistake of baseload's; its log says more").answer(
                request_id
            )
        answer.headers["x-request-id"] = request_id
        await answer(scope, receive, send)

    async def _answer(self, request: Request, request_id: str) -> Response:
        route = self._routes.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            raise ProblemError(
                405, f"use one of {self._allow} here", headers={"allow": self._allow}
            )
        who = self._guard.let_in(
            request.headers, address_of(request), is_change=route.is_change, is_open=False
        )
        asked = Asked(who=who, request_id=request_id)
        if route.noun:
            asked.name = read_name(request.path_params["name"], NAMES[route.noun], route.noun)
        asked.query = read_query(request, route.query)
        if route.body is not None:
            asked.body = await read_body(request, route.body, is_optional=route.is_body_optional)
        if not route.is_change:
            return _encoded(route, await self._done(route, asked))
        return await self._change(route, asked)

    async def _done(self, route: Route, asked: Asked) -> Done:
        try:
            return await route.handle(self._api, asked)
        except BaseloadError as error:
            raise self._api.problem_of(error) from error

    async def _change(self, route: Route, asked: Asked) -> Response:
        """Make a change, write down what came of it, and only then answer."""
        request_id, answer = asked.request_id, None
        try:
            done = await self._done(route, asked)
            answer = _encoded(route, done)
            result = "done"
        except ProblemError as problem:
            answer = problem.answer(request_id)
            done, result = Done(body=None), f"{problem.status}: {problem.detail}"
        change = Change(
            at=time.time(),
            request_id=request_id,
            who=asked.who.name,
            address=asked.who.address,
            action=route.name,
            target=done.target or asked.name or getattr(asked.body, "name", ""),
            was=done.was,
            became=done.became,
            result=result,
        )
        if warning := await self._journal.write(change):
            # A header is one line of ASCII; what does not fit is in the log.
            line = " ".join(warning.split()).encode("ascii", "replace").decode()
            answer.headers[WARNING_HEADER] = line
        return answer


def _encoded(route: Route, done: Done) -> Response:
    return Response(msgspec.json.encode(done.body), route.status, media_type=_JSON)


def address_of(request: Request) -> str:
    """Give the address that a request came from."""
    return request.client.host if request.client else ""


def id_of(request: Request) -> str:
    """Give the request's own name, if it has a sound one, or a new one."""
    with suppress(KeyError):
        if REQUEST_ID.fullmatch(name := request.headers["x-request-id"]):
            return name
    return f"adm-{secrets.token_hex(8)}"
