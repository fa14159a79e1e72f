"""Replicas in one process: each with shared counters of its own, as gateways would have them."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from baseload.config.tenancy import Limits
from baseload.core.quota import Hold, Scope, Verdict
from baseload.store.redis_wire import RedisWire
from baseload.store.shared_counters import SharedCounters
from tests.gateway.harness import until
from tests.store.overdue import Overdue


def scope(name: str = "key:a", **limits: float) -> Scope:
    return Scope(name, Limits(**limits), name)


class Replica:
    """Asks as an exchange does, and keeps how long each verdict took, and how many were overdue."""

    def __init__(self, counters: SharedCounters) -> None:
        self.counters = counters
        self.took_s: list[float] = []
        self.overdue = Overdue()

    async def ask(self, *scopes: Scope, tokens: int = 1, usd: float = 0.0) -> tuple[Hold, Verdict]:
        """Reserve; give the hold and its verdict."""
        hold = Hold(scopes, tokens, usd)
        told: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        verdict = self.counters.reserve(hold, told.set_result)
        if verdict is None:
            self.overdue.watch(told.done)
            verdict = await told
        self.took_s.append(time.perf_counter() - began)
        return hold, verdict

    async def ask_all(self, count: int, *scopes: Scope, **what: float) -> list[Hold]:
        """Reserve so many at once; give the holds that were granted."""
        found = await asyncio.gather(*(self.ask(*scopes, **what) for _ in range(count)))
        return [hold for hold, verdict in found if verdict.is_granted]

    def settle(self, holds: list[Hold], tokens: int = 1, usd: float = 0.0) -> None:
        for hold in holds:
            self.counters.settle(hold, tokens, usd)

    async def told(self) -> None:
        """Wait until Redis knows all that this replica knows."""
        one = self.counters
        await until(lambda: one.fuse.is_whole and one._out is None and not one._news)


@asynccontextmanager
async def replicas_of(url: str, count: int = 2, **kwargs) -> AsyncIterator[list[Replica]]:
    """Give replicas that have started; at the end they close."""
    found = []
    for number in range(count):
        wire = RedisWire(url, f"r{number}-{os.urandom(4).hex()}")
        found.append(Replica(SharedCounters(wire, url, **kwargs)))
    for replica in found:
        await replica.counters.start()
    try:
        yield found
    finally:
        for replica in found:
            await replica.counters.close()


class Window:
    """What a Redis server has of one scope."""

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        plain = {name.decode(): int(float(value)) for name, value in fields.items()}
        self.requests, self.tokens = plain.get("R", 0), plain.get("T", 0)
        self.first = plain.get("o", 0) + 1
        """The oldest slice that still counts."""
        self.slices = (
            sum(value for name, value in plain.items() if name.startswith("r")),
            sum(value for name, value in plain.items() if name.startswith("t")),
        )


async def look(port: int, name: str = "key:a") -> Window:
    """Read a scope's window; its sums are those of its slices."""
    client = Redis(port=port)
    window = Window(await client.hgetall(f"{{baseload}}:{name}:w"))
    await client.aclose()

    assert window.slices == (window.requests, window.tokens)
    return window


async def in_flight(port: int, name: str = "key:a") -> int:
    """Read how many calls all replicas have in flight."""
    client = Redis(port=port)
    fields = await client.hgetall(f"{{baseload}}:{name}:f")
    await client.aclose()
    return sum(int(value) for field, value in fields.items() if field.startswith(b"n:"))
