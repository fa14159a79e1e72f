"""The live driver alone: many notices at once, and clocks that fail. Hands are doubles."""

import asyncio
import logging
from math import inf

import pytest

from baseload.config.fleet import Queue
from baseload.core.facts import Call, Fact, Relay, Reply, Send, Told
from baseload.core.gate import Gate
from baseload.gateway.driver import SWEEP_S, Driver
from baseload.sim import driver as simulated
from baseload.sim.kernel import Kernel
from tests.core.worlds import model

MANY = 1024


class Hands:
    """A double of an exchange that only notes what it is asked."""

    def __init__(self, call: Call) -> None:
        self.call, self.due = call, inf
        self.sent, self.fact = 0, None

    def wait(self) -> None:
        pass

    def send(self, ask: Send) -> None:
        self.sent += 1

    def relay(self, ask: Relay) -> None:
        pass

    def reply(self, reply: Reply) -> None:
        self.fact = reply.fact

    def overdue(self, now: float) -> None:
        raise RuntimeError("a defect")


def _gate(limit: int) -> Gate:
    return Gate({"m": model({"a": 1})}, {"a": limit}, Queue(size=4 * MANY, wait_s=1.0))


def _driver(gate: Gate) -> tuple[Driver, asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    return Driver(gate, loop, clock=lambda: gate.now if gate.now > 0 else 0.0), loop


def test_a_thousand_calls_may_expire_at_once():
    """However many notices one event gives, each call is told its own."""
    gate = _gate(limit=1)
    driver, loop = _driver(gate)
    hands = [Hands(Call(number, "m", 1e9)) for number in range(MANY + 1)]
    for one in hands:
        driver.start(one, 0.0)
    gate.tick(1.0)
    driver._after_step()
    loop.close()

    assert {Fact.EXPIRED} == {one.fact for one in hands[1:]}
    assert 1 == sum(one.sent for one in hands)


def test_a_thousand_calls_may_be_admitted_at_once():
    """A backend that comes up takes all who wait for it, in one go, and every one is sent."""
    gate = _gate(limit=MANY)
    driver, loop = _driver(gate)
    first = [Hands(Call(number, "m", 1e9)) for number in range(MANY)]
    waiting = [Hands(Call(number, "m", 1e9)) for number in range(MANY, 2 * MANY)]
    for one in first + waiting:
        driver.start(one, 0.0)
    gate.announce("a", False, 0.1)
    for one in first:
        driver.tell(one, Told(Fact.DONE, 0.2))
    while_down = sum(one.sent for one in waiting)
    driver.announce("a", is_up=True)
    loop.close()

    assert (0, MANY) == (while_down, sum(one.sent for one in waiting))
    assert MANY == gate.seats["a"].in_flight


def test_the_simulator_takes_a_thousand_notices_too():
    """The twin does the same without going deep."""
    kernel = Kernel()
    driver = simulated.Driver(kernel, _gate(limit=1), lambda ask, now: (5.0, Fact.DONE))
    for number in range(MANY + 1):
        kernel.at(0.0, lambda number=number: driver.start(Call(number, "m", 1e9)))
    kernel.run(10 * MANY)
    facts = [ask.fact for _, ask in driver.journal if isinstance(ask, Reply)]

    assert [Fact.EXPIRED] * MANY + [Fact.DONE] == facts


def test_a_clock_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture):
    """A defect in minding one call's clock is logged; the others are still looked at."""
    caplog.set_level(logging.ERROR)
    loop = asyncio.new_event_loop()
    gate = _gate(limit=10)
    driver = Driver(gate, loop)
    seen = []
    bad, good = Hands(Call(1, "m", 1e9)), Hands(Call(2, "m", 1e9))
    good.overdue = seen.append
    now = driver.clock()
    driver.start(bad, now)
    driver.start(good, now)
    bad.due = good.due = now
    loop.call_later(4 * SWEEP_S, loop.stop)
    loop.run_forever()
    driver.end_all(Fact.GONE)
    loop.close()

    assert len(seen) > 1
    assert 1 == caplog.text.count("its clock could not be minded")
