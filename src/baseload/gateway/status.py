"""What an operator may want to know right now, as plain data.

A snapshot is taken in the event loop's thread, so it is of one moment. It holds no secrets: neither
keys nor anything that a caller sent.
"""

import os
import time
from collections.abc import Sequence

import msgspec

from baseload import __version__
from baseload.config.addresses import show_address
from baseload.config.fleet import Fleet
from baseload.core.breaker import Phase
from baseload.core.seat import Seat
from baseload.gateway.gateway import DISABLE, Failure, Gateway


class BackendStatus(msgspec.Struct, frozen=True):
    """One backend. `state` is `up`, `probing`, `open` (left alone by its breaker) or `down`.

    It is `asleep` where it is at zero replicas, and calls wait for it. Where an operator closed
    it, it is `draining`, `drained` or `disabled`, and `order` says more.
    `level` is `green`, `yellow` or `red`, and `why` says what turned it. `limit` is what has been
    learnt of its account, `parked` how many calls are queued at the provider, `queued_s` how long
    that has taken lately, `portion` how much of its share it gets now.
    """

    name: str
    where: str
    state: str
    in_flight: int
    limit: int
    failure: Failure | None
    level: str = "green"
    why: str = ""
    parked: int = 0
    queued_s: float = 0.0
    portion: float = 1.0
    order: str = ""
    engine: str | None = None
    """What an engine's supervisor says of it."""


class ModelStatus(msgspec.Struct, frozen=True):
    """One model: whether a call would be taken now, and which backends it has, tier by tier."""

    name: str
    is_served: bool
    tiers: list[list[str]]


class Status(msgspec.Struct, frozen=True):
    """The whole gateway. `state` is `serving`, `starting` (no model served yet) or `draining`."""

    state: str
    version: str
    uptime_s: float
    listen: str
    connections: int
    in_flight: int
    waiting: int
    backends: list[BackendStatus]
    models: list[ModelStatus]
    pid: int = 0
    workers: list[str] = []
    """Of each worker how it stands, where there are several."""
    alarms: list[str] = []
    """What is wrong beside backends and models, in whole sentences."""

    def with_engines(self, engines: dict[str, str]) -> "Status":
        """Give the same with what is known of engines."""
        backends = [
            msgspec.structs.replace(one, engine=engines.get(one.name)) for one in self.backends
        ]
        return msgspec.structs.replace(self, backends=backends)

    @property
    def is_ready(self) -> bool:
        """Whether callers may be sent here: at least one model is served, and no drain began."""
        return self.state == "serving"


def take(
    gateway: Gateway, engines: dict[str, str] | None = None, alarms: Sequence[str] = ()
) -> Status:
    """Take a snapshot. `engines` says of each engine what its supervisor knows.

    `alarms` is what else is wrong, as `Status` has it.
    """
    fleet, seats = gateway.fleet, gateway.gate.seats
    backends = [
        BackendStatus(
            name=name,
            where=backend.url or f"engine {backend.engine} ({backend.model})",
            state=_state(seats[name], gateway.orders.get(name)),
            in_flight=seats[name].in_flight,
            limit=seats[name].limit.limit,
            failure=gateway.failures.get(name),
            level=seats[name].detector.level.name.lower(),
            why=seats[name].detector.reason,
            parked=seats[name].parked,
            queued_s=round(seats[name].detector.queued_s, 3),
            portion=seats[name].portion,
            order=gateway.standing(name),
            engine=(engines or {}).get(name),
        )
        for name, backend in fleet.backends.items()
    ]
    models = _models(fleet, seats)
    if gateway.is_draining or gateway.is_leaving:
        state = "draining"
    else:
        state = "serving" if any(model.is_served for model in models) else "starting"
    return Status(
        state=state,
        version=__version__,
        uptime_s=round(time.time() - gateway.started_at, 1),
        listen=show_address(*gateway.address),
        connections=len(gateway.clients),
        in_flight=len(gateway.driver),
        waiting=len(gateway.gate.line),
        backends=backends,
        models=models,
        pid=os.getpid(),
        alarms=list(alarms),
    )


def _models(fleet: Fleet, seats: dict[str, Seat]) -> list[ModelStatus]:
    return [
        ModelStatus(
            name=name,
            is_served=any(seats[place].is_served() for tier in model.tiers for place in tier),
            tiers=[list(tier) for tier in model.tiers],
        )
        for name, model in fleet.models.items()
    ]


def _state(seat: Seat, order: str | None) -> str:
    if order == DISABLE:
        return "disabled"
    if order is not None:
        return "draining" if seat.in_flight else "drained"
    if not seat.is_up:
        return "down"
    return "up" if seat.breaker.phase is Phase.CLOSED else seat.breaker.phase.value
