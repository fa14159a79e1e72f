"""Laws of `core` on whole runs: seeds, faults, cancels, processes that come and go."""

from collections import Counter
from itertools import groupby
from operator import itemgetter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.core.facts import Fact, Hedge, Relay, Reply, Send, Wait
from baseload.sim.driver import Driver
from baseload.sim.kernel import Kernel
from tests.sim.worlds import World, announcements, arrivals, make_gate, sights

STEPS_MAX = 200_000
SEEDS = st.integers(0, 2**32)
LOADS = st.sampled_from([1.0, 5.0, 30.0])


def _run(seed: int, per_s: float, number: int = 120, extra_ticks: int = 0) -> Driver:
    kernel = Kernel()
    driver = Driver(kernel, make_gate(), World(seed, kernel))
    plan = arrivals(seed, number, per_s)
    for when, call, leaves in plan:
        kernel.at(when, lambda call=call: driver.start(call))
        if leaves is not None:
            kernel.at(leaves, lambda call=call: driver.cancel(call))
    for when, backend, is_up in announcements(seed, plan[-1][0]):
        kernel.at(when, lambda b=backend, u=is_up: driver.announce(b, is_up=u))
    for backend, sight in sights(seed, plan[-1][0]):
        kernel.at(sight.at, lambda b=backend, s=sight: driver.observe(b, s))
    rng = Random(seed + 2)
    for _ in range(extra_ticks):
        when = rng.uniform(0, plan[-1][0] + 5)
        kernel.at(when, driver.tick)
    kernel.run(STEPS_MAX)
    return driver


@settings(max_examples=40, deadline=None)
@given(SEEDS, LOADS)
def test_extra_ticks_change_nothing(seed: int, per_s: float):
    """Looking at the gate at five hundred other moments gives the very same decisions."""
    assert _run(seed, per_s).journal == _run(seed, per_s, extra_ticks=500).journal


@settings(max_examples=40, deadline=None)
@given(SEEDS, LOADS)
def test_nothing_leaks_and_all_are_answered_once(seed: int, per_s: float):
    """At the end no permit is out, nobody waits, and each call had exactly one reply."""
    driver = _run(seed, per_s)
    gate = driver.gate
    replies = Counter(ask.call.id for _, ask in driver.journal if isinstance(ask, Reply))

    assert {(0, 0, 0, 0)} == {
        (seat.in_flight, seat.tokens, seat.parked, len(seat.preemptible))
        for seat in gate.seats.values()
    }
    assert {(0, 0)} == {
        (account.in_flight, account.held_by_others) for account in gate.permits.accounts
    }
    assert (0, 0, {}) == (len(gate.line), len(gate.notices), gate._stays)
    assert (0, 0, 0) == (len(gate.rest), gate.retries.out, gate.permits.hedges)
    assert Counter(range(1, 121)) == replies


@settings(max_examples=40, deadline=None)
@given(SEEDS, LOADS)
def test_limits_hold_at_every_moment(seed: int, per_s: float):
    """No account ever has more calls than it was ever allowed, hedges and relays included."""
    most = {"good": 6, "bad": 3, "shared": 2, "twin": 2}
    account_of = {"other": "shared", "last": "shared"}
    seen = Counter()
    where: dict[int, list[str]] = {}
    for _, instant in groupby(_run(seed, per_s).journal, key=itemgetter(0)):
        for _, ask in instant:
            match ask:
                case Send() | Relay():
                    where[ask.call.id] = [ask.target.backend]
                case Hedge():
                    where[ask.call.id].append(ask.send.target.backend)
                case Wait() | Reply():
                    where[ask.call.id] = []
        out = Counter(account_of.get(name, name) for names in where.values() for name in names)
        seen |= out

    assert seen <= Counter(most)


def test_the_runs_are_worth_something():
    """The seeds above really queue, shed, expire, retry and cancel."""
    facts, waits, hedges, resumed = Counter(), 0, 0, 0
    for seed in range(10):
        for per_s in (1.0, 5.0, 30.0):
            journal = _run(seed, per_s, number=500).journal
            facts.update(ask.fact.label for _, ask in journal if isinstance(ask, Reply))
            waits += sum(isinstance(ask, Wait) for _, ask in journal)
            hedges += sum(isinstance(ask, Hedge) for _, ask in journal)
            resumed += sum(isinstance(ask, Send) and ask.is_resumed for _, ask in journal)
    wanted = {Fact.DONE, Fact.SHED, Fact.EXPIRED, Fact.GONE, Fact.BROKEN, Fact.REJECTED}

    assert {fact.label for fact in wanted} <= set(facts)
    assert waits > 300
    assert hedges > 10
    assert resumed > 10
