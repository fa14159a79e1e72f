"""The rows that come along: complete, sourced, dated, and with the figures that are known."""

import time
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.config.prices import known_rows
from baseload.config.tenancy import Peak
from baseload.plan.catalog.checking import CatalogueError
from baseload.plan.catalog.reading import (
    PRICE_DAYS_MAX,
    SYSTEMS,
    accelerator_of_system,
    is_stale,
    load,
    rows_of,
)
from baseload.plan.catalog.rows import Instance
from baseload.plan.catalog.tariffs import api_prices, peak_share

TODAY = date(2026, 11, 26)
GIB = 2**30
MIB = 2**20


@pytest.fixture(scope="module")
def catalogue():
    """Give the catalogue without a user's own rows."""
    return load(today=TODAY)


def test_every_row_says_where_it_is_from(catalogue):
    """A figure without source and day is a rumour; no day lies in the future."""
    rows = [row for named in rows_of(catalogue).values() for row in named.values()]

    assert len(rows) > 120
    for row in rows:
        assert len(row.source) >= 8, row.name
        assert date(2017, 1, 1) <= date.fromisoformat(row.seen) <= TODAY, row.name
        assert isinstance(row.verified, bool)


def test_rows_bear_the_names_that_they_are_found_by(catalogue):
    """The key of a table is the row's name."""
    for kind, named in rows_of(catalogue).items():
        assert list(named) == [row.name for row in named.values()], kind


@pytest.mark.parametrize(
    ("name", "memory_gb", "bandwidth_gb_s", "tera", "tdp_w"),
    [
        ("t4", 16, 320, {"bf16": 65.1, "int8": 130.3}, 70),
        ("l40s", 48, 864, {"bf16": 362.1, "int8": 733, "fp8": 733}, 350),
        ("a100-40", 40, 1555, {"bf16": 312, "int8": 624}, 400),
        ("a100-80", 80, 2039, {"bf16": 312, "int8": 624}, 400),
        ("a100-80-pcie", 80, 1935, {"bf16": 312, "int8": 624}, 300),
        ("h100", 80, 3350, {"bf16": 989, "int8": 1978, "fp8": 1978}, 700),
        ("h200", 141, 4800, {"bf16": 989, "int8": 1978, "fp8": 1978}, 700),
        ("mi300x", 192, 5300, {"bf16": 1307, "int8": 2615, "fp8": 2615}, 750),
    ],
)
def test_known_figures_of_accelerators(catalogue, name, memory_gb, bandwidth_gb_s, tera, tdp_w):
    """Dense operations, bandwidth and power as published; memory as drivers report it."""
    row = catalogue.accelerators[name]
    flops = {each: round(value / 1e12, 1) for each, value in row.flops.items()}

    assert tera == {each: flops[each] for each in flops.keys() - {"fp32", "int4"}}
    assert (bandwidth_gb_s * 1e9, tdp_w) == (row.bandwidth_bytes_s, row.tdp_w)
    assert 0.93 * memory_gb * GIB <= row.memory_bytes <= memory_gb * GIB


def test_the_l40s_has_what_its_driver_says(catalogue):
    """46,068 MiB, not 48 GB."""
    assert 46_068 * MIB == catalogue.accelerators["l40s"].memory_bytes


def test_links_between_neighbours(catalogue):
    """NVLink is counted one way: half of what is advertised."""
    speeds = {
        name: catalogue.accelerators[name].link_bytes_s for name in ("a100-40", "h100", "h200")
    }

    assert {"a100-40": 300e9, "h100": 450e9, "h200": 450e9} == speeds
    assert 0 == catalogue.accelerators["l40s"].link_bytes_s
    assert 25e9 == catalogue.links["infiniband-hdr"].bytes_s
    assert 50e9 == catalogue.links["infiniband-ndr"].bytes_s


def test_what_sources_disagree_on_is_a_range(catalogue):
    """Ascend 910B is unverified, and its figure is the cautious end of each range."""
    row = catalogue.accelerators["ascend-910b"]

    assert not row.verified
    assert (0.4e12, 1.2e12) == row.range["bandwidth_bytes_s"]
    assert (256e12, 320e12) == row.range["flops.bf16"]
    assert row.bandwidth_bytes_s == row.range["bandwidth_bytes_s"][0]
    assert row.memory_bytes == row.range["memory_bytes"][0]


def test_figures_lie_in_their_ranges(catalogue):
    """Of every accelerator that has some, to the byte."""
    checked = 0
    for row in catalogue.accelerators.values():
        for field, (low, high) in row.range.items():
            name, _, precision = field.partition(".")
            value = getattr(row, name)[precision] if precision else getattr(row, name)
            assert low <= value <= high, (row.name, field)
            checked += 1
    assert checked > 8


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        ("t4", 2_000.0), ("l4", 2_500.0), ("l40s", 10_000.0), ("a100-80", 15_000.0),
        ("h100", 30_000.0), ("h200", 35_000.0), ("b200", 40_000.0), ("b300", 50_000.0),
        ("mi300x", 15_000.0), ("a10g", None), ("h100-pcie", None), ("ascend-910b", None),
    ],
)  # fmt: skip
def test_what_an_accelerator_costs_to_buy(catalogue, name, usd):
    """As it was read, or nothing: no price is guessed."""
    assert usd == catalogue.accelerators[name].usd


