"""A backend that is stopped when nobody calls, and started because somebody waits for it."""

from random import Random

import pytest

from baseload.config.fleet import Model, Queue, Target
from baseload.core.desk import TRY_S
from baseload.core.facts import DONE, UNAVAILABLE
from baseload.core.gate import Gate
from baseload.core.setup import Setup
from baseload.sim.kernel import Kernel
from baseload.sim.provider import Habits, Provider
from baseload.sim.workload import Kind, Providers, Sources

COLD_START_S = 80.0
BOOT_S = 40.0
IDLE_S = 60.0
SCRAPE_S = 15.0
BURSTS = range(0, 1500, 300)
BURST_S = 30.0
STEPS_MAX = 1_000_000


class Stage:
    """One backend that sleeps, and a double of what scales it by the number of those who wait.

    It proves nothing about real scalers, which have pauses and moods of their own.
    """

    def __init__(self, seed: int, boot_s: float) -> None:
        self.kernel, self.boot_s = Kernel(), boot_s
        habits = Habits(first_token_s=0.3, tokens_s=60.0)
        self.provider = Provider("z", self.kernel, Random(f"{seed}/z"), habits)
        setup = Setup(
            models={"m": Model(name="m", tiers=({"z": Target(backend="z", model="z")},))},
            concurrency={"z": 32},
            cold_starts={"z": COLD_START_S},
            queue=Queue(size=500, wait_s=5.0),
        )
        self.gate = Gate(setup, Random(seed))
        world = Providers([self.provider], Random(seed + 1))
        self.callers = Sources(self.kernel, self.gate, world, Random(seed + 2))
        self.starts = 0
        self.boots_until = self.idle_since = -1.0
        self.provider.darken("refuses")
        for begin in BURSTS:
            self.callers.pour(Kind(answer_tokens=60), 2.0, begin, begin + BURST_S)
        for at in range(1, max(BURSTS) + 300):
            self.kernel.at(at, self.look)
            if at % SCRAPE_S == 0:
                self.kernel.at(at + 0.5, self.scale)

    def look(self) -> None:
        """Let the gate see the backend each second, as its probes do."""
        if (sight := self.provider.look()) is not None:
            self.callers.driver.observe("z", sight)

    def scale(self) -> None:
        """Start it for those who wait, stop it when nobody has called for long."""
        now = self.kernel.now
        if self.provider.taken:
            self.idle_since = now
        if self.provider.dark:
            if len(self.gate.line) and now > self.boots_until:
                self.starts += 1
                self.boots_until = self.idle_since = now + self.boot_s
                self.kernel.at(self.boots_until, self.provider.lighten)
        elif now - self.idle_since >= IDLE_S:
            self.provider.darken("refuses")


@pytest.mark.parametrize("seed", range(3))
def test_a_backend_at_zero_answers_everybody(seed: int):
    """Five bursts of calls, each to nobody at first: all are answered, and none is sent in vain."""
    stage = Stage(seed, BOOT_S)
    stage.kernel.run(STEPS_MAX)
    outcomes = stage.callers.outcomes
    longest_s = max(one.ended_at - one.began_at for one in outcomes)
    fruitless = stage.provider.books.attempts - len(outcomes)

    assert {DONE} == {one.fact for one in outcomes}
    assert len(BURSTS) == stage.starts
    assert BOOT_S < longest_s < COLD_START_S
    assert fruitless <= len(BURSTS) * 2


def test_a_backend_that_never_comes_up_refuses_in_time():
    """Callers of one that takes too long are told after a cold start's time, and not before."""
    stage = Stage(1, boot_s=10_000.0)
    stage.kernel.run(STEPS_MAX)
    waits = [one.ended_at - one.began_at for one in stage.callers.outcomes]

    assert {UNAVAILABLE} == {one.fact for one in stage.callers.outcomes}
    assert {COLD_START_S + TRY_S} == {round(wait_s, 1) for wait_s in waits}
    assert (0, {}) == (len(stage.gate.line), stage.gate._stays)
