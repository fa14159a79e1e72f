"""First-token times: quantiles by size, and strain against what is usual."""

from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.core.pace import SAMPLES_MIN, STEP, STRAIN_SAMPLES_MIN, Pace


def _fed(pace: Pace, first_token_s: float, calls: int, now: float, gap_s: float = 0.1) -> float:
    rng = Random(3)
    for _ in range(calls):
        now += gap_s
        pace.add(100, first_token_s * rng.lognormvariate(0, 0.3), now)
    return now


def test_nothing_is_said_of_too_few_samples():
    """Until enough were seen, nothing is typical, and no time is long."""
    pace = Pace()
    for _ in range(SAMPLES_MIN - 1):
        pace.add(100, 1.0, 1.0)
    before = pace.typical_s(100), pace.p95_s(100)
    pace.add(100, 1.0, 1.0)

    assert (0.0, inf) == before
    assert pytest.approx(1.0, rel=STEP - 1) == pace.typical_s(100)


def test_quantiles_are_about_right():
    """The median and the 95th percentile are right to one bin."""
    pace, rng = Pace(), Random(5)
    for _ in range(300):
        pace.add(100, rng.uniform(1.0, 2.0), 1.0)

    assert pytest.approx(1.5, rel=STEP - 1) == pace.typical_s(100)
    assert pytest.approx(1.95, rel=STEP - 1) == pace.p95_s(100)


def test_sizes_are_told_apart():
    """Long inputs may take long: they do not make short ones look fast, nor strained."""
    pace = Pace()
    for number in range(400):
        is_long = number % 2
        pace.add(20_000 if is_long else 10, 8.0 if is_long else 0.2, number * 0.1)

    assert pytest.approx(0.2, rel=STEP - 1) == pace.typical_s(64)
    assert pytest.approx(8.0, rel=STEP - 1) == pace.typical_s(1_000_000)
    assert pytest.approx(1.0) == pace.strain()


def test_quantiles_forget():
    """After a change that lasts, the old times are gone."""
    pace = Pace()
    now = _fed(pace, 0.2, 2000, 0.0)
    _fed(pace, 2.0, 2000, now)

    assert pytest.approx(2.0, rel=STEP - 1) == pace.typical_s(100)


def test_strain_is_the_ratio_to_what_is_usual():
    """Four times as slow, for some tens of calls, is a strain of four, and so many seconds."""
    pace = Pace()
    now = _fed(pace, 0.5, 500, 0.0)
    usual = pace.strain()
    _fed(pace, 2.0, 40, now)

    assert pytest.approx(1.0, abs=0.3) == usual
    assert pytest.approx(4.0, rel=0.25) == pace.strain()
    assert pytest.approx(1.5, rel=0.35) == pace.rise_s


def test_one_very_slow_call_is_no_strain():
    """One call of a minute among many of half a second is an outlier."""
    pace = Pace()
    now = _fed(pace, 0.5, 500, 0.0)
    pace.add(100, 60.0, now)

    assert pace.strain() < 2.0
    assert pace.newest > 50


def test_an_overload_is_not_learnt_as_normal():
    """After ten minutes of an overload it still is one; after a day it is the new normal."""
    pace = Pace()
    now = _fed(pace, 0.5, 500, 0.0)
    now = _fed(pace, 4.0, 6000, now)
    soon = pace.strain()
    _fed(pace, 4.0, 8640, now, gap_s=10.0)

    assert soon > 4.0
    assert pytest.approx(1.0, abs=0.3) == pace.strain()


def test_a_faster_backend_is_learnt_quickly():
    """A backend that was slow when first seen sets its baseline when it is fast, within minutes."""
    pace = Pace()
    now = _fed(pace, 5.0, 100, 0.0)
    now = _fed(pace, 0.5, 200, now)
    _fed(pace, 5.0, 40, now)

    assert pace.strain() > 5.0


def test_forgetting_strain_keeps_what_is_usual():
    """After forgetting, strain is as usual until enough new calls have spoken."""
    pace = Pace()
    now = _fed(pace, 0.5, 500, 0.0)
    now = _fed(pace, 5.0, 50, now)
    pace.forget()
    now = _fed(pace, 5.0, STRAIN_SAMPLES_MIN - 1, now)
    early = pace.strain()
    _fed(pace, 5.0, 1, now)

    assert 1.0 == early
    assert pace.strain() > 5.0


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.floats(0, 1e6), st.floats(0, 1e4)), max_size=400)
)
def test_any_time_and_any_size_can_be_added(samples):
    """No size and no time is out of range, and strain stays a positive, finite number."""
    pace, now = Pace(), 0.0
    for prompt_tokens, first_token_s, gap_s in samples:
        now += gap_s
        pace.add(prompt_tokens, first_token_s, now)

    assert 0.0 < pace.strain() < inf
