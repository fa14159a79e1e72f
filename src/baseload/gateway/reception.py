"""What does a request want, who wants it, and may they? The desk at which calls begin.

A request comes in whole; out goes an answer, a refusal, or a call in the driver's hands. Paths are
one table. What is not asked of a model (the list of models, and whatever else is added beside it)
is answered here, without the flow.

Not here: bytes and connections (`server`), and what becomes of a call (`exchange`).
"""

import os
from itertools import count
from typing import NamedTuple, Protocol

from baseload.apis import openai
from baseload.apis.dialect import Dialect
from baseload.config.fleet import Fleet, Model
from baseload.core.facts import DEFAULT, Call
from baseload.core.quota import Hold
from baseload.gateway.answering import Caller, Plane
from baseload.gateway.callers import prefix_of, priority_of
from baseload.gateway.eavesdropping import Eavesdropper
from baseload.gateway.exchange import Exchange
from baseload.gateway.requests import Request
from baseload.gateway.server import Client
from baseload.gateway.sharing import Crowds
from baseload.gateway.tenants import Tenant, Tenants
from baseload.gateway.tracing import Tracer, passed_on
from baseload.gateway.translating import Translator

BYTES_PER_TOKEN = 4
"""A request's bytes for each token of its prompt: near enough to tell large from small."""
SHOWN_BYTES_MAX = 100
_ONE = (None, 1)
_JSON = b"content-type: application/json\r\nx-request-id: %b\r\n"


class Route(NamedTuple):
    """How one path is answered: where backends are asked, and what the ledger calls it."""

    upstream_path: bytes
    api: str
    dialect: Dialect | None = None
    """What its callers speak, if not what backends are asked in."""


_ROUTES = {
    prefix + path: Route(path, path.decode().removeprefix("/"))
    for path in openai.MODEL_PATHS
    for prefix in (b"", b"/v1")
}
"""DeepSeek's own documentation gives a base URL without `/v1`; programs written for it keep it."""


class Filing(Protocol):
    """The desk for what leads to calls later."""

    def handle(
        self, caller: Caller, request: Request, path: bytes, owner: str, request_id: bytes
    ) -> bool:
        """Answer a request for a path below `/v1`; False if there is nothing of the kind."""


class House(Plane, Protocol):
    """What the desk needs of the gateway."""

    fleet: Fleet
    tenants: Tenants
    crowds: Crowds
    is_draining: bool
    started_at: float


