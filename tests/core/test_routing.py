"""The split inside a tier."""

from collections import Counter

from baseload.config.fleet import Target
from baseload.core.limits import FixedLimit
from baseload.core.routing import Tier
from baseload.core.seat import Seat


def _tier(**shares: int) -> Tier:
    return Tier(
        tuple(
            (Target(backend=name, model="m", share=share), Seat(name, FixedLimit(10**6)))
            for name, share in shares.items()
        )
    )


def _picked(tier: Tier, times: int) -> list[str]:
    places = [tier.pick(()) for _ in range(times)]
    return [place[1].name for place in places if place is not None]


def test_shares_are_exact():
    """Nine to one is one in each ten, in every window of ten."""
    picked = _picked(_tier(a=90, b=10), 200)
    windows = [Counter(picked[start : start + 10]) for start in range(0, 200, 10)]

    assert [Counter(a=9, b=1)] * 20 == windows


def test_the_smaller_share_is_spread():
    """Equal shares alternate; there are no streaks."""
    assert ["a", "b"] * 5 == _picked(_tier(a=1, b=1), 10)


def test_who_cannot_take_is_left_out_and_owes_nothing():
    """While a backend is down its share goes to the others; back up, the split is as before."""
    tier = _tier(a=50, b=25, c=25)
    tier.places[0][1].is_up = False
    without = Counter(_picked(tier, 100))
    tier.places[0][1].is_up = True
    after = Counter(_picked(tier, 100))

    assert Counter(b=50, c=50) == without
    assert Counter(a=50, b=25, c=25) == after


def test_a_share_of_nothing_is_a_reserve():
    """A backend with share 0 is used only when its siblings cannot take the call."""
    tier = _tier(a=100, b=0)
    with_sibling = Counter(_picked(tier, 50))
    tier.places[0][1].is_up = False

    assert (Counter(a=50), ["b"] * 3) == (with_sibling, _picked(tier, 3))


def test_what_was_tried_is_not_tried_again():
    """A backend that the call has tried is left out, and None says that none is left."""
    tier = _tier(a=90, b=10)
    place = tier.pick({"a"})

    assert place is not None
    assert ("b", None) == (place[1].name, tier.pick({"a", "b"}))
