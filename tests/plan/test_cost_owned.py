"""What own servers cost, by kind, and what moves it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.cost.owned import Ownership, annuity_usd_month, capital_parts, kept_usd, owned

H100 = Ownership(accelerator_usd=30_000.0, tdp_w=700.0)
DEARER = (
    "accelerator_usd", "server_usd", "network_usd", "spares", "interest_year", "tdp_w", "rest_w",
    "pue", "usd_kwh", "colocation_usd_kw_month", "transit_usd_month", "staff_persons",
    "staff_persons_server", "wage_usd_year", "maintenance_year", "load", "servers", "accelerators",
)  # fmt: skip


def _with(own, **changes):
    return msgspec.structs.replace(own, **changes)


def test_capital_is_what_is_bought_and_spares():
    """Two servers of eight: accelerators, servers, network, and 5 % of all for spares."""
    parts = capital_parts(_with(H100, servers=2))

    assert {
        "accelerators": 480_000.0, "servers": 140_000.0, "network": 20_000.0, "spares": 32_000.0,
    } == parts  # fmt: skip


@given(
    st.floats(0.0, 1e7), st.floats(0.0, 0.5), st.integers(1, 120)
)  # fmt: skip
def test_an_annuity_pays_back_capital_and_interest(usd, interest_year, months):
    """Equal payments, with interest on what is left each month, leave nothing at the end."""
    payment = annuity_usd_month(usd, interest_year, months)
    left, interest = usd, 0.0
    for _ in range(months):
        interest += left * interest_year / 12
        left = left * (1 + interest_year / 12) - payment

    assert 0.0 == pytest.approx(left, abs=max(1e-6 * usd, 1e-9) * (1 + interest_year) ** 10)
    assert usd + interest == pytest.approx(payment * months, rel=1e-6, abs=1e-9)


def test_a_loan_without_interest_is_divided():
    """Without interest a month pays its part."""
    assert 100.0 == annuity_usd_month(1200.0, 0.0, 12)


def test_capital_and_interest_are_the_payments_less_resale():
    """What is lost in value and paid as interest is what is paid back less what is still fetched."""
    bill = owned(H100)
    bought = sum(capital_parts(H100).values())
    paid = annuity_usd_month(bought, H100.interest_year, 36) * 36

    lost = (bill.costs["capital"] + bill.costs["interest"]) * 36
    assert paid - kept_usd(H100) == pytest.approx(lost)


def test_kinds_are_worked_out_by_hand():
    """One server of eight H100 at full load: each kind by its formula."""
    own = _with(H100, pue=1.5, usd_kwh=0.10, colocation_usd_kw_month=200.0, kept_year=1.0)

    costs = owned(own).costs

    assert 0.0 == pytest.approx(costs["capital"])
    assert 10.2 * 200.0 == pytest.approx(costs["colocation"])
    assert 0.27 * 96_800 / 0.70 / 12 == pytest.approx(costs["staff"])
    assert 336_000 * 0.05 / 12 == pytest.approx(costs["maintenance"])
    assert 500.0 == costs["network"]
    assert (8 * 692.65 + 4600) / 1000 * 730 * 1.5 * 0.10 == pytest.approx(costs["power"], rel=1e-4)


def test_servers_multiply_all_but_what_the_cluster_has_once():
    """Three servers: three times the iron and its power, one access, staff by base and each."""
    one, three = owned(H100).costs, owned(_with(H100, servers=3)).costs

    for kind in ("capital", "interest", "power", "colocation", "maintenance"):
        assert 3 * one[kind] == pytest.approx(three[kind])
    assert one["network"] == three["network"]
    assert one["staff"] * (0.25 + 3 * 0.02) / (0.25 + 0.02) == pytest.approx(three["staff"])


def test_racks_are_whole():
    """By the rack, 10.2 kW in racks of 6 kW take two."""
    bill = owned(_with(H100, rack_usd_month=1500.0, rack_w=6000.0))

    assert 3000.0 == bill.costs["colocation"]


def test_a_month_times_the_months_is_the_horizon():
    """What a bill says of a month and of the horizon agree, and no kind is negative."""
    bill = owned(_with(H100, months=48.0))

    assert bill.usd_month * 48.0 == pytest.approx(bill.usd_horizon)
    assert min(bill.costs.values()) >= 0.0


@given(st.sampled_from(DEARER), st.floats(0.1, 0.9))
def test_no_input_makes_it_cheaper_when_it_rises(field, part):
    """Cost is monotone in every price, in power, in staff, in the load and in servers."""
    base = _with(H100, load=0.5, servers=10, accelerators=8, pue=2.0)
    now = getattr(base, field)
    below = max(1, int(now * part)) if isinstance(now, int) else max(now * part, _least(field))

    assert owned(_with(base, **{field: below})).usd_month < owned(base).usd_month


def _least(field):
    return 1.0 if field == "pue" else 0.0


@given(st.floats(0.0, 0.99))
def test_what_keeps_its_value_costs_less(kept_year):
    """The better servers sell at the end, the less they cost."""
    assert (
        owned(_with(H100, kept_year=1.0)).usd_month
        < owned(_with(H100, kept_year=kept_year)).usd_month
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"months": 0.0}, "months: 0 is not above 0"),
        ({"servers": 0}, "servers: 0 is below 1"),
        ({"usd_kwh": -0.1}, "usd_kwh: -0.1 is below 0"),
        ({"kept_year": 1.2}, "kept_year: 1.2 is not between 0 and 1"),
        ({"wage_share": 0.0}, "wage_share: 0 is not above 0, up to 1"),
        ({"rack_w": 0.0}, "rack_w: 0 is not above 0"),
    ],
)
def test_inputs_that_mean_nothing_are_refused(changes, message):
    """An input out of its range is named, with what it must be."""
    with pytest.raises(ValueError, match=message):
        owned(_with(H100, **changes))


def test_a_million_tokens_have_a_price():
    """A bill over a month's tokens is a price for a million."""
    bill = owned(H100)

    assert bill.usd_month / 500 == pytest.approx(bill.usd_mtok(500e6))
    with pytest.raises(ValueError, match="tokens_month: 0 is not above 0"):
        bill.usd_mtok(0.0)