def test_a_price_to_buy_says_where_it_was_read_and_is_the_cautious_one(catalogue):
    """The dearest, where sources disagree."""
    priced = [row for row in catalogue.accelerators.values() if row.usd is not None]

    assert len(priced) >= 17
    for row in priced:
        assert "Price" in row.note, row.name
        assert "secondary" in row.note, row.name
        assert row.usd == row.range.get("usd", (0.0, row.usd))[1], row.name


@pytest.mark.parametrize(
    ("name", "accelerators", "on_demand", "lowest", "highest"),
    [
        ("p4d.24xlarge", (8, "a100-40"), 21.957642, 2.4655, 8.1915),
        ("p4de.24xlarge", (8, "a100-80"), 27.44705, 8.65, 9.97),
        ("p5.48xlarge", (8, "h100"), 55.04, 10.2397, 55.04),
        ("p5.4xlarge", (1, "h100"), 6.88, None, None),
        ("p5en.48xlarge", (8, "h200"), 63.296, 16.5551, 18.2492),
        ("g6e.48xlarge", (8, "l40s"), 30.13118, 10.2818, 10.4635),
        ("g4dn.xlarge", (1, "t4"), 0.526, None, None),
    ],
)
def test_known_prices_of_machines(catalogue, name, accelerators, on_demand, lowest, highest):
    """As AWS lists them for us-east-1, and the ends of what its zones take for spot."""
    row = catalogue.instances[name]

    assert accelerators == (row.count, row.accelerator)
    assert ("aws", "us-east-1", on_demand) == (row.cloud, row.region, row.on_demand_usd_hour)
    if lowest is None:
        assert row.spot_usd_hour is None
    else:
        assert (lowest, highest) == row.spot_range_usd_hour
        assert lowest <= row.spot_usd_hour <= highest


def test_enough_machines_of_three_clouds(catalogue):
    """Forty kinds at least have a price; Tencent shows none, and the rows say so."""
    rows = catalogue.instances.values()
    priced = [row for row in rows if row.on_demand_usd_hour is not None]

    assert len(priced) >= 40
    assert {"aws", "azure", "tencent"} == {row.cloud for row in rows}
    assert all("price" in row.note for row in rows if row.on_demand_usd_hour is None)


def test_spot_is_not_dearer_than_on_demand(catalogue):
    """And machines have the memory of a machine."""
    for row in catalogue.instances.values():
        if row.spot_usd_hour is not None:
            assert row.spot_usd_hour <= row.on_demand_usd_hour, row.name
        assert 16 * GIB <= row.memory_bytes <= 4096 * GIB, row.name


@pytest.mark.parametrize(
    ("name", "one", "three"),
    [
        ("p4d.24xlarge", 13.921094, 9.374218),
        ("p4de.24xlarge", 17.401365, 11.717773),
        ("p5.48xlarge", 43.344, 23.77728),
        ("g5.2xlarge", 0.76356, 0.52358),
        ("g6.12xlarge", 2.99564, 2.11213),
        ("g6e.xlarge", 1.17243, 0.80395),
        ("Standard_ND96asr_v4", 18.828311, 10.878729),
        ("Standard_ND96isr_H100_v5", 62.924772, 43.162481),
        ("Standard_NC24ads_A100_v4", 2.401027, 1.363052),
        ("p5en.48xlarge", None, None),
        ("p6-b200.48xlarge", None, None),
    ],
)
def test_what_a_term_costs(catalogue, name, one, three):
    """An hour, without paying ahead; nothing where none was found."""
    row = catalogue.instances[name]

    assert (one, three) == (row.reserved_1y_usd_hour, row.reserved_3y_usd_hour)


def test_longer_terms_are_cheaper_and_say_where_they_were_read(catalogue):
    """Three years cost less than one, one less than none."""
    rows = [row for row in catalogue.instances.values() if row.reserved_1y_usd_hour is not None]

    assert len(rows) >= 30
    for row in rows:
        prices = [row.reserved_3y_usd_hour, row.reserved_1y_usd_hour, row.on_demand_usd_hour]
        assert sorted(set(prices)) == prices, row.name
        assert "Reserved: " in row.note, row.name
        assert "secondary" in row.note, row.name


def test_the_three_machines_of_the_old_claim(catalogue):
    """At most 320, 320 and 256 GB of GPU memory: what 1.2T, 800B and 600B parameters were said of."""
    for name, gib in (
        ("p4d.24xlarge", 320),
        ("Standard_ND96asr_v4", 320),
        ("GN10Xp.20XLARGE320", 256),
    ):
        row = catalogue.instances[name]
        total = row.count * catalogue.accelerators[row.accelerator].memory_bytes

        assert 0.98 * gib * GIB <= total <= gib * GIB, name


