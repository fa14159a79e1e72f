"""Availability of replicas and sites, and the levels of a week's load."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.load import Load
from baseload.plan.mix.answer import Part
from baseload.plan.mix.option import Demand, Option, Period
from baseload.plan.mix.periods import periods_of
from baseload.plan.mix.reserve import (
    ACCELERATOR_HOURS_A_STOP,
    availability,
    mix_availability,
    replica_availability,
    sites_availability,
)


def machine(name: str, site: str, **changes) -> Option:
    fields = {
        "tenure": "owned",
        "capacity_rps": 1.0,
        "usd_month": 1.0,
        "replicas_max": 9,
        "start_s": 60.0,
    }
    return Option(name=name, site=site, availability=0.9, **(fields | changes))


def test_the_rate_of_failures_is_the_published_one():
    """419 stops in 54 days of 16,384 accelerators; eight of them stop every 264 days."""
    assert ACCELERATOR_HOURS_A_STOP == pytest.approx(54 * 24 * 16384 / 419, rel=1e-3)
    assert 264 == round(ACCELERATOR_HOURS_A_STOP / 8 / 24)
    assert 6337.5 / (6337.5 + 24) == replica_availability(8, 24.0)


def test_two_of_three_are_the_binomial_tail():
    """At 0.9 each, at least two of three stand with 0.972; none needed is certain."""
    assert 0.972 == pytest.approx(availability(0.9, 2, 3))
    assert (1.0, 0.0) == (availability(0.9, 0, 3), availability(0.9, 4, 3))
    assert (1.0, 0.0) == (availability(1.0, 3, 3), availability(0.0, 1, 3))


@given(st.floats(0.0, 1.0), st.integers(0, 300), st.integers(0, 300))
def test_more_replicas_never_hurt(replica, needed, have):
    """One more of them makes it no less likely that enough stand."""
    assert availability(replica, needed, have) <= availability(replica, needed, have + 1) + 1e-12


def test_two_sites_of_995_are_999975_if_independent():
    """Two sites of 99.5 % leave 0.0025 % if nothing takes both."""
    assert 0.999975 == pytest.approx(sites_availability((0.995, 0.995)), abs=1e-12)


def test_kinds_are_folded_and_sites_fail_as_a_whole():
    """A mix of two kinds stands as often as cases counted by hand, with and without sites."""
    options = (machine("small", "a"), machine("large", "b", capacity_rps=2.0))
    parts = (
        Part(option="small", held=2, on=(2,), rps=(0.0,)),
        Part(option="large", held=1, on=(1,), rps=(2.0,)),
    )
    asked = Demand(periods=(Period(2.0, 1.0),))
    both = 0.9 + 0.1 * 0.81
    only = {(True, True): both, (True, False): 0.81, (False, True): 0.9, (False, False): 0.0}
    weighted = sum((0.95 if a else 0.05) * (0.8 if b else 0.2) * only[a, b] for a, b in only)

    assert both == pytest.approx(mix_availability(parts, options, asked))
    assert weighted == pytest.approx(mix_availability(parts, options, asked, {"a": 0.95, "b": 0.8}))


def test_cold_reserve_counts_if_it_comes_in_time():
    """One on and one cold: both count where the cold one starts within patience."""
    part = (Part(option="small", held=2, on=(1,), rps=(1.0,)),)
    asked = Demand(periods=(Period(1.0, 1.0),))

    assert 0.9 == pytest.approx(mix_availability(part, (machine("small", "a"),), asked))
    assert 0.99 == pytest.approx(
        mix_availability(part, (machine("small", "a", start_s=5.0),), asked)
    )


@given(st.floats(0.01, 1e3), st.floats(0.05, 1.0))
def test_levels_keep_the_busiest_hour_and_the_mean(rps, factor):
    """The first level is the busiest hour, none is higher, hours add up, and so do calls."""
    found = periods_of(Load(rps=rps, prompt=1.0, answer=1.0, day_factor=factor))
    loads = [period.rps for period in found]

    assert rps == loads[0]
    assert sorted(loads, reverse=True) == loads
    assert 1.0 == pytest.approx(sum(period.hours_share for period in found))
    assert rps * factor == pytest.approx(sum(p.rps * p.hours_share for p in found))
