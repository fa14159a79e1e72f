"""What does a request want, who wants it, and may they? The desk at which calls begin.

A request comes in whole; out goes an answer, a refusal, or a call in the driver's hands.

Not here: bytes and connections (`server`), who may come in (`door`), what is no call (`sidedesk`),
and what becomes of a call (`exchange`).
"""

from baseload.apis import openai
from baseload.apis.estimate import BYTES_PER_TOKEN
from baseload.apis.prompts import texts
from baseload.config.fleet import Model
from baseload.core.facts import Call
from baseload.core.quota import Hold, Verdict
from baseload.gateway.answering import Caller
from baseload.gateway.callers import prefix_of, priority_of
from baseload.gateway.door import Door, House, heard
from baseload.gateway.eavesdropping import Eavesdropper
from baseload.gateway.exchange import Exchange
from baseload.gateway.native import Native, Natives
from baseload.gateway.requests import Request
from baseload.gateway.routes import COMPLETIONS, COUNT, COUNTING, EMBEDDINGS, ROUTES, Route
from baseload.gateway.server import Client
from baseload.gateway.sidedesk import SideDesk
from baseload.gateway.tenants import Tenant
from baseload.gateway.tracing import Tracer, passed_on
from baseload.gateway.translating import Translator

_ONE = (None, 1)


