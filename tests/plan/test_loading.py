"""Loading weights, starting a replica, moving bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.catalog.rows import Storage
from baseload.plan.transport.loading import (
    MACHINE_S,
    SAFETENSORS_BYTES_S,
    SERVERLESSLLM_BYTES_S,
    WARM_UP_S,
    Way,
    load,
    start,
)
from baseload.plan.transport.transfer import transfer


def storage(kind, read_bytes_s):
    """Make a row of the catalogue."""
    return Storage(
        name=kind, source="a test", seen="2026-11-26", verified=False, kind=kind,
        read_bytes_s=read_bytes_s,
    )  # fmt: skip


GEN4 = storage("disk", 7e9)


def test_one_gen4_drive_takes_96_seconds_for_671_gb():
    """More than twice 40 s; three drives would do."""
    assert 95.86 == pytest.approx(load(671e9, Way(storage=GEN4)).seconds, abs=0.01)
    assert 40 > load(671e9, Way(storage=GEN4, drives=3)).seconds


@pytest.mark.parametrize(
    ("way", "limit", "gb_s"),
    [
        (Way(storage=GEN4, drives=4), "storage", 28),
        (Way(storage=GEN4, drives=4, bus_bytes_s=25e9), "bus", 25),
        (Way(storage=GEN4, drives=4, bus_bytes_s=25e9, accelerators=8), "storage", 28),
        (Way(storage=storage("array", 40e9), readers=8), "storage", 5),
        (Way(storage=storage("array", 40e9), network_bytes_s=25e9), "network", 25),
        (Way(storage=storage("object", 2e9), readers=8, network_bytes_s=25e9), "storage", 2),
        (Way(storage=GEN4, network_bytes_s=1e9), "storage", 7),
        (Way(storage=GEN4, loader_bytes_s=SAFETENSORS_BYTES_S), "loader", 3.43),
    ],
)
def test_the_least_on_the_way_counts(way, limit, gb_s):
    """Disks add up, arrays are shared, object storage is not, a disk needs no network."""
    loading = load(100e9, way)

    assert limit == loading.limit
    assert gb_s == pytest.approx(loading.bytes_s / 1e9, rel=1e-3)
    assert 100 / gb_s == pytest.approx(loading.seconds, rel=1e-3)


def test_loaders_differ_as_they_were_measured():
    """65.5 GB in 19.1 and 3.2 seconds."""
    rates = (SAFETENSORS_BYTES_S, SERVERLESSLLM_BYTES_S)

    assert [19.1, 3.2] == pytest.approx([65.5e9 / rate for rate in rates])


def test_a_start_is_the_sum_of_its_parts_and_each_says_its_source():
    """Machine, image, weights, warm-up; from shortest to longest."""
    begun = start(load(70e9, Way(storage=GEN4)), image_s=(60.0, 90.0, "a pull that was timed"))

    assert ["machine", "image", "weights", "warm-up"] == [part.what for part in begun.parts]
    assert MACHINE_S[0] + 60 + 10 + WARM_UP_S == pytest.approx(begun.low_s)
    assert MACHINE_S[1] + 90 + 10 + WARM_UP_S == pytest.approx(begun.high_s)
    assert all(part.source for part in begun.parts)


def test_what_is_given_is_not_said_to_be_measured():
    """A user's own machine and warm-up times name no one else's source."""
    begun = start(load(70e9, Way(storage=GEN4)), machine_s=(0.0, 0.0), warm_up_s=90.0)

    assert ["as given", "as given"] == [begun.parts[0].source, begun.parts[3].source]
    assert 100 == pytest.approx(begun.low_s)


@given(st.floats(1e6, 1e12), st.floats(1.0, 10.0))
def test_more_bandwidth_never_slows(size, factor):
    """Whatever else is on the way."""
    slow = Way(storage=GEN4, bus_bytes_s=20e9, loader_bytes_s=9e9)
    fast = Way(storage=storage("disk", 7e9 * factor), bus_bytes_s=20e9, loader_bytes_s=9e9)

    assert load(size, fast).seconds <= load(size, slow).seconds


@pytest.mark.parametrize(
    ("size", "gigabits_s", "expected_s"),
    [(1e15, 200, 40_000), (1e15, 3200, 2_500), (671e9, 10, 536.8)],
)
def test_transfers_take_as_long_as_their_bytes(size, gigabits_s, expected_s):
    """1 PB over 200 Gb/s is 11.1 hours and over 3.2 Tb/s 42 minutes; 671 GB over 10 GbE 9."""
    assert expected_s == pytest.approx(transfer(size, gigabits_s * 1e9 / 8).seconds)


def test_links_efficiency_and_egress_count():
    """Four links at 80 % carry 3.2 times one; each GB costs."""
    moved = transfer(1e12, 1e9, links=4, efficiency=0.8, egress_usd_gb=0.09)

    assert (312.5, 90.0) == pytest.approx((moved.seconds, moved.usd))
    assert 312.5 / 3600 == moved.hours


@pytest.mark.parametrize(("rate", "efficiency"), [(1e9, 0.0), (1e9, 1.1), (0.0, 1.0)])
def test_an_impossible_link_is_refused(rate, efficiency):
    """Nothing is faster than the line, and nothing is carried by none."""
    with pytest.raises(ValueError, match=r"carry nothing|at most 1"):
        transfer(1e9, rate, efficiency=efficiency)
