"""One gateway in a process of its own, for races: serves until told to stop, then says what it saw.

Run as `python -m tests.gateway.racer JSON`. It prints its port, and at the end one line of JSON:
in which slice each call was let in (by the clock that counts), how long each waited for its verdict
inside the gateway and how many longer than a timer, tokens settled, calls decided without Redis, and
what is still held.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import uvloop

from baseload.config.fleet import Backend, Fleet, Model, Target
from baseload.config.tenancy import Limits
from baseload.core.quota import Hold, Scope, Verdict
from baseload.gateway.gateway import Gateway
from baseload.store import shared_counters
from baseload.store.counters import LocalCounters
from baseload.store.redis_wire import RedisWire
from baseload.store.shared_counters import SharedCounters
from tests.gateway.harness import until
from tests.gateway.limited import OneTenant
from tests.store.overdue import Overdue

TOLD_S_MAX = 10.0


class Timed:
    """Counters that write down when calls were let in, and how long they waited for that."""

    def __init__(self, counters: LocalCounters | SharedCounters) -> None:
        self.counters = counters
        self.quota = counters.quota
        self.admitted: list[tuple[int, Hold]] = []
        self.took_s: list[float] = []
        self.overdue = Overdue()
        self.settled: dict[int, int] = {}
        self.open = 0

    def grant(self, hold: Hold) -> Verdict | None:
        """Have all of them asked in due form, where what becomes of them is noted."""
        return None

    def reserve(self, hold: Hold, then: Callable[[Verdict], None]) -> Verdict | None:
        began, is_told = time.perf_counter(), False

        def told(verdict: Verdict) -> None:
            nonlocal is_told
            is_told = True
            self.took_s.append(time.perf_counter() - began)
            if verdict.is_granted:
                self.admitted.append((hold.cells[0][0], hold))
                self.open += 1

        def later(verdict: Verdict) -> None:
            told(verdict)
            then(verdict)

        verdict = self.counters.reserve(hold, later)
        if verdict is not None:
            told(verdict)
        else:  # Whoever hangs up is not told.
            self.overdue.watch(lambda: is_told or hold.is_settled)
        return verdict

    def settle(self, hold: Hold, tokens: int, usd: float) -> None:
        if hold.verdict is not None and not hold.is_settled:
            self.open -= 1
            self.settled[id(hold)] = tokens
        self.counters.settle(hold, tokens, usd)

    def told(self) -> dict[str, Any]:
        """Give all of it, as JSON has it."""
        return {
            "admitted": [
                (at, self.settled.get(id(hold), hold.tokens)) for at, hold in self.admitted
            ],
            "took_s": self.took_s,
            "overdue": self.overdue.count,
            "open": self.open,
            "alone": getattr(self.counters, "alone", 0),
            "held": [
                (card.in_flight, card.held_usd)
                for name in self.counters.quota.names()
                if (card := self.counters.quota.find(name)) is not None
            ],
        }


async def main(plan: dict[str, Any]) -> None:
    """Serve as the plan says."""
    window_s = plan["window_s"]
    counters: LocalCounters | SharedCounters = LocalCounters(window_s=window_s)
    shared_counters.STEP_S_MAX = plan["step_s"]
    if plan["redis"]:
        wire = RedisWire(plan["redis"], f"racer-{os.getpid()}")
        counters = SharedCounters(wire, plan["redis"], replicas=2, window_s=window_s)
    timed = Timed(counters)
    fleet = Fleet(
        listen="127.0.0.1:0",
        drain_s=5.0,
        backends={"b": Backend(name="b", url=plan["backend"], probe_s=0.0, concurrency=500)},
        models={
            "m": Model(
                name="m",
                tiers=({"b": Target(backend="b", model="m")},),
                assemble=False,
                resume="off",
            )
        },
    )
    gateway = Gateway(fleet, counters=timed)
    limits = msgspec.convert(plan["limits"], Limits)
    gateway.tenants = OneTenant(Scope("key:team-a", limits, "key team-a"))  # type: ignore[assignment]
    await counters.start()
    await gateway.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    sys.stdout.write(f"{gateway.address[1]}\n")
    sys.stdout.flush()
    await stop.wait()
    await gateway.drain()
    if isinstance(counters, SharedCounters):
        shared = counters
        async with asyncio.timeout(TOLD_S_MAX):
            await until(lambda: shared.fuse.is_whole and shared._out is None and not shared._news)
    await counters.close()
    sys.stdout.write(json.dumps(timed.told()) + "\n")


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))
