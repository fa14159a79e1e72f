"""How do things stand, as the operator's page draws it?

One look a second is worth drawing up once, however many pages are open: what is told is of the
last look, and made when it is first asked for. Only the samples and happenings that a page has not
had yet are sent to it.

A view holds no secrets: neither keys nor anything that a caller sent. The words of backends are in
it as they came, and whoever shows them must take care.
"""

import os
import time
from collections.abc import Mapping, Sequence
from itertools import islice

import msgspec

from baseload import __version__
from baseload.config.addresses import show_address
from baseload.gateway.gateway import Gateway
from baseload.gateway.live.happenings import Happening
from baseload.gateway.live.headline import House, ModelView, Place, Trouble, troubles
from baseload.gateway.live.pulse import BRISK_S, Sample
from baseload.gateway.live.spending import KeyView
from baseload.gateway.live.standing import BackendView, Facts, view

_NO_WORDS: Mapping[str, str] = {}


class State(msgspec.Struct, frozen=True):
    """All but what happens one after the other.

    `state` is `serving`, `starting` (no model is served yet) or `draining`; `troubles` are empty
    if all is well, else the worst comes first. Times of day are in seconds since 1970.
    """

    boot: str
    """Another one for each process: what a page knows of an older one is void."""
    tick: int
    """Give it back as `since` to have what is new; it grows, and is no more than that."""
    at: float
    version: str
    listen: str
    uptime_s: float
    state: str
    connections: int
    in_flight: int
    waiting: int
    queue_size: int
    lag_s: float
    troubles: list[Trouble]
    backends: list[BackendView]
    models: list[ModelView]
    keys: list[KeyView]


class Live(msgspec.Struct, frozen=True):
    """What a page polls for."""

    state: State
    samples: list[Sample]
    happenings: list[Happening]


class View:
    """Draws up how one gateway stands."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._boot = os.urandom(6).hex()
        self._state: State | None = None

    def take(
        self,
        since: int = 0,
        engines: Mapping[str, str] = _NO_WORDS,
        modes: Mapping[str, str] = _NO_WORDS,
        alarms: Sequence[str] = (),
    ) -> Live:
        """Tell how things stand, with the samples and happenings after the tick `since`.

        `engines` says of each engine what its supervisor knows, `modes` which backends an operator
        made `draining` or `disabled`, `alarms` what else is wrong, in whole sentences. To be called
        in the event loop's thread.
        """
        pulse = self._gateway.pulse
        if self._state is None or self._state.tick != pulse.tick:
            self._state = self._draw(engines, modes, alarms)
        if since > pulse.tick:  # It comes from another process.
            since = 0
        return Live(self._state, pulse.since(since), pulse.happenings.since(since))

    def forget(self) -> None:
        """Draw anew at the next look: an operator has changed something."""
        self._state = None

    # -- within ------------------------------------------------------------------------------

    def _draw(
        self, engines: Mapping[str, str], modes: Mapping[str, str], alarms: Sequence[str]
    ) -> State:
        gateway, at = self._gateway, time.time()
        pulse, fleet = gateway.pulse, gateway.fleet
        backends = self._backends(engines, modes, at)
        models = _models(gateway, {backend.name for backend in backends if backend.is_usable})
        state = "draining" if gateway.is_draining else "starting"
        if state == "starting" and any(model.is_served for model in models):
            state = "serving"
        brisk = list(islice(reversed(pulse.samples), BRISK_S))
        waiting, in_flight = len(gateway.gate.line), len(gateway.driver)
        found = troubles(
            House(
                backends, models, brisk, alarms, waiting, fleet.queue.size,
                fleet.overload.error_rate, gateway.telemetry.lag_s, gateway.is_draining, in_flight,
            )
        )  # fmt: skip
        return State(
            boot=self._boot,
            tick=pulse.tick,
            at=round(at, 3),
            version=__version__,
            listen=show_address(*gateway.address),
            uptime_s=round(at - gateway.started_at, 1),
            state=state,
            connections=len(gateway.clients),
            in_flight=in_flight,
            waiting=waiting,
            queue_size=fleet.queue.size,
            lag_s=round(gateway.telemetry.lag_s, 4),
            troubles=found,
            backends=backends,
            models=models,
            keys=gateway.books.spending.view(),
        )

    def _backends(
        self, engines: Mapping[str, str], modes: Mapping[str, str], at: float
    ) -> list[BackendView]:
        gateway = self._gateway
        recent, seats, now = gateway.pulse.recent, gateway.gate.seats, gateway.driver.clock()
        total = sum(second.attempts for name in seats for second in recent[name].seconds)
        return [
            view(
                Facts(
                    name, backend.url or f"engine {backend.engine} ({backend.model})", now, at,
                    modes.get(name, ""), engines.get(name), total,
                ),
                seats[name],
                recent[name],
            )
            for name, backend in gateway.fleet.backends.items()
        ]  # fmt: skip


def _models(gateway: Gateway, usable: set[str]) -> list[ModelView]:
    return [
        ModelView(
            name,
            any(place in usable for tier in model.tiers for place in tier),
            [
                [Place(place, target.model, target.share) for place, target in tier.items()]
                for tier in model.tiers
            ],
        )
        for name, model in gateway.fleet.models.items()
    ]
