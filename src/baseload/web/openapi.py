"""How does the admin API describe itself? As OpenAPI 3.1, drawn from the table of routes.

Types become JSON Schema by msgspec, which also reads the requests by them: the description cannot
promise another form than the one that is held.

Not here: health, metrics and the page, which are for probes, Prometheus and people.
"""

from http import HTTPStatus
from typing import Any

import msgspec

from baseload import __version__
from baseload.web.guard import ADMIN_HEADER
from baseload.web.plane import Shapes
from baseload.web.problem import CONTENT_TYPE, Problem
from baseload.web.routes import NAMES, Route

_INTRO = """\
What an operator may see and do on the port `admin` of the fleet file. With an `admin_token` there,
every operation needs it; without one, the port serves this machine only. A change is made and then
written into the audit log; if that fails, the header `x-baseload-warning` says so.
"""
_REF = "#/components/schemas/{name}"
_JSON = "application/json"
Doc = dict[str, Any]


def describe(routes: tuple[Route, ...], shapes: Shapes) -> Doc:
    """Draw the description of these routes."""
    answers = {route.name: route.answer(shapes) for route in routes}
    bodies = {route.name: route.body for route in routes if route.body}
    types = [*answers.values(), *bodies.values(), Problem]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = dict(zip(types, schemas, strict=True))
    paths: Doc = {}
    for route in routes:
        body = by_type[route.body] if route.body else None
        operation = _operation(route, by_type[answers[route.name]], body, by_type[Problem])
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Baseload's admin API", "version": __version__, "description": _INTRO},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The fleet file's `admin_token`.",
                }
            },
        },
    }


def _operation(route: Route, answer: Doc, body: Doc | None, problem: Doc) -> Doc:
    found: Doc = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.path.removeprefix("/api/v1").split("/")[1]],
        "parameters": _parameters(route),
        "responses": {str(route.status): _response(route.status, answer, _JSON)}
        | {str(status): _response(status, problem, CONTENT_TYPE) for status in route.statuses},
    }
    if body is not None:
        found["requestBody"] = {
            "required": not route.is_body_optional,
            "content": {_JSON: {"schema": body}},
        }
    return found


def _parameters(route: Route) -> list[Doc]:
    found: list[Doc] = []
    if route.noun:
        schema = {"type": "string", "pattern": NAMES[route.noun].pattern}
        found.append({"name": "name", "in": "path", "required": True, "schema": schema})
    if route.query is not None:
        (_,), components = msgspec.json.schema_components([route.query])
        for name, schema in components[route.query.__name__]["properties"].items():
            text = schema.pop("description", "")
            found.append({"name": name, "in": "query", "description": text, "schema": schema})
    if route.is_change and (route.body is None or route.is_body_optional):
        found.append(
            {
                "name": ADMIN_HEADER,
                "in": "header",
                "required": True,
                "description": f"Or send `content-type: {_JSON}` instead.",
                "schema": {"type": "string", "enum": ["1"]},
            }
        )
    return found


def _response(status: int, schema: Doc, media_type: str) -> Doc:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {media_type: {"schema": schema}},
    }