class Reception:
    """The desk of one gateway."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._door = door = Door(house)
        self._numbers = door.numbers
        self.side = SideDesk(house, door)
        self.tracer: Tracer | None = None
        """Decides which calls are traced, if any are."""
        self.read_fleet()

    def read_fleet(self) -> None:
        """Look up in the fleet what is asked of it for every call; again whenever it changes."""
        house = self._house
        self.hears_bodies = house.fleet.log.bodies
        """What is asked and answered is written to the log."""
        self._by_prefix = {name for name in house.fleet.models if house.gate.wants_prefix(name)}
        self._natives = Natives(house.fleet)
        self.side.read_fleet()

    def request_id(self) -> bytes:
        """Give a name to a request that has none."""
        return self._door.request_id()

    def worded(self, path: bytes, status: int, body: bytes) -> bytes:
        """Give an error in the words of those who ask for a path."""
        path = path.partition(b"?")[0]
        route = COUNTING if path.endswith(COUNT) else ROUTES.get(path)
        if route is None or route.dialect is None:
            return body
        return route.dialect.error(status, body)

    def route_of(self, path: bytes) -> Route | None:
        """Say how a path is answered."""
        return ROUTES.get(path)

    def tenant_of(self, owner: str) -> Tenant | None:
        """Give whose key has this name now; None if there is no such key any more."""
        return self._house.tenants.named(owner)

    def handle(self, client: Client, request: Request) -> None:
        """Answer a request, or begin its call."""
        request_id = request.request_id or self._door.request_id()
        route = ROUTES.get(request.path)
        house = self._house
        if route is not None and request.method == b"POST" and not house.is_draining:
            tenant = house.tenants.known.get(request.authorization)
            if tenant is not None:  # As nearly always: nothing more need be looked at.
                self.ask(
                    client, tenant, route, request.body, request.priority, request_id,
                    request.traceparent,
                )  # fmt: skip
                return
        self._look_closer(client, request, route, request_id)

    def _look_closer(
        self, client: Client, request: Request, route: Route | None, request_id: bytes
    ) -> None:
        """Answer a request that is not as most are: of somebody new, or for something else."""
        if route is None:
            path = request.path.partition(b"?")[0]
            route = ROUTES.get(path)
            if route is None:
                self.side.handle(client, request, path, request_id)
                return
        tenant = self._door.admit(client, request, b"POST", request_id, route)
        if tenant is None:
            return
        if self._house.is_draining:
            text, code = "The gateway is stopping.", "gateway_stopping"
            self._door.refuse(heard(client, route), request_id, 503, text, code)
            return
        self.ask(
            client, tenant, route, request.body, request.priority, request_id, request.traceparent
        )

    def ask(
        self, caller: Caller, tenant: Tenant, route: Route, body: bytes, wish: bytes,
        request_id: bytes, traceparent: bytes = b"",
    ) -> None:  # fmt: skip
        """Begin a call for a caller, or refuse it; `wish` is the priority that it asks for."""
        house = self._house
        native: Native | None = None
        if route.dialect is not None or self.hears_bodies:
            caller = self._accompany(caller, route, body, request_id)
        try:
            if type(caller) is Translator:
                body, native = self._translate(caller, route, body)
            asked = openai.read_request(body)
            priority = max(priority_of(wish), tenant.priority) if wish else tenant.usual
        except openai.BadRequestError as error:
            self._door.refuse(caller, request_id, 400, str(error), error.code, error.param)
            return
        model = house.fleet.models.get(asked.model)
        if model is None or (tenant.models is not None and asked.model not in tenant.models):
            self._door.refuse_model(caller, request_id, asked.model, tenant)
            return
        now, path = house.driver.clock(), route.upstream_path
        prompt, answer = 1 + len(body) // BYTES_PER_TOKEN, asked.answer_tokens()
        hold = verdict = None
        if tenant.scopes:
            choices = texts(body) if path == COMPLETIONS else asked.choices()
            most = 0 if path == EMBEDDINGS else answer * choices
            hold, verdict = self._hold(tenant, model, prompt, most)
        call = Call(
            next(self._numbers), asked.model, now + model.total_s, asked.stream is True,
            tenant.name, priority, prompt, answer,
            prefix_of(body) if asked.model in self._by_prefix else 0, path == EMBEDDINGS,
            hold is not None and verdict is None,
        )  # fmt: skip
        exchange = Exchange(house, caller, call, tenant, model, path, body, request_id, now)
        if route.api != exchange.api or route.is_beta or traceparent or self.tracer is not None:
            self._say_more(exchange, route, native, traceparent)
        if hold is not None:
            exchange.hold, exchange.verdict = hold, verdict
        if asked.n not in _ONE or path == COMPLETIONS:
            exchange.has_choices = True
        caller.busy = exchange
        if not model.share_identical or not self._share(caller, exchange, model):
            house.driver.start(exchange, now)

    # -- within ------------------------------------------------------------------------------

    def _accompany(self, caller: Caller, route: Route, body: bytes, request_id: bytes) -> Caller:
        """Have somebody beside the caller who writes down, or translates, what is said."""
        if self.hears_bodies:
            caller = Eavesdropper(caller, request_id, body)
        return heard(caller, route)

    def _translate(
        self, translator: Translator, route: Route, body: bytes
    ) -> tuple[bytes, Native | None]:
        """Give a request as a chat's, and in its own words where a backend may speak them."""
        assert route.dialect is not None
        asked, translator.speech = self._natives.read(route.dialect, route.tongue, body)
        native = None if route.tongue is None else Native(route.tongue, body, translator)
        return asked, native

    def _hold(
        self, tenant: Tenant, model: Model, prompt: int, answer: int
    ) -> tuple[Hold | None, Verdict | None]:
        """Give what a call is to set aside, and how its limits stand if that is done already.

        What can be granted here and now need not be asked for by the flow. Who may join another's
        call has nothing set aside before that is known.
        """
        books, scopes = self._house.books, tenant.scopes.get(model.name)
        if scopes is None or books.counters is None:
            return None, None  # Nothing is limited, or nobody counts here.
        hold = books.hold(scopes, prompt, answer, model)
        return hold, None if model.share_identical else books.counters.grant(hold)

    def _say_more(
        self, exchange: Exchange, route: Route, native: Native | None, traceparent: bytes
    ) -> None:
        """Give a call what most calls have not: another API than chats, a trace."""
        exchange.api, exchange.is_beta = route.api, route.is_beta
        tongue = route.tongue
        if tongue is not None and self._natives.speak(tongue, exchange.call.model):
            exchange.native = native
        trace = self.tracer.begin(traceparent) if self.tracer is not None else None
        exchange.trace = trace
        exchange.trace_line = trace.header() if trace is not None else passed_on(traceparent)

    def _share(self, caller: Caller, exchange: Exchange, model: Model) -> bool:
        """Let the caller join those who ask the same, or be the first; say whether it joined."""
        assert model.share_identical
        call, request_id, crowds = exchange.call, exchange.request_id, self._house.crowds
        question = (exchange.path, exchange.is_beta, call.key, call.priority, exchange.body)
        crowd = crowds.find(question)
        if crowd is not None:
            self._house.telemetry.shared += 1
            crowd.join(caller, request_id)
            return True
        exchange.caller = crowd = crowds.open(question, request_id)
        crowd.busy = exchange
        crowd.join(caller, request_id)
        return False
