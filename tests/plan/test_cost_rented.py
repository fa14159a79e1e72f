"""What rented machines cost: on demand, reserved, spot, egress."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.catalog.rows import Instance
from baseload.plan.cost.rented import Rental, lost_share, rental_of, rented

P4D = Instance(
    name="p4d.24xlarge", cloud="aws", region="us-east-1", accelerator="A100-40", count=8, vcpus=96,
    memory_bytes=1152 * 2**30, on_demand_usd_hour=21.957642, spot_usd_hour=7.88,
    source="a test", seen="2026-11-26", verified=False,
)  # fmt: skip


def _with(rental, **changes):
    return msgspec.structs.replace(rental, **changes)


def test_on_demand_is_hours_times_rate():
    """Two machines for 8 hours a day: 730 / 24 * 8 hours each."""
    bill = rented(Rental(usd_hour=10.0, machines=2, hours_day=8.0))

    assert 2 * 730 / 3 * 10.0 == pytest.approx(bill.costs["compute"])
    assert bill.costs["compute"] == bill.usd_month


def test_three_years_of_a_p4d():
    """26,280 hours at the catalogue's rate."""
    rental = rental_of(P4D, "on_demand")

    assert 26_280 * 21.957642 == pytest.approx(rented(rental).usd_horizon)


def test_a_rate_that_is_not_known_is_no_rental():
    """Without a price there is nothing to work out; tenures not rented by the hour have none."""
    assert None is rental_of(P4D, "reserved_3y")
    assert None is rental_of(P4D, "api")


def test_a_commitment_is_paid_whether_used_or_not():
    """A third of the day used: the month costs all hours, two thirds of it for nothing."""
    bill = rented(Rental(usd_hour=10.0, tenure="reserved_1y", hours_day=8.0, months=12))

    assert 7300.0 == pytest.approx(bill.usd_month)
    assert 7300.0 * 2 / 3 == pytest.approx(bill.costs["commitment"])


@pytest.mark.parametrize(
    ("tenure", "months", "paid"),
    [
        ("reserved_1y", 12, 12),
        ("reserved_1y", 18, 24),
        ("reserved_3y", 12, 36),
        ("reserved_3y", 36, 36),
    ],
)
def test_commitments_are_whole_terms(tenure, months, paid):
    """A horizon that ends within a term pays the term to its end."""
    bill = rented(Rental(usd_hour=1.0, tenure=tenure, months=months))

    assert paid * 730.0 == pytest.approx(bill.usd_horizon)


def test_an_interruption_costs_the_start_of_a_replacement():
    """Ten interruptions a month of 730 s each lose 1/360 of 730 hours, bought again."""
    rental = Rental(usd_hour=10.0, tenure="spot", interruptions_month=10.0, start_s=730.0)

    assert 1 / 360 == pytest.approx(lost_share(rental))
    assert 7300.0 / (1 - 1 / 360) == pytest.approx(rented(rental).usd_month)


def test_what_spot_lacks_is_bought_on_demand():
    """A tenth of the time on demand, nine tenths on spot, with a quarter more machines."""
    rental = Rental(
        usd_hour=4.0, tenure="spot", machines=4, standby=0.25, interruptions_month=0.0,
        fallback_share=0.1, fallback_usd_hour=10.0,
    )  # fmt: skip

    costs = rented(rental).costs

    assert 4 * 730 * 4.0 * 0.9 == pytest.approx(costs["compute"])
    assert 1 * 730 * 4.0 * 0.9 == pytest.approx(costs["standby"])
    assert 5 * 730 * 10.0 * 0.1 == pytest.approx(costs["fallback"])
    assert 0.0 == costs["rework"]


def test_egress_begins_after_what_is_free():
    """100 GB are free, 9 cents each after that."""
    assert 0.0 == rented(Rental(usd_hour=1.0, egress_gb_month=90.0)).costs["egress"]
    assert 81.0 == pytest.approx(
        rented(Rental(usd_hour=1.0, egress_gb_month=1000.0)).costs["egress"]
    )


@given(
    st.sampled_from(["on_demand", "reserved_1y", "reserved_3y", "spot"]),
    st.sampled_from([
        "usd_hour", "machines", "hours_day", "standby", "interruptions_month", "start_s",
        "egress_gb_month", "egress_usd_gb", "fallback_usd_hour",
    ]),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)  # fmt: skip
def test_cost_is_monotone(tenure, field, one, other):
    """More hours, machines, interruptions or a higher price never cost less."""
    base = Rental(
        usd_hour=10.0, tenure=tenure, machines=3, hours_day=24.0, standby=0.5, start_s=900.0,
        interruptions_month=5.0, egress_gb_month=500.0, fallback_share=0.2, fallback_usd_hour=20.0,
    )  # fmt: skip
    low, high = (part * getattr(base, field) for part in sorted((one, other)))

    cheap, dear = (rented(_with(base, **{field: value})).usd_month for value in (low, high))
    assert cheap <= dear * (1 + 1e-12)


@given(st.sampled_from(["on_demand", "reserved_1y", "reserved_3y", "spot"]), st.floats(1.0, 120.0))
def test_a_month_times_the_months_is_the_horizon(tenure, months):
    """Also where a commitment outlasts the horizon, and no kind is negative."""
    bill = rented(Rental(usd_hour=10.0, tenure=tenure, months=months))

    assert bill.usd_month * months == pytest.approx(bill.usd_horizon)
    assert min(bill.costs.values()) >= 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tenure": "api"}, "tenure: api is not rented by the hour"),
        ({"hours_day": 25.0}, "hours_day: 25 is not 0 to 24"),
        ({"months": 0.0}, "months: 0 is not above 0"),
        ({"machines": -1}, "machines: -1 is below 0"),
        ({"fallback_share": 1.5}, "fallback_share is not between 0 and 1"),
        ({"tenure": "spot", "interruptions_month": 5000.0}, "interrupted before it has started"),
    ],
)
def test_inputs_that_mean_nothing_are_refused(changes, message):
    """An input out of its range is named, with what it must be."""
    with pytest.raises(ValueError, match=message):
        rented(_with(Rental(usd_hour=1.0), **changes))
