"""How is an operator told that something went wrong? In one form, everywhere.

It is that of RFC 9457 (`application/problem+json`), without a `type`: the status says which kind it
is, and the sentence says the rest. An error of the field names the field.

Not here: what the errors of plane and store are (`plane`), and when they happen.
"""

from http import HTTPStatus

import msgspec
from starlette.responses import Response

from baseload.errors import BaseloadError
from baseload.store.database import DatabaseError
from baseload.web.plane import NotBuiltError, UnknownBackendError

CONTENT_TYPE = "application/problem+json"

STATUSES: dict[type[BaseloadError], int] = {
    UnknownBackendError: 404,
    NotBuiltError: 501,
    DatabaseError: 503,
}


class Problem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The body of every answer that is not a success."""

    title: str
    """The status in words."""
    status: int
    detail: str
    field: str = ""
    """The dotted way to the value at fault."""
    errors: list[str] = []
    """All that is wrong, where it is more than one thing."""
    request_id: str = ""


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str = "",
        errors: list[str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.field = status, detail, field
        self.errors, self.headers = errors or [], headers or {}

    def answer(self, request_id: str) -> Response:
        """Give the answer that says it."""
        problem = Problem(
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            field=self.field,
            errors=self.errors,
            request_id=request_id,
        )
        return Response(
            msgspec.json.encode(problem), self.status, self.headers, media_type=CONTENT_TYPE
        )


def problem_of(error: BaseloadError, statuses: dict[type[BaseloadError], int]) -> ProblemError:
    """Turn an operating error into what an operator is told; what nobody knows is a 503."""
    known = STATUSES | statuses
    status = next((known[kind] for kind in type(error).__mro__ if kind in known), 503)
    return ProblemError(status, str(error))
