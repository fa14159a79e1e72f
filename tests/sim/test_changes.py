"""Laws of `core` on whole runs in which operators close backends and reload the fleet."""

from collections import Counter
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.core.facts import Call, Fact, Reply, Send
from baseload.core.gate import Gate
from baseload.core.seat import Seat
from baseload.core.tape import CLOSED, Head, Packer
from baseload.sim.driver import Driver, Tell
from baseload.sim.kernel import Kernel
from baseload.sim.replay import replay
from tests.sim.changes import Change, changes
from tests.sim.tapes import END, write
from tests.sim.worlds import World, announcements, arrivals, make_gate, make_setup, sights

STEPS_MAX = 200_000
NUMBER = 120
SEEDS = st.integers(0, 2**32)
LOADS = st.sampled_from([1.0, 5.0, 30.0])


class _Watched(World):
    """The scripted world; it notes each attempt at a backend that was closed or not there."""

    def __init__(self, seed: int, kernel: Kernel, gate: Gate) -> None:
        super().__init__(seed, kernel)
        self.gate = gate
        self.wrong: list[tuple[float, str]] = []

    def begin(self, ask, tell: Tell) -> None:
        seat = self.gate.seats.get(ask.target.backend)
        if isinstance(ask, Send) and (seat is None or not seat.is_open or not seat.is_up):
            self.wrong.append((self._kernel.now, ask.target.backend))
        super().begin(ask, tell)


class _Run:
    """A run with operators in it: the driver at its end, and every seat that there ever was."""

    def __init__(
        self, seed: int, per_s: float, extra_ticks: int = 0, tape: Packer | None = None
    ) -> None:
        self.kernel = kernel = Kernel()
        self.gate = gate = make_gate()
        self.world = _Watched(seed, kernel, gate)
        self.driver = driver = Driver(kernel, gate, self.world)
        driver.tape = tape
        self.started: list[int] = []
        self.withdrawn = 0
        self.seats: set[Seat] = set(gate.seats.values())
        plan = arrivals(seed, NUMBER, per_s)
        end = plan[-1][0] + 5
        for when, call, leaves in plan:
            kernel.at(when, lambda call=call: self._start(call))
            if leaves is not None:
                kernel.at(leaves, lambda call=call: driver.cancel(call))
        for when, backend, is_up in announcements(seed, end):
            kernel.at(when, lambda b=backend, u=is_up: self._announce(b, u))
        for backend, sight in sights(seed, end):
            kernel.at(sight.at, lambda b=backend, s=sight: self._observe(b, s))
        for change in changes(seed, end):
            kernel.at(change[0], lambda change=change: self._change(change))
        rng = Random(seed + 2)
        for _ in range(extra_ticks):
            kernel.at(rng.uniform(0, end), driver.tick)
        kernel.run(STEPS_MAX)

    def _start(self, call: Call) -> None:
        if call.model in self.gate.permits.plans:  # Else the desk has refused it already.
            self.started.append(call.id)
            self.driver.start(call)

    def _announce(self, backend: str, is_up: bool) -> None:
        if backend in self.gate.seats:
            self.driver.announce(backend, is_up=is_up)

    def _observe(self, backend: str, sight) -> None:
        if backend in self.gate.seats:
            self.driver.observe(backend, sight)

    def _change(self, change: Change) -> None:
        _, what, about = change
        if what == "reload":
            self.driver.reconfigure(about)
            self.seats |= set(self.gate.seats.values())
        elif about in self.gate.seats:
            self.driver.order(about, is_open=what == "open")
            if what == "disable":
                before = self.gate.seats[about].in_flight
                self.driver.withdraw(about)
                self.withdrawn += before - self.gate.seats[about].in_flight


@settings(max_examples=40, deadline=None)
@given(SEEDS, LOADS)
def test_extra_ticks_change_nothing(seed: int, per_s: float):
    """With orders and reloads, too, looking at the gate more often decides nothing."""
    assert _Run(seed, per_s).driver.journal == _Run(seed, per_s, 500).driver.journal


@settings(max_examples=60, deadline=None)
@given(SEEDS, LOADS)
def test_nothing_leaks_and_all_are_answered_once(seed: int, per_s: float):
    """No seat that ever was has a permit out, nobody waits, and each call had one reply."""
    run = _Run(seed, per_s)
    gate, journal = run.gate, run.driver.journal
    replies = Counter(ask.call.id for _, ask in journal if isinstance(ask, Reply))
    accounts = {seat.account for seat in run.seats}

    assert {(0, 0, 0, 0)} == {
        (seat.in_flight, seat.tokens, seat.parked, len(seat.preemptible)) for seat in run.seats
    }
    assert {(0, 0)} == {(account.in_flight, account.held_by_others) for account in accounts}
    assert (0, 0, {}) == (len(gate.line), len(gate.notices), gate._stays)
    assert (0, 0, 0) == (len(gate.rest), gate.retries.out, gate.permits.hedges)
    assert Counter(run.started) == replies


@settings(max_examples=60, deadline=None)
@given(SEEDS, LOADS)
def test_nobody_is_sent_where_nobody_should_be(seed: int, per_s: float):
    """No attempt is ever made at a backend that is closed, down, or not in the fleet."""
    assert [] == _Run(seed, per_s).world.wrong


@settings(max_examples=20, deadline=None)
@given(SEEDS, LOADS)
def test_a_tape_with_orders_and_reloads_is_decided_again(tmp_path_factory, seed: int, per_s: float):
    """Every decision of such a run is taken again from its tape."""
    packer = Packer(Head("0.1.0", 1_700_000_000.0, 0.0, make_setup()))
    run = _Run(seed, per_s, tape=packer)
    folder: Path = tmp_path_factory.mktemp("tape")
    seen = replay(write(folder / "t", packer.take() + END), None)

    assert seen.difference is None
    assert [] == seen.failures
    assert (CLOSED, len(run.started)) == (seen.end, seen.calls)


def test_the_runs_are_worth_something():
    """Orders and reloads really meet calls: some are withdrawn and resumed, some sent away."""
    facts, refused, resumed, withdrawn = Counter(), 0, 0, 0
    for seed in range(30):
        run = _Run(seed, (1.0, 30.0)[seed % 2])
        journal = run.driver.journal
        facts.update(ask.fact for _, ask in journal if isinstance(ask, Reply))
        resumed += sum(isinstance(ask, Send) and ask.is_resumed for _, ask in journal)
        refused += NUMBER - len(run.started)
        withdrawn += run.withdrawn

    assert {Fact.DONE, Fact.UNAVAILABLE, Fact.GONE} <= set(facts)
    assert refused > 10
    assert resumed > 10
    assert withdrawn > 10
