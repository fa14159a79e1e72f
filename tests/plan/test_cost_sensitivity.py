"""Which input moves a cost the most."""

import msgspec
import pytest

from baseload.plan.cost.owned import Ownership, owned
from baseload.plan.cost.sensitivity import Span, levers, moved, valued
from baseload.plan.result import Lever

OWN = Ownership(accelerator_usd=30_000.0, tdp_w=700.0)


class Plan(msgspec.Struct, frozen=True):
    """A double of a plan: inputs inside of inputs."""

    own: Ownership
    scale: float = 1.0


def _usd_month(own):
    return owned(own).usd_month


def test_the_strongest_comes_first():
    """Each input alone from low to high; the one that moves most leads."""
    found = levers(
        OWN,
        _usd_month,
        [
            Span(field="usd_kwh", low=0.10, high=0.20, what="electricity", unit="$/kWh"),
            Span(field="accelerator_usd", low=20_000.0, high=40_000.0),
        ],
    )

    assert ["accelerator_usd", "electricity"] == [lever.what for lever in found]
    assert ("0.1 $/kWh", "0.2 $/kWh") == (found[1].low, found[1].high)
    cheap = msgspec.structs.replace(OWN, usd_kwh=0.10)
    assert _usd_month(cheap) == found[1].usd_month_low


def test_a_lever_is_linear_in_a_price():
    """A fifth up and a fifth down of a price lie evenly around the base."""
    [lever] = levers(
        OWN, _usd_month, [Span(field="usd_kwh", low=0.8 * OWN.usd_kwh, high=1.2 * OWN.usd_kwh)]
    )

    assert _usd_month(OWN) == pytest.approx((lever.usd_month_low + lever.usd_month_high) / 2)
    assert lever.usd_month_low < lever.usd_month_high


def test_inputs_inside_of_inputs_have_dotted_names():
    """Any frozen struct will do, and a dot leads into a struct inside it."""
    plan = Plan(own=OWN, scale=2.0)

    assert 0.5 == moved(plan, "own.pue", 0.5).own.pue
    assert 2.0 == valued(moved(plan, "own.pue", 0.5), "scale")
    assert [
        Lever(what="scale", low="1", high="3", usd_month_low=10.0, usd_month_high=30.0)
    ] == list(levers(plan, lambda it: it.scale * 10.0, [Span(field="scale", low=1.0, high=3.0)]))


def test_whole_numbers_stay_whole():
    """A count is moved to the nearest whole number, and shown as what it was moved to."""
    [lever] = levers(OWN, _usd_month, [Span(field="servers", low=1.0, high=2.6)])

    assert 3 == moved(OWN, "servers", 2.6).servers
    assert ("1", "3") == (lever.low, lever.high)


@pytest.mark.parametrize("field", ["kwh", "own.kwh", "scale.x"])
def test_a_name_that_is_none_is_refused(field):
    """An input that the struct does not have is named."""
    with pytest.raises(ValueError, match=rf"{field}: \w+ has no `(kwh|x)`"):
        moved(Plan(own=OWN), field, 1.0)


def test_low_is_below_high():
    """A span that runs backwards is a mistake."""
    with pytest.raises(ValueError, match="pue: low is above high"):
        levers(OWN, _usd_month, [Span(field="pue", low=2.0, high=1.0)])
