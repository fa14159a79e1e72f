"""The split inside a tier."""

from collections import Counter
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from baseload.config.fleet import Target
from baseload.core.bending import Bend
from baseload.core.facts import Call
from baseload.core.routing import SPLITS_MAX, Tier

CALL = Call(id=1, model="m", deadline=9.0)


def _seat(name: str) -> Any:
    seat = SimpleNamespace(name=name, is_able=True, is_red=False, portion=1.0, tokens=0)
    seat.can_take = lambda call: seat.is_able
    return seat


def _tier(costs: dict[str, float] | None = None, seed: int = 0, **shares: int) -> Tier:
    costs = costs or {}
    return Tier(
        tuple(
            (
                Target(backend=name, model="m", share=share, cost_usd_mtok=costs.get(name)),
                _seat(name),
            )
            for name, share in shares.items()
        ),
        Random(seed),
    )


def _seats(tier: Tier) -> dict[str, Any]:
    return {seat.name: seat for _, seat in tier.places}


def _picked(tier: Tier, times: int, call: Call = CALL) -> list[str]:
    places = [tier.pick(call, (), is_red_ok=False) for _ in range(times)]
    return [place[1].name for place in places if place is not None]


def _by_prefix(tier: Tier, prefixes: int) -> dict[int, str]:
    calls = [Call(id=1, model="m", deadline=9.0, prefix=7919 * (at + 1)) for at in range(prefixes)]
    return {call.prefix: _picked(tier, 1, call)[0] for call in calls}


# -- between unequal shares ----------------------------------------------------------------------


def test_shares_are_exact():
    """Nine to one is one in each ten, in every window of ten."""
    picked = _picked(_tier(a=90, b=10), 200)
    windows = [Counter(picked[start : start + 10]) for start in range(0, 200, 10)]

    assert [Counter(a=9, b=1)] * 20 == windows


def test_a_red_backend_is_left_out_unless_it_is_all_there_is():
    """Red takes nothing at first; asked again with red allowed, it is better than nobody."""
    tier = _tier(a=90, b=10)
    _seats(tier)["a"].is_red = True
    without = Counter(_picked(tier, 50))
    _seats(tier)["b"].is_red = True
    place = tier.pick(CALL, {"b"}, is_red_ok=True)

    assert (Counter(b=50), []) == (without, _picked(tier, 1))
    assert place is not None
    assert "a" == place[1].name


def test_a_lone_backend_is_taken_if_it_can():
    """A tier of one knows no split, but the same reasons to say no."""
    tier = _tier(a=100)
    seat = _seats(tier)["a"]
    able = _picked(tier, 1)
    seat.is_red = True
    red = [tier.pick(CALL, (), is_red_ok=is_ok) for is_ok in (False, True)]
    seat.is_able = False

    assert (["a"], [None, tier.places[0]], []) == (able, red, _picked(tier, 1))


def test_a_share_comes_back_in_steps():
    """While a backend bends, its sibling gets just what it lost; then it comes back in quarters."""
    tier, bend = _tier(a=80, b=20), Bend()
    bend.press(0.0, 0.0)
    parts = []
    for now in range(7):
        bend.settle(float(now))
        _seats(tier)["a"].portion = bend.portion
        parts.append(Counter(_picked(tier, 100))["a"])

    assert [0, 0, 0, 20, 40, 60, 80] == parts


def test_after_an_absence_the_split_is_as_before():
    """A backend that was away is neither owed the calls it missed, nor owes any."""
    tier = _tier(a=50, b=30, c=20)
    _seats(tier)["a"].is_able = False
    without = Counter(_picked(tier, 100))
    _seats(tier)["a"].is_able = True

    assert (Counter(b=60, c=40), Counter(a=50, b=30, c=20)) == (
        without,
        Counter(_picked(tier, 100)),
    )


def test_what_is_lost_goes_where_it_is_cheap():
    """The lost part is divided by share over cost; an unknown cost counts as the mean."""
    tier = _tier({"b": 1.0, "c": 3.0}, a=60, b=18, c=12, d=10)
    _seats(tier)["a"].portion = 0.0
    pulls = {"b": 18 / 1, "c": 12 / 3, "d": 10 / 2}
    own = {"b": 18, "c": 12, "d": 10}
    expected = {key: 10 * own[key] + 600 * pulls[key] / sum(pulls.values()) for key in pulls}

    assert pytest.approx(expected, abs=2) == Counter(_picked(tier, 1000))


def test_all_bent_to_nothing_is_as_if_none_were():
    """When all that can take calls should get none, the configured split is the best guess."""
    tier = _tier(a=90, b=10)
    for seat in _seats(tier).values():
        seat.portion = 0.0

    assert Counter(a=90, b=10) == Counter(_picked(tier, 100))


