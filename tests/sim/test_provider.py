"""The simulated provider: it must keep time, count tokens, and honour its callers' clocks."""

from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.config.fleet import Target
from baseload.core.facts import Call, Fact, Relay, Send, Told
from baseload.sim.batch import Batch
from baseload.sim.kernel import Kernel
from baseload.sim.provider import Answer, Habits, Provider, Troubles

TARGET = Target(backend="p", model="m")
PLAIN = Habits(slots=2, spread=0.0, strain=0.0, crowding=0.0, prompt_tokens_s=inf)
"""First token after 0.42 s, then 40 tokens a second, however many there are."""


class Caller:
    """One call at one provider; `told` is what it heard, with times."""

    def __init__(self, provider: Provider, kernel: Kernel, number: int, **call) -> None:
        self.provider, self.kernel = provider, kernel
        self.call = Call(number, "m", **({"deadline": 1000.0} | call))
        self.answer = Answer(80, is_continuable=True)
        self.told: list[tuple[float, str]] = []
        self.ask: Send | Relay | None = None
        self.queued_s = 0.0

    def send(self, first_token_s: float = 10.0, late_s: float = inf, *, is_resumed=False) -> None:
        byte_s = first_token_s / 2
        self._begin(
            Send(self.call, TARGET, byte_s, byte_s, first_token_s, late_s, is_resumed=is_resumed)
        )

    def _begin(self, ask: Send | Relay) -> None:
        self.ask = ask
        self.provider.begin(ask, self._hear, self.answer)

    def _hear(self, told: Told) -> None:
        self.told.append((round(told.now, 3), told.fact.label))
        if told.fact is Fact.FIRST_TOKEN:
            self.queued_s = told.queued_s
            self._begin(Relay(self.call, TARGET, 3.0))


def _scene(habits: Habits = PLAIN, callers: int = 1, **call):
    kernel = Kernel()
    provider = Provider("p", kernel, Random(1), habits)
    return kernel, provider, [Caller(provider, kernel, n, **call) for n in range(callers)]


def test_a_whole_answer():
    """First token, then the rest at the provider's pace; its books say so."""
    kernel, provider, [caller] = _scene()
    caller.send()
    kernel.run(100)

    assert [(0.42, "first_token"), (2.42, "done")] == caller.told
    assert (1, 80.0, 80) == (
        provider.books.attempts,
        provider.books.tokens_done,
        caller.answer.said,
    )
    assert 0 == provider.taken


@pytest.mark.parametrize(
    ("excess", "expected"),
    [
        ("refuse", [(0.02, "busy")]),
        ("queue", [(0.27, "parked"), (2.84, "first_token"), (4.84, "done")]),
        ("slow", [(0.42, "first_token"), (2.42, "done")]),
    ],
)
def test_a_call_beyond_the_slots(excess: str, expected: list[tuple[float, str]]):
    """It is refused, or waits with signs of life, or is worked on all the same."""
    habits = Habits(
        slots=2, excess=excess, spread=0.0, strain=0.0, crowding=0.0, prompt_tokens_s=inf
    )
    kernel, _, callers = _scene(habits, 3)
    for caller in callers:
        caller.send()
    kernel.run(100)

    assert expected == callers[2].told
    assert callers[2].queued_s == pytest.approx(2.84 if excess == "queue" else 0.0)


@pytest.mark.parametrize(
    ("how", "expected"),
    [("refuses", (0.02, "unreachable")), ("resets", (0.02, "lost")), ("hangs", (2.0, "slow"))],
)
def test_calls_that_come_into_the_dark(how: str, expected: tuple[float, str]):
    """A connection is refused, or reset, or nothing is ever heard: the clocks say so."""
    kernel, provider, [caller] = _scene()
    provider.darken(how)
    caller.send(first_token_s=4.0)
    kernel.at(1.0, provider.lighten)
    kernel.run(100)

    assert [expected] == caller.told


@pytest.mark.parametrize(("how", "at"), [("refuses", 1.42), ("resets", 1.42), ("hangs", 4.42)])
def test_answers_that_the_dark_meets(how: str, at: float):
    """They break off, or fall silent until the stall clock; what was said is known, and resumed."""
    kernel, provider, [caller] = _scene()
    caller.send()
    kernel.at(1.42, lambda: provider.darken(how))
    kernel.at(2.0, provider.lighten)
    kernel.at(10.0, lambda: caller.send(is_resumed=True))
    kernel.run(100)

    assert [
        (0.42, "first_token"),
        (at, "cut"),
        (10.42, "first_token"),
        (11.42, "done"),
    ] == caller.told
    assert 40.0 == provider.books.tokens_done


def test_a_late_call_is_told_so_and_a_cancelled_one_hears_nothing():
    """The clock for a second attempt rings once; a call that was hung up frees its slot."""
    kernel, provider, [late, gone] = _scene(callers=2)
    late.send(late_s=0.1)
    gone.send()
    kernel.at(0.2, lambda: provider.cancel(gone.ask))
    kernel.run(100)

    assert [(0.1, "late"), (0.42, "first_token"), (2.42, "done")] == late.told
    assert ([], 1, 0) == (gone.told, provider.books.hung_up, provider.taken)


def test_the_calls_own_deadline_ends_it():
    """Nothing is heard after the deadline, and the slot stays taken while the call lingers."""
    kernel, provider, [caller] = _scene(Habits(slots=1, spread=0.0, lingers_s=5.0), deadline=1.5)
    caller.send()
    taken = []
    kernel.at(6.0, lambda: taken.append(provider.taken))
    kernel.run(100)

    assert (1.5, "overdue") == caller.told[-1]
    assert ([1], 0) == (taken, provider.taken)


@pytest.mark.parametrize(
    ("troubles", "expected"),
    [
        (Troubles(errors=1.0), "failed"),
        (Troubles(unavailable=1.0), "overloaded"),
        (Troubles(empty=1.0), "empty"),
        (Troubles(cuts=1.0), "cut"),
        (Troubles(stalls=1.0), "cut"),
    ],
)
def test_troubles_are_told_as_the_facts_they_are(troubles: Troubles, expected: str):
    """Each kind of trouble ends an attempt on its own fact, and frees the slot."""
    kernel, provider, [caller] = _scene()
    provider.troubles = troubles
    caller.send()
    kernel.run(100)

    assert (expected, 0) == (caller.told[-1][1], provider.taken)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(1, 100)), min_size=1, max_size=20),
    st.lists(st.tuples(st.floats(0, 20), st.floats(0.5, 50)), max_size=5),
)
def test_a_batch_gives_everybody_all_tokens(
    joins: list[tuple[float, int]], paces: list[tuple[float, float]]
):
    """Whatever the pace does meanwhile, each writer ends when just its tokens are written."""
    kernel = Kernel()
    batch = Batch(kernel, 10.0)
    written: list[tuple[float, int]] = []

    def join(tokens: int) -> None:
        begin = batch.place()
        batch.join(tokens, lambda: written.append((batch.place() - begin, tokens)))

    for when, tokens in joins:
        kernel.at(when, lambda tokens=tokens: join(tokens))
    for when, pace in paces:
        kernel.at(when, lambda pace=pace: batch.retune(pace))
    kernel.run(10_000)

    assert len(joins) == len(written)
    for actual, expected in written:
        assert actual == pytest.approx(expected, abs=1e-4)
