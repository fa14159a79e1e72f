"""Who comes in, and how are others turned away? What every desk of the gateway does alike."""

import os
from itertools import count
from typing import Protocol

from baseload.apis import openai
from baseload.config.fleet import Fleet
from baseload.gateway.answering import Caller, Plane
from baseload.gateway.requests import Request
from baseload.gateway.routes import Route
from baseload.gateway.sharing import Crowds
from baseload.gateway.tenants import Tenant, Tenants
from baseload.gateway.translating import Translator

SHOWN_CHARACTERS_MAX = 200
"""What is repeated of a model's name."""
JSON_HEAD = b"content-type: application/json\r\nx-request-id: %b\r\n"
_CHALLENGE = b"www-authenticate: Bearer\r\n"


class House(Plane, Protocol):
    """What the desks need of the gateway."""

    fleet: Fleet
    tenants: Tenants
    crowds: Crowds
    is_draining: bool
    started_at: float


class Door:
    """The door of one gateway."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.numbers = count(1)
        self._boot = os.urandom(4).hex().encode()

    def request_id(self) -> bytes:
        """Give a name to a request that has none."""
        return b"req-%b-%x" % (self._boot, next(self.numbers))

    def admit(
        self, client: Caller, request: Request, method: bytes, request_id: bytes,
        route: Route | None = None,
    ) -> Tenant | None:  # fmt: skip
        """Say who asks; nobody, if it is refused: another method than this, or no such key."""
        tenant = self._house.tenants.find(request.authorization)
        is_right = request.method == method or (method == b"GET" and request.method == b"HEAD")
        if is_right and tenant is not None:
            return tenant
        caller = heard(client, route)
        if is_right:
            self.refuse_stranger(caller, request, request_id)
        else:
            allowed = b"GET, HEAD" if method == b"GET" else method
            text = f"Use {method.decode()} here."
            self.refuse(caller, request_id, 405, text, head=b"allow: %b\r\n" % allowed)
        return None

    def refuse_stranger(self, caller: Caller, request: Request, request_id: bytes) -> None:
        """Turn away a caller whom nobody here knows."""
        why = self._house.tenants.why_not(request.authorization)
        self.refuse(caller, request_id, 401, why, "invalid_api_key", head=_CHALLENGE)

    def refuse_model(self, caller: Caller, request_id: bytes, name: str, tenant: Tenant) -> None:
        """Say that there is no such model; the caller's key may be why, and nothing tells."""
        known = ", ".join(filter(tenant.may_use, self._house.fleet.models))
        shown = name[:SHOWN_CHARACTERS_MAX]
        message = f"The model `{shown}` does not exist here. Known models: {known}."
        self.refuse(caller, request_id, 404, message, "model_not_found", "model")

    def refuse(
        self, caller: Caller, request_id: bytes, status: int, message: str,
        code: str | None = None, param: str | None = None, head: bytes = b"",
    ) -> None:  # fmt: skip
        """Refuse what never became a call."""
        self._house.telemetry.refused[status] += 1
        kind = "invalid_request_error" if status < 500 else "unavailable_error"
        body = openai.error_body(message, kind, code, param, request_id.decode())
        caller.answer(status, JSON_HEAD % request_id + head, body)


def heard(client: Caller, route: Route | None) -> Caller:
    """Give a caller as somebody to whom errors are told in its own words."""
    if route is None or route.dialect is None:
        return client
    return Translator(client, route.dialect, route.id_name)
