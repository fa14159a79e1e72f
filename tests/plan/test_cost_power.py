"""What servers draw: the curve against what was measured, energy, its cost and its CO2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.cost.power import (
    co2_g_token,
    energy_kwh,
    energy_usd,
    joules_token,
    load_of,
    watts,
)

H200_W = {4: 478.9, 8: 547.6, 16: 606.9, 32: 666.3, 64: 684.1, 128: 692.6, 256: 690.5}
"""Measured on one H200 with a dense model of 7.6 billion parameters, watts by calls at once."""


@pytest.mark.parametrize(("calls", "measured"), H200_W.items())
def test_the_curve_is_what_was_measured(calls, measured):
    """From four calls at once on, the curve is within 4 % of the measurement."""
    assert measured == pytest.approx(watts(700.0, load_of(calls)), rel=0.04)


def test_an_idle_accelerator_draws_a_ninth():
    """Without load an H200 draws 80 W of its 700."""
    assert 80.5 == pytest.approx(watts(700.0, 0.0))


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(1.0, 2000.0))
def test_more_load_never_draws_less(one, other, tdp_w):
    """Watts rise with the load and never pass the TDP."""
    low, high = sorted((one, other))

    assert watts(tdp_w, low) <= watts(tdp_w, high) * (1 + 1e-12)
    assert watts(tdp_w, high) <= tdp_w


def test_a_load_above_one_is_refused():
    """A load is 0 to 1; calls at once have a load of at most 1."""
    assert 1.0 == load_of(1000.0)
    with pytest.raises(ValueError, match=r"load: 1.5 is not between 0 and 1"):
        watts(700.0, 1.5)


def test_energy_is_power_times_hours_times_pue():
    """10 kW over 730 h at a PUE of 1.5 are 10,950 kWh, $1,095 at 10 cents."""
    assert 10_950.0 == pytest.approx(energy_kwh(10_000.0, 730.0, 1.5))
    assert 1_095.0 == pytest.approx(energy_usd(10_000.0, 730.0, 1.5, 0.10))


def test_a_pue_below_one_is_refused():
    """A site cannot take less than its machines."""
    with pytest.raises(ValueError, match=r"pue: 0.9 is below 1"):
        energy_kwh(1.0, 1.0, 0.9)


def test_a_token_has_joules_and_grams():
    """1,000 W for 100 tokens a second at PUE 1.2 are 12 J each; 3.6 MJ are a kWh."""
    assert 12.0 == pytest.approx(joules_token(1000.0, 100.0, 1.2))
    assert 366.0 == pytest.approx(co2_g_token(3.6e6))
