"""Gateways whose callers have limits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from baseload.config.tenancy import Limits
from baseload.core.quota import Scope
from baseload.gateway.gateway import Gateway
from baseload.gateway.tenants import Tenant
from baseload.store.counters import Counters, LocalCounters
from tests.gateway.harness import Backend, fleet_of


class OneTenant:
    """A double of the door: whoever comes is the same caller, whatever it shows."""

    def __init__(self, *scopes: Scope) -> None:
        self.tenant = Tenant("team-a", "team-a")
        self.tenant.scopes = {"m": scopes}
        self.is_open = False
        self.known: dict[bytes, Tenant] = {}

    def find(self, authorization: bytes) -> Tenant:
        return self.tenant

    def tick(self) -> None:
        """Nobody's time is ever over."""


def key(**limits: float) -> Scope:
    """Give the scope of the one caller's key."""
    return Scope("key:team-a", Limits(**limits), "key team-a")


@asynccontextmanager
async def start_limited(
    backend: Backend, *scopes: Scope, counters: Counters | None = None, **overrides: Any
) -> AsyncIterator[Gateway]:
    """Start a gateway with one caller; at the end nothing may be in flight or set aside."""
    counters = counters or LocalCounters()
    gateway = Gateway(fleet_of(backend, **overrides), counters=counters)
    gateway.tenants = OneTenant(*scopes)  # type: ignore[assignment]
    await gateway.start()
    await counters.start()
    try:
        yield gateway
    finally:
        await gateway.drain()
        await counters.close()

    assert not len(gateway.driver)
    held = [counters.quota.find(scope.name) for scope in scopes]
    assert {(0, 0.0)} == {(card.in_flight, card.held_usd) for card in held if card is not None}
