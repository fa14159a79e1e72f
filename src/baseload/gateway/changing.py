"""How does a running gateway become another one, without anybody noticing?

All that can fail is made first: pools, a certificate. Then everything changes in one step of the
loop, so no call ever sees half of it. Whatever is the same in both fleets is not touched: its pool,
its looks, all that was learnt of it. What has left goes on serving those that it serves already,
through a pool that keeps no connection beyond that.

Not here: reading and checking the file (`config.reading`), engines (`cli`), and what the change
means for calls (`core.gate`).
"""

import logging
import ssl
from typing import Protocol

import msgspec
from msgspec import structs

from baseload.config.fleet import Backend, Fleet, Inbound
from baseload.config.prices import prices_of
from baseload.config.serving import Warm
from baseload.core.rates import Tariff
from baseload.core.setup import Setup
from baseload.gateway.answering import Plane
from baseload.gateway.preparing import certificate_end_of, setup_of, show, tls_of
from baseload.gateway.probes import Probes
from baseload.gateway.reception import Reception
from baseload.gateway.tenants import Tenants
from baseload.gateway.upstream import Pool

FIXED = ("listen", "admin", "state_dir", "store", "log", "otel", "jobs")
"""What holds for as long as the process lives."""

logger = logging.getLogger("baseload.gateway")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a reload. Only names are told, never values: some of them are secrets."""

    is_applied: bool
    changes: list[str] = []
    """What is another now, a line for each."""
    needs_restart: list[str] = []
    """Fields that differ and were left as they are."""
    mistakes: list[str] = []
    """Why nothing was changed."""

    def words(self) -> str:
        """Say it in a few lines."""
        if not self.is_applied:
            return "nothing was changed:\n" + "\n".join(self.mistakes)
        lines = [*self.changes]
        if self.needs_restart:
            lines.append(f"needs a restart, and was left: {', '.join(self.needs_restart)}")
        return "; ".join(lines) or "nothing is different"


class House(Plane, Protocol):
    """What of a gateway is changed."""

    fleet: Fleet
    inbound: Inbound
    setup: Setup
    probes: Probes
    retired: list[Pool]
    orders: dict[str, str]
    tenants: Tenants
    reception: Reception
    tls: ssl.SSLContext | None
    certificate_ends_at: float | None


def change(house: House, fleet: Fleet, concurrency: dict[str, int]) -> Report:
    """Become what a fleet says; raises BaseloadError before anything is changed."""
    old = house.fleet
    fixed = [name for name in FIXED if getattr(fleet, name) != getattr(old, name)]
    if (fleet.tls is None) != (old.tls is None):
        fixed.append("tls")
    fleet = structs.replace(fleet, **{name: getattr(old, name) for name in fixed})
    tls_of(fleet)
    pools = _pools(house, fleet)
    epochs = _epochs(house, fleet)
    changes = _differences(old, fleet)
    if house.tls is not None:
        show(house.tls, fleet)
        house.certificate_ends_at = certificate_end_of(fleet)
        changes.append("tls: the certificate was read again")
    house.fleet, house.inbound = fleet, fleet.inbound
    for name, pool in house.pools.items():
        if pools.get(name) is not pool:
            pool.retire()
            house.retired.append(pool)
    house.pools = pools
    house.manners.read(fleet.backends)
    house.probes.read(pools, fleet.backends)
    house.orders = {name: order for name, order in house.orders.items() if name in pools}
    house.setup = setup_of(fleet, concurrency, house.setup.seed, epochs, house.setup.workers)
    house.driver.reconfigure(house.setup)
    _forgive(house, old)
    house.books.reprice(Tariff(prices_of(fleet)))
    house.tenants.reload(fleet)
    house.reception.read_fleet()
    report = Report(is_applied=True, changes=changes, needs_restart=fixed)
    logger.info("reloaded: %s", report.words())
    return report


def who(backend: Backend) -> tuple[object, ...]:
    """Give what makes a backend the same one as before, so that what was learnt of it holds."""
    if backend.engine is None:
        return backend.url, backend.account
    most = backend.batch.max if backend.batch else None
    serve = structs.replace(backend.serve, warm=Warm())  # An engine is warmed anew as it runs.
    how = backend.url, backend.api_key, serve, backend.concurrency, most
    return backend.engine, backend.model, backend.account, how


def _pools(house: House, fleet: Fleet) -> dict[str, Pool]:
    """Give a pool for each backend: the one that it has, unless anything about it differs."""
    pools = {}
    for name, backend in fleet.backends.items():
        before, known = house.fleet.backends.get(name), house.pools.get(name)
        if known is not None and backend == before:
            pools[name] = known
            continue
        pools[name] = pool = Pool(house.driver.loop, backend)
        if before is not None and known is not None and who(before) == who(backend) and known.url:
            pool.point_at(known.url)  # An engine that goes on.
    return pools


def _epochs(house: House, fleet: Fleet) -> dict[str, int]:
    """Count for each backend how often it has become another one."""
    epochs = dict(house.setup.epochs)
    for name, backend in house.fleet.backends.items():
        if name in fleet.backends and who(backend) != who(fleet.backends[name]):
            epochs[name] = epochs.get(name, 0) + 1
    return {name: epoch for name, epoch in epochs.items() if name in fleet.backends}


def _forgive(house: House, old: Fleet) -> None:
    """Begin anew with backends whose key is another: what was refused was the old one."""
    for name, backend in house.fleet.backends.items():
        before, seat = old.backends.get(name), house.gate.seats[name]
        if before is not None and before.api_key != backend.api_key and seat.is_up:
            house.driver.announce(name, is_up=False)
            house.driver.announce(name, is_up=True)


def _differences(old: Fleet, new: Fleet) -> list[str]:
    """Say what differs: which backends and models, and which of the other fields."""
    changes = []
    for kind in ("backends", "models"):
        before, after = getattr(old, kind), getattr(new, kind)
        signs = [f"+{name}" for name in after if name not in before]
        signs += [f"-{name}" for name in before if name not in after]
        signs += [f"~{name}" for name in after if name in before and after[name] != before[name]]
        if signs:
            changes.append(f"{kind}: {' '.join(signs)}")
    fields = [name for name in Fleet.__struct_fields__ if name not in {"backends", "models"}]
    changes += [name for name in fields if getattr(old, name) != getattr(new, name)]
    return changes