def test_lambda_has_its_limits(catalogue):
    """15 minutes and 10,240 MB, at a price for each GB and second."""
    row = catalogue.serverless["aws-lambda"]

    assert (900.0, 10_240 * MIB, 2e-7) == (row.run_max_s, row.memory_max_bytes, row.usd_call)
    assert 0.0000166667 * 10 == pytest.approx(row.usd_second)


def test_an_unknown_price_is_none_and_not_nothing(catalogue):
    """Nobody lends GPUs for free."""
    assert catalogue.serverless["tencent-ti-one"].usd_second is None


def test_systems_of_measurements_are_accelerators(catalogue):
    """Each name in AIConfigurator's data leads to a row; others are told."""
    for system in SYSTEMS:
        assert accelerator_of_system(system) in catalogue.accelerators
    assert ["h200", "b300", "gb200"] == [
        accelerator_of_system(system) for system in ("h200_sxm", "b300_sxm", "gb200")
    ]
    with pytest.raises(CatalogueError, match="did you mean `h100_sxm`"):
        accelerator_of_system("h100_smx")


# -- APIs ----------------------------------------------------------------------------------------


def test_deepseek_costs_what_the_gateway_says(catalogue):
    """Prices are kept once; peak hours of working days become a part of the week."""
    row = catalogue.apis["api.deepseek.com/deepseek-flash"]

    assert (0.15, 0.003, 0.6) == (row.input_usd_mtok, row.cached_usd_mtok, row.output_usd_mtok)
    assert (2.0, pytest.approx(7 * 5 / 168)) == (row.peak_factor, row.peak_share)
    assert row.source in {known.source for known in known_rows()}


def test_prices_are_those_of_the_day():
    """Before a price begins, an older one holds; before the first, there is none."""
    by_day = {
        day: {row.name: row.input_usd_mtok for row in api_prices(day)}
        for day in (date(2026, 4, 1), date(2026, 8, 1), date(2026, 9, 1), TODAY)
    }
    name = "api.deepseek.com/deepseek-v4-flash"

    assert [None, 0.14, 0.22, 0.15] == [prices.get(name) for prices in by_day.values()]


@pytest.mark.parametrize(
    ("peak", "share"),
    [
        (None, 0.0),
        (Peak(hours=("00:00-24:00",)), 1.0),
        (Peak(hours=("01:00-04:00", "06:00-10:00")), 7 / 24),
        (Peak(hours=("01:00-04:00", "06:00-10:00"), weekdays_only=True), 7 / 24 * 5 / 7),
        (Peak(hours=("22:00-02:00",)), 4 / 24),
        (Peak(hours=("01:00-04:00", "03:00-05:00")), 4 / 24),
    ],
)
def test_hours_become_a_part_of_the_week(peak, share):
    """Past midnight, too, and hours named twice count once."""
    assert share == pytest.approx(peak_share(peak))


# -- age -----------------------------------------------------------------------------------------


def test_prices_grow_stale_and_hardware_does_not(catalogue):
    """After 90 days, from the day on which they were seen; a chip only where it has a price."""
    machine, chip = catalogue.instances["p5.48xlarge"], catalogue.accelerators["a10g"]
    seen = date.fromisoformat(machine.seen)
    days = [seen, seen + timedelta(PRICE_DAYS_MAX), seen + timedelta(PRICE_DAYS_MAX + 1)]

    assert [False, False, True] == [is_stale(machine, day) for day in days]
    assert not is_stale(chip, date(2099, 1, 1))
    assert is_stale(catalogue.accelerators["t4"], date(2099, 1, 1))
    assert not is_stale(catalogue.links["nvlink4"], date(2099, 1, 1))


def test_what_has_no_price_has_none_that_is_stale(catalogue):
    """A machine whose price is not known is not out of date."""
    assert not is_stale(catalogue.instances["GN10Xp.20XLARGE320"], date(2099, 1, 1))


@given(age=st.integers(0, 2000), more=st.integers(0, 2000))
def test_what_is_stale_stays_stale(age, more):
    """No day later makes a price fresh."""
    row = Instance(
        name="m", source="s", seen="2020-01-01", verified=True, cloud="c", region="r",
        accelerator="a", count=1, vcpus=1, memory_bytes=1, on_demand_usd_hour=1.0,
    )  # fmt: skip
    day = date(2020, 1, 1) + timedelta(age)

    assert is_stale(row, day) <= is_stale(row, day + timedelta(more))


def test_reading_is_quick(catalogue):
    """A second reading takes the rows that are there; no plan waits for it."""
    begin = time.perf_counter()
    load(today=TODAY)

    assert time.perf_counter() - begin < 0.05