def test_a_share_of_nothing_is_a_reserve():
    """A backend with share 0 is used only when its siblings cannot take the call."""
    tier = _tier(a=100, b=0)
    with_sibling = Counter(_picked(tier, 50))
    _seats(tier)["a"].portion = 0.25
    bent = Counter(_picked(tier, 50))
    _seats(tier)["a"].is_able = False

    assert (Counter(a=50), Counter(a=50), ["b"] * 3) == (with_sibling, bent, _picked(tier, 3))


def test_what_was_tried_is_not_tried_again():
    """A backend that the call has tried is left out, and None says that none is left."""
    tier = _tier(a=90, b=10)
    place = tier.pick(CALL, {"a"}, is_red_ok=False)

    assert place is not None
    assert ("b", None) == (place[1].name, tier.pick(CALL, {"a", "b"}, is_red_ok=True))


def test_remembered_splits_are_bounded():
    """However a backend's portion wanders, only so many splits are remembered."""
    tier = _tier(a=90, b=10)
    for step in range(1000):
        _seats(tier)["a"].portion = step / 1000
        _picked(tier, 1)

    assert len(tier._splits) <= SPLITS_MAX


# -- among equals --------------------------------------------------------------------------------


def test_equals_share_evenly_and_groups_keep_their_parts():
    """Two equals beside a third with another share: their group has an exact part."""
    picked = Counter(_picked(_tier(a=45, b=45, c=10), 1000))

    assert 100 == picked["c"]
    assert pytest.approx(450, abs=60) == picked["a"]


def test_two_choices_keep_the_largest_load_low():
    """With loads looked at, the fullest of many backends has far less than by chance alone."""
    names = {f"s{number}": 10 for number in range(20)}
    tier, by_chance, rng = _tier(seed=1, **names), Counter[str](), Random(1)
    for _ in range(2000):
        place = tier.pick(CALL, (), is_red_ok=False)
        assert place is not None
        place[1].tokens += 1
        by_chance[rng.choice(list(names))] += 1
    highest = max(seat.tokens for seat in _seats(tier).values())

    assert highest <= 104
    assert highest - 100 < (max(by_chance.values()) - 100) / 4


def test_an_equal_that_bends_holds_less():
    """Among equals, loads settle in the proportion of what each should get."""
    tier = _tier(a=50, b=50)
    _seats(tier)["a"].portion = 0.5
    for _ in range(1000):
        _seats(tier)[_picked(tier, 1)[0]].tokens += 1

    assert pytest.approx(250, abs=2) == _seats(tier)["a"].tokens


def test_calls_that_begin_alike_stay_together():
    """The same prefix goes to the same backend each time, and prefixes are spread evenly."""
    tier = _tier(a=10, b=10, c=10, d=10)
    homes = _by_prefix(tier, 2000)

    assert homes == _by_prefix(tier, 2000)
    assert pytest.approx(dict.fromkeys("abcd", 500), abs=75) == Counter(homes.values())


def test_few_prefixes_move_when_a_backend_leaves_or_bends():
    """Only the prefixes of the one that leaves move; one that bends keeps a part of its own."""
    tier = _tier(a=10, b=10, c=10, d=10)
    before = _by_prefix(tier, 2000)
    _seats(tier)["b"].portion = 0.5
    bent = _by_prefix(tier, 2000)
    _seats(tier)["b"].is_able = False
    without = _by_prefix(tier, 2000)
    own = {prefix for prefix, home in before.items() if home == "b"}

    assert own == {prefix for prefix in before if before[prefix] != without[prefix]}
    assert {"b"} == {before[prefix] for prefix in before if before[prefix] != bent[prefix]}
    assert pytest.approx(len(own) / 2, abs=60) == sum(home == "b" for home in bent.values())


def test_affinity_gives_way_at_the_bound():
    """A backend with too much out for its part does not get a call merely for its prefix."""
    tier = _tier(a=10, b=10)
    call = Call(id=1, model="m", deadline=9.0, prompt_tokens=5, answer_tokens=5, prefix=42)
    home = _picked(tier, 1, call)[0]
    other = "b" if home == "a" else "a"
    _seats(tier)[other].tokens = 100
    _seats(tier)[home].tokens = 193  # 1.25 * (100 + 193) / 2 + 10
    within = _picked(tier, 1, call)
    _seats(tier)[home].tokens = 194

    assert ([home], [other]) == (within, _picked(tier, 1, call))


def test_picks_follow_from_the_seed():
    """The same seed gives the same picks, another seed others."""
    first, again, other = (_picked(_tier(seed=seed, a=1, b=1), 50) for seed in (3, 3, 4))

    assert first == again
    assert first != other
