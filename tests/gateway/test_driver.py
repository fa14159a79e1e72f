"""The live driver alone: notices, clocks that fail, the tape, and lateness. Hands are doubles."""

import asyncio
import logging
import time
from math import inf
from typing import Any

import pytest

from baseload.core.facts import (
    Call,
    Fact,
    Hedge,
    Relay,
    Reply,
    Send,
    Sight,
    Told,
)
from baseload.core.gate import Gate
from baseload.gateway.driver import SWEEP_S, TIMER_S_MIN, Driver
from baseload.sim import driver as simulated
from baseload.sim.kernel import Kernel
from tests.core import worlds

MANY = 1024


class Hands:
    """A double of an exchange that only notes what it is asked."""

    def __init__(self, call: Call) -> None:
        self.call, self.due = call, inf
        self.sent, self.hedged, self.fact = 0, 0, None
        self.waits = 0

    def wait(self) -> None:
        self.waits += 1

    def send(self, ask: Send) -> None:
        self.sent += 1

    def hedge(self, ask: Hedge) -> None:
        self.hedged += 1

    def relay(self, ask: Relay) -> None:
        pass

    def reply(self, reply: Reply) -> None:
        self.fact = reply.fact

    def overdue(self, now: float) -> None:
        raise RuntimeError("a defect")


class NeverWorld:
    """A world in which an attempt ends five seconds after it began."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def begin(self, ask: Send | Relay, tell) -> None:
        now = self.kernel.now
        self.kernel.at(now + 5.0, lambda: tell(Told(Fact.DONE, now + 5.0)))

    def cancel(self, ask: Send | Relay) -> None:
        pass


class Notes:
    """A tape that is a list of names and times."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *what: self.lines.append((name, *what))


def _gate(limit: int) -> Gate:
    return worlds.gate({"a": 1}, limit=limit, size=4 * MANY, wait_s=1.0)


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
    driver = simulated.Driver(kernel, _gate(limit=1), NeverWorld(kernel))
    for number in range(MANY + 1):
        kernel.at(0.0, lambda number=number: driver.start(Call(number, "m", 1e9)))
    kernel.run(10 * MANY)
    facts = [ask.fact for _, ask in driver.journal or [] if isinstance(ask, Reply)]

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


def test_a_loop_that_is_held_up_is_late_for_a_while():
    """Whoever blocks the loop is seen as lag, which is forgotten slowly."""
    loop = asyncio.new_event_loop()
    driver = Driver(_gate(limit=10), loop)
    hands = Hands(Call(1, "m", 1e9))
    driver.start(hands, driver.clock())
    loop.call_later(SWEEP_S / 2, time.sleep, 3 * SWEEP_S)
    loop.call_later(8 * SWEEP_S, loop.stop)
    loop.run_forever()
    driver.end_all(Fact.GONE)
    loop.close()

    assert driver.lag_max_s > 1.5 * SWEEP_S
    assert driver.lag_s < driver.lag_max_s


def test_a_timer_that_rings_early_is_set_anew_and_decides_nothing():
    """Loops round: a timer a little early must not spin until its time has come."""
    gate = _gate(limit=1)
    driver, loop = _driver(gate)
    driver.tape = notes = Notes()
    gate.due = 0.0004
    began = loop.time()
    for _ in range(3):
        driver._ring()
    timers = [timer for timer in loop._scheduled if not timer.cancelled()]
    loop.close()

    assert [] == notes.lines
    assert all(timer.when() - began > TIMER_S_MIN / 2 for timer in timers)
    assert 3 == len(timers)


def test_a_tape_has_everything_that_decides():
    """Arrivals, facts, notices, announcements, looks and ticks, in order, and what was asked."""
    gate = _gate(limit=1)
    driver, loop = _driver(gate)
    driver.tape = notes = Notes()
    first, second = (Hands(Call(number, "m", 1e9)) for number in (1, 2))
    sight = Sight(0.0, waiting=0)
    driver.start(first, 0.0)
    driver.start(second, 0.0)
    driver.observe("a", sight)
    driver.tell(first, Told(Fact.DONE, 0.5))
    driver.announce("a", is_up=False)
    gate.due = 0.0
    driver._ring()
    loop.close()

    kinds = [line[0] for line in notes.lines]
    expected = ["began", "asked", "began", "asked", "saw", "told", "asked", "told", "asked"]
    assert [*expected, "announced", "ticked"] == kinds
    assert ("saw", "a", sight, 0.0) == notes.lines[4]
    assert (2, Fact.ADMITTED) == (notes.lines[7][1], notes.lines[7][2].fact)
