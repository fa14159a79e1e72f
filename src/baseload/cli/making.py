"""The one place where a gateway is made for serving, with all that works beside it in its process.

Whatever a gateway is given beyond its fleet (counters, a ledger), and whatever runs on its loop
besides callers (batches, the watch over keys, traces), is opened and closed here, so that one
process and each of several workers have the same. Not here: engines and the operator's port, of
which there is one, however many workers.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from time import time

from msgspec import structs
from prometheus_client import CollectorRegistry

from baseload.cli.dividing import part_of_key
from baseload.config.addresses import is_loopback, parse_address
from baseload.config.fleet import Fleet
from baseload.core.past import Spent
from baseload.errors import BaseloadError
from baseload.gateway.backoffice import BackOffice
from baseload.gateway.certificate import CertificateMetrics
from baseload.gateway.enginemetrics import EngineMetrics
from baseload.gateway.gateway import Gateway
from baseload.gateway.keywatch import KeyWatch
from baseload.gateway.ledgermetrics import LedgerMetrics
from baseload.gateway.limitmetrics import LimitMetrics
from baseload.gateway.watching import Watching
from baseload.store.counters import open_counters, spent_so_far
from baseload.store.keys import Pass
from baseload.store.ledger import Ledger
from baseload.store.urls import DatabaseError, shown

logger = logging.getLogger("baseload.cli")


class Plant:
    """A gateway, and what works beside it. Raises BaseloadError for what it cannot do without."""

    def __init__(
        self, fleet: Fleet, concurrency: dict[str, int], sharers: int = 1, replicas: int = 1
    ) -> None:
        """Make it inside the running loop; `concurrency` is what is known better than the file.

        `replicas` is how many processes there are of this gateway, as far as is known here, and
        `sharers` is how many processes count the same limits, where these are not counted together:
        each is given its part of them already, in the fleet and in the keys.
        """
        assert sharers >= 1
        self.keys = KeyWatch(fleet.store.ledger)
        self._sharers = sharers
        self.ledger = _open_ledger(fleet)
        self.counters = open_counters(fleet.store.counters, _spent(fleet, sharers), replicas)
        self.gateway = gateway = Gateway(fleet, concurrency, self.counters, self.ledger, replicas)
        gateway.tenants.replace(self._stored_keys())
        if gateway.tenants.is_open:
            _must_not_be_open(fleet)
        self._watching = Watching(gateway)
        jobs = structs.replace(fleet.jobs, concurrency=-(-fleet.jobs.concurrency // replicas))
        self._office = BackOffice(jobs, fleet.store.ledger, gateway.reception)
        self.registry = CollectorRegistry()
        """Everything that is counted in this process."""
        self.registry.register(gateway.telemetry)
        self.registry.register(LedgerMetrics(self.ledger))
        self.registry.register(LimitMetrics(self.counters))
        self.registry.register(EngineMetrics(gateway))
        self.registry.register(CertificateMetrics(lambda: gateway.certificate_ends_at))
        self.registry.register(self._office)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on these sockets, which are ours from now on."""
        await self.counters.start()  # A server that is away is a warning, and looked for later.
        await self.gateway.start(sockets)
        self.keys.start(self._hear_of_keys)
        self._office.start()

    async def drain(self, *, is_succeeded: bool) -> int:
        """Leave, the port to a successor or to nobody; give how many had to be told to stop."""
        gateway = self.gateway
        self._office.pause()  # A successor goes on with what is not finished.
        left = await (gateway.hand_over() if is_succeeded else gateway.drain())
        await self._office.stop()
        await self._watching.stop()
        await asyncio.to_thread(self.keys.stop)
        await self.close()
        return left

    async def close(self) -> None:
        """Write down what is left of finished calls; a second time does nothing."""
        await self.counters.close()
        await asyncio.to_thread(self.ledger.close)

    def alarms(self) -> list[str]:
        """Say what is wrong beside backends and models, in whole sentences."""
        alarm = self.ledger.alarm
        return [] if alarm is None else [f"The ledger cannot be written: {alarm.reason}."]

    def _stored_keys(self) -> tuple[Pass, ...]:
        """Give the store's keys. Who may come in is not guessed at: without them, nobody does."""
        try:
            return self._parts(self.keys.look() or ())
        except DatabaseError as error:
            raise _unusable(error) from error

    def _hear_of_keys(self, passes: tuple[Pass, ...]) -> None:
        """Hand the store's keys over to the loop; it may have ended just now."""
        gateway = self.gateway
        with contextlib.suppress(RuntimeError):
            gateway.loop.call_soon_threadsafe(gateway.tenants.replace, self._parts(passes))

    def _parts(self, passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
        """Give the store's keys with our part of their limits, as the file's come already."""
        if self._sharers == 1:
            return passes
        return tuple(
            structs.replace(one, key=part_of_key(one.key, self._sharers)) for one in passes
        )


def _open_ledger(fleet: Fleet) -> Ledger:
    try:
        return Ledger(fleet.store.ledger, fleet.store.keep_days)
    except DatabaseError as error:
        raise _unusable(error) from error


def _unusable(error: DatabaseError) -> BaseloadError:
    return BaseloadError(f"`store.ledger` cannot be used: {error}")


def _spent(fleet: Fleet, sharers: int) -> Spent:
    """Give our part of the money that is gone; budgets begin anew where nobody can tell."""
    try:
        spent = spent_so_far(fleet.store.ledger, time())
    except DatabaseError as error:
        logger.warning("budgets begin with nothing spent: %s", error)
        return {}
    return {name: (day / sharers, month / sharers) for name, (day, month) in spent.items()}


def _must_not_be_open(fleet: Fleet) -> None:
    """Refuse to serve whoever comes along, unless that was asked for."""
    if fleet.open_to_all or is_loopback(parse_address(fleet.listen)[0]):
        return
    raise BaseloadError(
        f"`listen: {fleet.listen}` can be reached from other machines, and there are no keys: "
        "make one with `baseload keys create NAME`, listen on 127.0.0.1, or set `open_to_all: "
        f"true`; looked for keys in the fleet file and in {shown(fleet.store.ledger)}"
    )
