"""What the conductor promises under overload, on simulated providers: the figures of the bench."""

import pytest
from bench.scenarios import SLOTS, advice, follow, goodput, shares, urgent_wait_s

from baseload.sim.provider import Habits


@pytest.mark.parametrize("times", [2.0, 5.0, 10.0])
@pytest.mark.parametrize(
    ("excess", "concurrency"), [("refuse", SLOTS), ("refuse", 2 * SLOTS), ("queue", 2 * SLOTS)]
)
def test_overload_takes_nothing_from_goodput(times: float, excess: str, concurrency: int):
    """Offered 2 to 10 times what it can do, a provider still does at least 95 % of it.

    Also where its limit is not known and must be found, be it by refusals or by its own queue.
    """
    assert 0.95 <= goodput(times, Habits(slots=SLOTS, excess=excess), concurrency)


@pytest.mark.parametrize("offers", [(8, 1, 1), (1, 1, 1), (20, 2, 1)])
def test_tenants_get_equal_tokens(offers: tuple[int, ...]):
    """Whoever asks for more than a fair share gets a fair share, to within 10 %."""
    for share in shares(offers).values():
        assert share == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.8])
def test_people_do_not_wait_for_batches(share: float):
    """While batch calls flood in, interactive ones are sent within seconds, and answered."""
    wait_s, answered = urgent_wait_s(share, flood=10.0, concurrency=2 * SLOTS)

    assert wait_s < 6.0
    assert answered >= 0.99


@pytest.mark.parametrize("times", [2.0, 5.0])
def test_retry_after_is_about_right(times: float):
    """Nearly all refusals name a time between half and twice what the line before them took."""
    actual = advice(times, line=64)

    assert actual.refusals > 300
    assert actual.within_two > 0.95


def test_callers_who_obey_are_answered():
    """At a fifth more than capacity, who comes back when told so is answered in the end."""
    actual = advice(1.2, line=64, tries_max=10)

    assert actual.within_two > 0.9
    assert actual.answered > 0.98


@pytest.mark.parametrize("has_second", [False, True])
@pytest.mark.parametrize("excess", ["refuse", "queue"])
def test_the_limit_follows_a_hidden_one(excess: str, has_second: bool):
    """A minute after it has moved, calls in flight are within 20 % of the provider's limit."""
    found = follow([(0.0, 40), (120.0, 80), (240.0, 20)], excess, has_second)

    for _, ratio in found:
        assert ratio == pytest.approx(1.0, abs=0.2)
