"""Which operations are there? One table: the doors are hung by it, and the description is drawn.

So nothing is served that is not described, and nothing described that is not served; tests go
through the same table, so that no operation can be forgotten by them.

Not here: what the operations do (`api`), and how a request gets to them (`door`).
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from baseload.web.api import Api, Done
from baseload.web.asked import Asked
from baseload.web.plane import (
    KEY_NAME,
    KeyChanges,
    KeyShown,
    Moved,
    NewKey,
    Reloaded,
    Rotation,
    Shapes,
)
from baseload.web.queries import (
    AuditAnswer,
    AuditQuery,
    Draining,
    KeyMade,
    KeysAnswer,
    LiveQuery,
    UsageAnswer,
    UsageQuery,
)

BACKEND_NAME = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
NAMES = {"backend": re.compile(BACKEND_NAME), "key": re.compile(KEY_NAME)}
"""What stands for `{name}` in a path, by the operation's noun."""
ALWAYS = (400, 401, 403, 429, 501, 503)
"""Problems that any operation may end with."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One operation."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    name: str
    """In the description, and as the audit log's `action`."""
    summary: str
    handle: Callable[[Api, Asked], Awaitable[Done]]
    answer: Callable[[Shapes], type]
    status: int = 200
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    is_body_optional: bool = False
    noun: str = ""
    """What `{name}` names: a key of `NAMES`."""
    problems: tuple[int, ...] = ()

    @property
    def is_change(self) -> bool:
        """Whether it changes something, is guarded as such and goes into the audit log."""
        return self.method != "GET"

    @property
    def statuses(self) -> tuple[int, ...]:
        """All problems that it may end with."""
        found = {*ALWAYS, *self.problems}
        if self.noun:
            found.add(404)
        if self.body:
            found |= {408, 413, 415, 422}
        return tuple(sorted(found))


def _backends(shapes: Shapes) -> type:
    many = list[shapes.backend]  # type: ignore[name-defined]
    return msgspec.defstruct("Backends", [("backends", many)], frozen=True)


_READ = (
    Route(
        method="GET", path="/openapi.json", name="get_description",
        summary="This description.",
        handle=Api.describe, answer=lambda _: dict[str, Any],
    ),
    Route(
        method="GET", path="/status", name="get_state",
        summary="How things stand; what `baseload status` draws.",
        handle=Api.status, answer=lambda shapes: shapes.status,
    ),
    Route(
        method="GET", path="/api/v1/status", name="get_status",
        summary="How things stand.",
        handle=Api.status, answer=lambda shapes: shapes.status,
    ),
    Route(
        method="GET", path="/api/v1/live", name="get_live", query=LiveQuery,
        summary="What the page shows, from a time on.",
        handle=Api.live, answer=lambda shapes: shapes.live,
    ),
    Route(
        method="GET", path="/api/v1/backends", name="list_backends",
        summary="The backends as they stand.",
        handle=Api.backends, answer=_backends,
    ),
    Route(
        method="GET", path="/api/v1/usage", name="get_usage", query=UsageQuery,
        summary="What was used and what it cost, added up.",
        handle=Api.usage, answer=lambda _: UsageAnswer, problems=(422,),
    ),
    Route(
        method="GET", path="/api/v1/audit", name="list_changes", query=AuditQuery,
        summary="Who changed what, newest first.",
        handle=Api.audit, answer=lambda _: AuditAnswer,
    ),
    Route(
        method="GET", path="/api/v1/keys", name="list_keys",
        summary="All keys that are not revoked, without their secrets.",
        handle=Api.keys, answer=lambda _: KeysAnswer,
    ),
    Route(
        method="GET", path="/api/v1/keys/{name}", name="get_key", noun="key",
        summary="One key, without its secrets.",
        handle=Api.key, answer=lambda _: KeyShown,
    ),
)  # fmt: skip

_CHANGE = (
    Route(
        method="POST", path="/api/v1/backends/{name}/enable", name="enable_backend", noun="backend",
        summary="Send calls to a backend again.",
        handle=Api.enable, answer=lambda _: Moved,
    ),
    Route(
        method="POST", path="/api/v1/backends/{name}/drain", name="drain_backend", noun="backend",
        summary="Send no new calls to a backend; open answers go on.",
        handle=Api.drain_backend, answer=lambda _: Moved,
    ),
    Route(
        method="POST", path="/api/v1/backends/{name}/disable", name="disable_backend",
        noun="backend", summary="Send no calls to a backend; those that it has move if they can.",
        handle=Api.disable, answer=lambda _: Moved,
    ),
    Route(
        method="POST", path="/api/v1/keys", name="create_key", status=201, body=NewKey,
        summary="Make a key. Its secret is in this answer and nowhere else.",
        handle=Api.create_key, answer=lambda _: KeyMade, problems=(409,),
    ),
    Route(
        method="PATCH", path="/api/v1/keys/{name}", name="change_key", noun="key", body=KeyChanges,
        summary="Change what a key's holder may do; what is absent stays.",
        handle=Api.change_key, answer=lambda _: KeyShown, problems=(409,),
    ),
    Route(
        method="DELETE", path="/api/v1/keys/{name}", name="revoke_key", noun="key",
        summary="End a key and all of its secrets, now.",
        handle=Api.revoke_key, answer=lambda _: KeyShown, problems=(409,),
    ),
    Route(
        method="POST", path="/api/v1/keys/{name}/rotate", name="rotate_key", noun="key",
        body=Rotation, is_body_optional=True,
        summary="Give a key a new secret, which is in this answer and nowhere else.",
        handle=Api.rotate_key, answer=lambda _: KeyMade, problems=(409,),
    ),
    Route(
        method="POST", path="/api/v1/reload", name="reload",
        summary="Read the fleet file again. A bad file changes nothing: 422 says why.",
        handle=Api.reload, answer=lambda _: Reloaded, problems=(422,),
    ),
    Route(
        method="POST", path="/api/v1/drain", name="drain", status=202,
        summary="Stop, as on SIGTERM: take no calls, wait for open answers, exit.",
        handle=Api.drain, answer=lambda _: Draining,
    ),
)  # fmt: skip

ROUTES: tuple[Route, ...] = _READ + _CHANGE
