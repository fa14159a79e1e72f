"""The same flow in two worlds: the gateway's driver and the simulator's decide alike."""

import asyncio
import selectors
from math import inf

import pytest

from baseload.core.facts import Call, Fact, Relay, Reply, Send, Told
from baseload.gateway import driver as live
from baseload.sim import driver as simulated
from baseload.sim.kernel import Kernel
from tests.sim.worlds import World, announcements, arrivals, make_gate

NUMBER = 3000


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__(_Unwaiting(self))
        self.now = 0.0

    def time(self) -> float:
        return self.now


class _Unwaiting(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._jumping = loop

    def select(self, timeout: float | None = None):
        if timeout is not None and timeout > 0:
            self._jumping.now = self._jumping._scheduled[0].when()
        return super().select(0)


class ScriptedHands:
    """A double of an exchange: performs asks by the scripted world, on the loop's timers."""

    def __init__(self, call: Call, driver: live.Driver, loop: JumpingLoop, world: World) -> None:
        self.call, self.due = call, inf
        self._driver, self._loop, self._world = driver, loop, world
        self._timer: asyncio.TimerHandle | None = None

    def wait(self) -> None:
        self._timer = None

    def send(self, ask: Send) -> None:
        self._perform(ask)

    def relay(self, ask: Relay) -> None:
        self._perform(ask)

    def reply(self, reply: Reply) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def overdue(self, now: float) -> None:
        raise AssertionError("scripted hands set no clock")

    def tell(self, fact: Fact) -> None:
        self._driver.tell(self, Told(fact, self._loop.time()))

    def _perform(self, ask: Send | Relay) -> None:
        now = self._loop.time()
        delay_s, fact = self._world(ask, now)
        self._timer = self._loop.call_at(now + delay_s, self.tell, fact)


def _simulated(seed: int, per_s: float):
    kernel = Kernel()
    driver = simulated.Driver(kernel, make_gate(), World(seed))
    plan = arrivals(seed, NUMBER, per_s)
    for when, call, leaves in plan:
        kernel.at(when, lambda call=call: driver.start(call))
        if leaves is not None:
            kernel.at(leaves, lambda call=call: driver.cancel(call))
    for when, backend, is_up in announcements(seed, plan[-1][0]):
        kernel.at(when, lambda b=backend, u=is_up: driver.announce(b, is_up=u))
    kernel.run(NUMBER * 100)
    return driver.journal


def _live(seed: int, per_s: float):
    loop = JumpingLoop()
    driver = live.Driver(make_gate(), loop, clock=loop.time)
    driver.journal = []
    plan, hands = arrivals(seed, NUMBER, per_s), {}

    def start(call: Call) -> None:
        hands[call.id] = ScriptedHands(call, driver, loop, World(seed))
        driver.start(hands[call.id], loop.time())

    for when, call, leaves in plan:
        loop.call_at(when, start, call)
        if leaves is not None:
            loop.call_at(leaves, lambda call=call: hands[call.id].tell(Fact.GONE))
    for when, backend, is_up in announcements(seed, plan[-1][0]):
        loop.call_at(when, lambda b=backend, u=is_up: driver.announce(b, is_up=u))
    loop.call_at(plan[-1][0] + 200, loop.stop)
    loop.run_forever()
    loop.close()
    return driver.journal


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("per_s", [2.0, 8.0, 40.0])
def test_both_worlds_decide_alike(seed: int, per_s: float):
    """Nine runs: every ask and reply, its target and its time are equal."""
    expected, actual = _simulated(seed, per_s), _live(seed, per_s)

    assert len(expected) > NUMBER * 1.2
    assert expected == actual