class Reception:
    """The desk of one gateway."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.hears_bodies = house.fleet.log.bodies
        """What is asked and answered is written to the log."""
        self.tracer: Tracer | None = None
        """Decides which calls are traced, if any are."""
        self.filing: Filing | None = None
        """Answers for files and batches, where there is a store for them."""
        self._numbers = count(1)
        self._boot = os.urandom(4).hex().encode()
        self._models_body = openai.models_body(list(house.fleet.models), int(house.started_at))
        self._by_prefix = {name for name in house.fleet.models if house.gate.wants_prefix(name)}

    def route_of(self, path: bytes) -> Route | None:
        """Say how a path is answered."""
        return _ROUTES.get(path)

    def tenant_of(self, owner: str) -> Tenant | None:
        """Give whose key has this name; None if there is no such key any more."""
        return self._house.tenants.named(owner)

    def request_id(self) -> bytes:
        """Give a name to a request that has none."""
        return b"req-%b-%x" % (self._boot, next(self._numbers))

    def handle(self, client: Client, request: Request) -> None:
        """Answer a request, or begin its call."""
        request_id = request.request_id or self.request_id()
        route = _ROUTES.get(request.path)
        if route is None:
            path = request.path.partition(b"?")[0]
            route = _ROUTES.get(path)
            if route is None:
                self._handle_other(client, request, path, request_id)
                return
        if request.method != b"POST":
            self._refuse(client, request_id, 405, "Use POST here.", head=b"allow: POST\r\n")
            return
        tenant = self._house.tenants.find(request.authorization)
        if tenant is None:
            self._refuse(client, request_id, 401, "No such key.", "invalid_api_key")
            return
        self.ask(
            client, tenant, route, request.body, request.priority, request_id, request.traceparent
        )  # fmt: skip

    def ask(
        self, caller: Caller, tenant: Tenant, route: Route, body: bytes, wish: bytes,
        request_id: bytes, traceparent: bytes = b"",
    ) -> None:  # fmt: skip
        """Begin a call for a caller, or refuse it; `wish` is the priority that it asks for."""
        house, dialect = self._house, route.dialect
        if self.hears_bodies:
            caller = Eavesdropper(caller, request_id, body)
        try:
            if dialect is not None:
                caller = translator = Translator(caller, dialect)
                body, translator.speech = dialect.read(body)
            asked = openai.read_request(body)
            priority = priority_of(wish) if wish else DEFAULT
        except openai.BadRequestError as error:
            self._refuse(caller, request_id, 400, str(error), param=error.param)
            return
        model = house.fleet.models.get(asked.model)
        if model is None or (tenant.models is not None and asked.model not in tenant.models):
            self._refuse_model(caller, request_id, asked.model)
            return
        if house.is_draining:
            self._refuse(caller, request_id, 503, "The gateway is stopping.", "gateway_stopping")
            return
        now, path = house.driver.clock(), route.upstream_path
        scopes = tenant.scopes.get(asked.model) if tenant.scopes else None
        call = Call(
            next(self._numbers), asked.model, now + model.total_s, asked.stream is True,
            tenant.name, priority,
            1 + len(body) // BYTES_PER_TOKEN, asked.answer_tokens(),
            prefix_of(body) if asked.model in self._by_prefix else 0,
            path == b"/embeddings",
            scopes is not None,
        )  # fmt: skip
        exchange = Exchange(house, caller, call, tenant, model, path, body, request_id, now)
        exchange.api = route.api
        if traceparent or self.tracer is not None:
            self._trace(exchange, traceparent)
        if scopes is not None:
            exchange.hold = Hold(scopes, call.tokens, 0.0)
        if asked.n not in _ONE or path == b"/completions":
            exchange.has_choices = True
        caller.busy = exchange
        if not model.share_identical or not self._share(caller, exchange, model):
            house.driver.start(exchange, now)

    # -- within ------------------------------------------------------------------------------

    def _trace(self, exchange: Exchange, traceparent: bytes) -> None:
        """Give a call its place in a trace, and what tells backends of it."""
        trace = self.tracer.begin(traceparent) if self.tracer is not None else None
        exchange.trace = trace
        exchange.trace_line = trace.header() if trace is not None else passed_on(traceparent)

    def _share(self, caller: Caller, exchange: Exchange, model: Model) -> bool:
        """Let the caller join those who ask the same, or be the first; say whether it joined."""
        assert model.share_identical
        call, request_id, crowds = exchange.call, exchange.request_id, self._house.crowds
        question = (exchange.path, call.key, call.priority, exchange.body)
        crowd = crowds.find(question)
        if crowd is not None:
            self._house.telemetry.shared += 1
            crowd.join(caller, request_id)
            return True
        exchange.caller = crowd = crowds.open(question, request_id)
        crowd.busy = exchange
        crowd.join(caller, request_id)
        return False

    def _handle_other(
        self, client: Client, request: Request, path: bytes, request_id: bytes
    ) -> None:
        """Answer what is no call: the list of models, one of them, or nothing of the kind."""
        if self.filing is not None and self._file(client, request, path, request_id):
            return
        path = path.removeprefix(b"/v1")
        name = path.removeprefix(b"/models/").decode("utf-8", "replace")
        models = self._house.fleet.models
        if path != b"/models" and not path.startswith(b"/models/"):
            shown = request.path[:SHOWN_BYTES_MAX].decode("ascii", "replace")
            known = ", ".join(f"/v1{path.decode()}" for path in openai.MODEL_PATHS)
            self._refuse(
                client, request_id, 404,
                f"There is nothing at {shown}. Here are {known} and /v1/models.",
            )  # fmt: skip
        elif request.method not in (b"GET", b"HEAD"):
            self._refuse(client, request_id, 405, "Use GET here.", head=b"allow: GET, HEAD\r\n")
        elif path == b"/models":
            client.answer(200, _JSON % request_id, self._models_body)
        elif name in models:
            body = openai.model_body(name, int(self._house.started_at))
            client.answer(200, _JSON % request_id, body)
        else:
            self._refuse_model(client, request_id, name)

    def _file(self, client: Client, request: Request, path: bytes, request_id: bytes) -> bool:
        """Answer a request for files and batches; False if it is none."""
        assert self.filing is not None
        path = path.removeprefix(b"/v1")
        if not path.startswith((b"/files", b"/batches")):
            return False
        tenant = self._house.tenants.find(request.authorization)
        if tenant is None:
            self._refuse(client, request_id, 401, "No such key.", "invalid_api_key")
            return True
        return self.filing.handle(client, request, path, tenant.label, request_id)

    def _refuse_model(self, caller: Caller, request_id: bytes, name: str) -> None:
        known = ", ".join(self._house.fleet.models)
        message = f"The model `{name[:200]}` does not exist here. Known models: {known}."
        self._refuse(caller, request_id, 404, message, "model_not_found", "model")

    def _refuse(
        self, caller: Caller, request_id: bytes, status: int, message: str,
        code: str | None = None, param: str | None = None, head: bytes = b"",
    ) -> None:  # fmt: skip
        self._house.telemetry.refused[status] += 1
        kind = "invalid_request_error" if status < 500 else "unavailable_error"
        body = openai.error_body(message, kind, code, param, request_id.decode())
        caller.answer(status, _JSON % request_id + head, body)
