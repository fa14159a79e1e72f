"""The same flow in two worlds: the gateway's driver and the simulator's decide alike."""

import asyncio
import selectors
from math import inf

import pytest

from baseload.core.facts import GRANTED, LIMITED, Call, Fact, Hedge, Relay, Reply, Send, Told
from baseload.core.quota import Hold, Quota
from baseload.gateway import driver as live
from baseload.sim import driver as simulated
from baseload.sim.kernel import Kernel
from baseload.sim.quotas import Quotas
from tests.sim.changes import changes
from tests.sim.worlds import (
    World,
    announcements,
    arrivals,
    make_gate,
    scopes_of_call,
    script,
    sights,
    used_by,
)

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

    def __init__(
        self, call: Call, driver: live.Driver, loop: JumpingLoop, seed: int, quota: Quota
    ) -> None:
        self.call, self.due, self._quota = call, inf, quota
        self.hold = Hold(scopes_of_call(call), call.tokens, 0.0)
        self._driver, self._loop, self._seed = driver, loop, seed
        self._timers: dict[str, list[asyncio.TimerHandle]] = {}

    def reserve(self) -> Told:
        now = self._loop.time()
        verdict = self._quota.reserve(self.hold, now, now)
        return Told(GRANTED if verdict.is_granted else LIMITED, now, verdict.retry_after_s)

    def wait(self) -> None:
        self._cancel()

    def send(self, ask: Send) -> None:
        self._cancel()
        self._perform(ask)

    def hedge(self, ask: Hedge) -> None:
        self._perform(ask.send)

    def watch(self) -> None:
        pass

    def relay(self, ask: Relay) -> None:
        self._cancel()
        self._perform(ask)

    def reply(self, reply: Reply) -> None:
        self._cancel()
        self._quota.settle(self.hold, *used_by(reply), self._loop.time())

    def overdue(self, now: float) -> None:
        raise AssertionError("scripted hands set no clock")

    def gone(self) -> None:
        self._driver.tell(self, Told(Fact.GONE, self._loop.time()))

    def _tell(self, told: Told) -> None:
        if told.fact is Fact.FIRST_TOKEN:
            self._cancel()
        elif told.fact not in (Fact.PARKED, Fact.LATE):
            self._cancel(told.backend)
        self._driver.tell(self, told)

    def _cancel(self, backend: str | None = None) -> None:
        for name in [backend] if backend else list(self._timers):
            for timer in self._timers.pop(name, []):
                timer.cancel()

    def _perform(self, ask: Send | Relay) -> None:
        now, backend = self._loop.time(), ask.target.backend
        self._timers[backend] = [
            self._loop.call_at(
                now + after_s, self._tell, Told(fact, now + after_s, wish_s, backend)
            )
            for after_s, fact, wish_s in script(self._seed, ask)
        ]

    def withdraw(self, backend: str) -> None:
        if backend in self._timers and self._driver.gate.can_move(self.call, backend):
            self._tell(Told(Fact.WITHDRAWN, self._loop.time(), 0.0, backend))


def _simulated(seed: int, per_s: float, *, is_changed: bool = False, is_limited: bool = False):
    kernel = Kernel()
    driver = simulated.Driver(kernel, make_gate(), World(seed, kernel))
    quotas = Quotas(driver, Quota(), scopes_of_call, used_by)
    plan = arrivals(seed, NUMBER, per_s, is_limited=is_limited)
    for when, call, leaves in plan:
        kernel.at(when, lambda call=call: driver.start(call))
        if leaves is not None:
            kernel.at(leaves, lambda call=call: driver.cancel(call))
    for when, backend, is_up in announcements(seed, plan[-1][0]):
        kernel.at(when, lambda b=backend, u=is_up: _announce(driver, b, u))
    for backend, sight in sights(seed, plan[-1][0]):
        kernel.at(sight.at, lambda b=backend, s=sight: _observe(driver, b, s))
    for when, what, about in changes(seed, plan[-1][0]) if is_changed else ():
        kernel.at(when, lambda w=what, a=about: _change(driver, w, a))
    kernel.run(NUMBER * 100)
    return driver.journal, quotas.quota


def _announce(driver: live.Driver | simulated.Driver, backend: str, is_up: bool) -> None:
    if backend in driver.gate.seats:
        driver.announce(backend, is_up=is_up)


def _observe(driver: live.Driver | simulated.Driver, backend: str, sight) -> None:
    if backend in driver.gate.seats:
        driver.observe(backend, sight)


def _change(driver: live.Driver | simulated.Driver, what: str, about) -> None:
    """Do what an operator does; both drivers are told in the same words."""
    if what == "reload":
        driver.reconfigure(about)
    elif about in driver.gate.seats:
        driver.order(about, is_open=what == "open")
        if what == "disable":
            driver.withdraw(about)


def _live(seed: int, per_s: float, *, is_changed: bool = False, is_limited: bool = False):
    loop, quota = JumpingLoop(), Quota()
    driver = live.Driver(make_gate(), loop, clock=loop.time)
    driver.journal = []
    plan, hands = arrivals(seed, NUMBER, per_s, is_limited=is_limited), {}

    def start(call: Call) -> None:
        hands[call.id] = ScriptedHands(call, driver, loop, seed, quota)
        driver.start(hands[call.id], loop.time())

    for when, call, leaves in plan:
        loop.call_at(when, start, call)
        if leaves is not None:
            loop.call_at(leaves, lambda call=call: hands[call.id].gone())
    for when, backend, is_up in announcements(seed, plan[-1][0]):
        loop.call_at(when, lambda b=backend, u=is_up: _announce(driver, b, u))
    for backend, sight in sights(seed, plan[-1][0]):
        loop.call_at(sight.at, lambda b=backend, s=sight: _observe(driver, b, s))
    for when, what, about in changes(seed, plan[-1][0]) if is_changed else ():
        loop.call_at(when, _change, driver, what, about)
    loop.call_at(plan[-1][0] + 200, loop.stop)
    loop.run_forever()
    loop.close()
    return driver.journal, quota


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("per_s", [2.0, 8.0, 40.0])
def test_both_worlds_decide_alike(seed: int, per_s: float):
    """Nine runs: every ask and reply, its target and its time are equal."""
    (expected, _), (actual, _) = _simulated(seed, per_s), _live(seed, per_s)

    assert len(expected) > NUMBER * 1.2
    assert expected == actual


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("per_s", [2.0, 40.0])
def test_both_worlds_take_orders_and_reloads_alike(seed: int, per_s: float):
    """With operators in it, who close backends and change the fleet, they still decide alike."""
    expected, _ = _simulated(seed, per_s, is_changed=True)
    actual, _ = _live(seed, per_s, is_changed=True)

    assert len(expected) > NUMBER
    assert expected == actual


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_worlds_limit_alike(seed: int):
    """With limited keys, too; calls are refused and admitted alike, and at the end nothing is held."""
    expected, quota = _simulated(seed, 8.0, is_limited=True)
    actual, twin = _live(seed, 8.0, is_limited=True)
    replies = [ask.fact for _, ask in expected if isinstance(ask, Reply)]

    assert 0.1 < replies.count(LIMITED) / NUMBER < 0.9
    assert expected == actual
    for name in quota.names():
        cards = quota.find(name), twin.find(name)
        assert [(0, 0.0)] * 2 == [(card.in_flight, card.held_usd) for card in cards]
