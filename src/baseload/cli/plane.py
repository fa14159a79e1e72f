"""How is the operator's port joined to whatever serves callers, one process or several?

The port lives in a thread of its own, so each question is put to the service's loop and awaited
from there. The store is asked in threads of the port's own (`office`).

Not here: what is asked (`web/plane`), and what is done about it (`station`, `foreman`).
"""

from collections.abc import Awaitable

from prometheus_client import CollectorRegistry

from baseload.cli.office import LateAudit, LateKeys, LateUsage
from baseload.cli.service import Service
from baseload.config.addresses import parse_address
from baseload.gateway.live.view import Live
from baseload.gateway.status import BackendStatus, Status
from baseload.store.keys import KeyExistsError, KeyStore, KeyStoreError, UnknownKeyError
from baseload.store.usage import usage
from baseload.web.operator import Operator, make_app
from baseload.web.pages import page_routes
from baseload.web.plane import Action, Moved, Office, Reloaded, Shapes, UnknownBackendError

_STANDING = {"drain": "drained", "disable": "disabled"}
"""How a backend stands after an order; `enabled` without one."""


class ServicePlane:
    """The data plane of one running baseload, asked from another thread."""

    def __init__(self, service: Service) -> None:
        self.shapes = Shapes(status=Status, backend=BackendStatus, live=Live)
        self._service = service

    def status(self) -> Awaitable[Status]:
        """Take a snapshot."""
        return self._service.ask_status()

    def live(self, since: int) -> Awaitable[Live]:
        """Give what the page shows."""
        return self._service.ask(self._service.live(since))

    def operate(self, backend: str, action: Action) -> Awaitable[Moved]:
        """Enable, drain or disable a backend."""
        return self._service.ask(self._operate(backend, action))

    def reload(self) -> Awaitable[Reloaded]:
        """Read the fleet file again."""
        return self._service.ask(self._reload())

    def drain(self) -> Awaitable[None]:
        """Begin to stop."""
        return self._service.ask(self._drain())

    async def _operate(self, backend: str, action: Action) -> Moved:
        service = self._service
        if backend not in service.fleet.backends:
            known = ", ".join(service.fleet.backends)
            raise UnknownBackendError(f"no backend `{backend}`; there are: {known}")
        was = _STANDING.get(service.orders.get(backend, ""), "enabled")
        words = await service.operate(backend, action)
        return Moved(backend, was, words or "enabled")

    async def _reload(self) -> Reloaded:
        report = await self._service.reload()
        return Reloaded(report.changes, report.needs_restart, report.mistakes)

    async def _drain(self) -> None:
        self._service.stop()


class Port:
    """The operator's port of one service, with what it needs of the store."""

    def __init__(self, service: Service, registry: CollectorRegistry) -> None:
        fleet = service.fleet
        url = fleet.store.ledger
        self._late = (
            LateAudit(url),
            LateKeys(url, KeyStore, service.look_for_keys),
            LateUsage(url, usage),
        )
        audit, keys, used = self._late
        office = Office(
            audit=audit, keys=keys, usage=used, file_keys=lambda: service.fleet.keys,
            statuses={UnknownKeyError: 404, KeyExistsError: 409, KeyStoreError: 422},
        )  # fmt: skip
        address = parse_address(fleet.admin)
        app = make_app(
            ServicePlane(service), office, registry, host=address[0],
            token=lambda: service.fleet.admin_token, more=page_routes(),
        )  # fmt: skip
        self.operator = Operator(address, app)

    def stop(self) -> None:
        """End it; the port is free afterwards."""
        self.operator.stop()
        for one in self._late:
            one.close()
