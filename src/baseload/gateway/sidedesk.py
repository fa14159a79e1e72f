"""What is asked here that is no call to a model: which models there are, files, counts of tokens.

Not here: what is a call (`reception`), and how the answers are made (`filing`, `counting`).
"""

from typing import Protocol

from baseload.apis import openai
from baseload.gateway.answering import Caller
from baseload.gateway.counting import TokenCounter
from baseload.gateway.door import JSON_HEAD, Door, House, heard
from baseload.gateway.requests import Request
from baseload.gateway.routes import COUNT, COUNTING, KNOWN, below, is_anthropic
from baseload.gateway.server import Client
from baseload.gateway.tenants import Tenant

SHOWN_BYTES_MAX = 100
"""What is repeated of a path."""
_MODELS = b"/models"
_FILED = (b"/files", b"/batches")


class Filing(Protocol):
    """The desk for what leads to calls later."""

    def handle(
        self, caller: Caller, request: Request, path: bytes, owner: str, request_id: bytes
    ) -> bool:
        """Answer a request for a path below `/v1`; False if there is nothing of the kind."""


class SideDesk:
    """The side desk of one gateway."""

    def __init__(self, house: House, door: Door) -> None:
        self._house, self._door = house, door
        self.filing: Filing | None = None
        """Answers for files and batches, where there is a store for them."""
        self._counter = TokenCounter(house)
        self.read_fleet()

    def read_fleet(self) -> None:
        """Look up in the fleet what is asked of it often; again whenever it changes."""
        self._models_body = openai.models_body(list(self._house.fleet.models), self._created)

    def handle(self, client: Client, request: Request, path: bytes, request_id: bytes) -> None:
        """Answer a request for a path that is no call's."""
        under = below(path)
        if under == COUNT:
            self._count_tokens(client, request, request_id)
        elif under == _MODELS or under.startswith(_MODELS + b"/"):
            tenant = self._door.admit(client, request, b"GET", request_id)
            if tenant is not None:
                self._show_models(client, under, tenant, request_id)
        elif not under.startswith(_FILED) or not self._file(client, request, under, request_id):
            shown = request.path[:SHOWN_BYTES_MAX].decode("ascii", "replace")
            known = ", ".join(f"/v1{known.decode()}" for known in KNOWN)
            caller = heard(client, COUNTING) if is_anthropic(path) else client
            message = f"There is nothing at {shown}. Here are {known} and /v1/models."
            self._door.refuse(caller, request_id, 404, message)

    # -- within ------------------------------------------------------------------------------

    @property
    def _created(self) -> int:
        return int(self._house.started_at)

    def _show_models(self, client: Client, path: bytes, tenant: Tenant, request_id: bytes) -> None:
        """Give the models that a caller may use, or one of them."""
        models = self._house.fleet.models
        name = path.removeprefix(_MODELS + b"/").decode("utf-8", "replace")
        if path == _MODELS and tenant.models is None:
            body = self._models_body
        elif path == _MODELS:
            body = openai.models_body(list(filter(tenant.may_use, models)), self._created)
        elif name in models and tenant.may_use(name):
            body = openai.model_body(name, self._created)
        else:
            self._door.refuse_model(client, request_id, name, tenant)
            return
        client.answer(200, JSON_HEAD % request_id, body)

    def _file(self, client: Client, request: Request, path: bytes, request_id: bytes) -> bool:
        """Answer a request for files and batches; False if there is nothing of the kind."""
        if self.filing is None:
            return False
        tenant = self._house.tenants.find(request.authorization)
        if tenant is None:
            self._door.refuse_stranger(client, request, request_id)
            return True
        return self.filing.handle(client, request, path, tenant.label, request_id)

    def _count_tokens(self, client: Client, request: Request, request_id: bytes) -> None:
        """Say how large a prompt of the Messages API is."""
        tenant = self._door.admit(client, request, b"POST", request_id, COUNTING)
        if tenant is None:
            return
        caller = heard(client, COUNTING)
        try:
            asked = openai.read_request(request.body)
            prompt = self._counter.read(request.body)
        except openai.BadRequestError as error:
            self._door.refuse(caller, request_id, 400, str(error), error.code, error.param)
            return
        model = self._house.fleet.models.get(asked.model)
        if model is None or not tenant.may_use(asked.model):
            self._door.refuse_model(caller, request_id, asked.model, tenant)
        else:
            self._counter.answer(caller, model, prompt, request_id)
