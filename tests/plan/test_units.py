"""Which places there are, which splits are tried in them, and how many units a load takes."""

from datetime import date
from math import ceil

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.catalog.reading import load as read_catalogue
from baseload.plan.choosing import Paid, cheapest
from baseload.plan.cost.serverless import Need
from baseload.plan.following import Follower
from baseload.plan.hardware.memory import fit
from baseload.plan.load import Load
from baseload.plan.models.known import find
from baseload.plan.offers import api_ways, serverless_places
from baseload.plan.places import places
from baseload.plan.queueing.knee import keeps
from baseload.plan.request import TENURES, Machine
from baseload.plan.units import Sizer, across, key_of, precisions, within
from tests.plan import plans

TODAY = date.fromisoformat(plans.TODAY)
NEED = Need(run_max_s=10.0, memory_bytes=1e9)


def _catalogue():
    return read_catalogue(plans.catalogue(), today=TODAY)


def _places(**more):
    found, _ = places(plans.asked(**more), _catalogue())
    return {place.name: place for place in found}


def _tried(name, model=plans.QWEN_32B, **more):
    request = plans.asked(model, **more)
    sizer = Sizer(find(model), request.load, request.objectives, request.precision)
    return sizer, sizer.tried(_places()[name])


UNITS = {name: _tried(name)[1].units for name in ("north-big", "north-small-4")}


def test_places_of_one_cloud_and_region():
    """Only machines of the clouds and the region that are named, with the rates that are asked."""
    every = _places()
    region = _places(clouds=(), region="north-1")

    assert {"north-big", "north-small-4", "north-small"} == set(every)
    assert {"north-big"} == set(region)
    assert {"on_demand": 4.0, "reserved_1y": 3.0, "spot": 1.5} == every["north-big"].usd_hour
    assert {"on_demand": 5.0} == every["north-small-4"].usd_hour
    assert {"north-big"} == set(_places(tenures=("spot",)))
    assert {} == _places(tenures=("api",))


def test_own_machines_beside_a_cloud_are_those_that_are_named():
    """A plan for a cloud looks for no other machines to buy; those that one has are still there."""
    own = (Machine(accelerator="big", per_machine=4, machines_max=3),)
    place = _places(tenures=("owned",), hardware=own)["own 4xbig"]

    assert {} == _places(tenures=("owned",))
    assert (4, 3) == (place.per_machine, place.machines_max)
    assert "own 8xbig" in _places(tenures=("owned",), clouds=())


def test_services_and_apis_heed_cloud_and_region():
    """A service is one of its cloud and region; an API is of none."""

    def found(**more):
        request = plans.asked(tenures=TENURES, **more)
        return {place.name for place in serverless_places(request, _catalogue(), NEED)[0]}

    anywhere = plans.asked(tenures=TENURES, clouds=())

    assert {"north-runs"} == found()
    assert {"north-runs"} == found(clouds=(), region="north-1")
    assert set() == found(region="north-2")
    assert {"north-runs", "cloud-run-l4"} == found(clouds=())
    assert api_ways(find(plans.QWEN_32B), anywhere, _catalogue())
    for more in ({}, {"clouds": (), "region": "north-1"}):
        request = plans.asked(tenures=TENURES, **more)
        assert [] == api_ways(find(plans.QWEN_32B), request, _catalogue())


@pytest.mark.parametrize("name", UNITS)
def test_units_fit_with_their_longest_call(name):
    """What is given as a unit fits, takes some load, and stands in whole machines."""
    sizer, tried = _tried(name)

    assert tried.units
    for unit in tried.units:
        build = unit.build
        room = fit(
            find(plans.QWEN_32B), build.accelerator, build.layout, build.precision,
            context=sizer.context, sequences=build.layout.dp,
        )  # fmt: skip
        assert room.fits
        assert unit.knee_rps > 0
        assert unit.replicas * build.layout.accelerators <= unit.accelerators


@given(
    rps=st.floats(0.01, 5_000.0),
    unit=st.sampled_from([unit for units in UNITS.values() for unit in units]),
)
def test_units_that_a_load_takes_are_the_fewest(rps, unit):
    """So many take the load at the utilisation allowed, and one less does not."""
    objectives = plans.asked().objectives
    needed = unit.needed(plans.load(rps), objectives)
    each = unit.rps(objectives)

    assert needed * each >= rps * (1 - 1e-6)
    assert needed == 1 or (needed - 1) * each < rps


def test_a_pipeline_only_where_one_machine_is_too_small():
    """V3 spans machines that cannot hold it alone; a model that fits is not spread further."""
    small = {unit.machines for units in UNITS.values() for unit in units}
    spread = list(across(find("deepseek-v3"), _places()["north-big"]))

    assert {1} == small
    assert [2, 3, 4] == [layout.machines for layout in spread]
    assert [] == list(across(find("deepseek-v3"), _places()["north-small"]))


def test_splits_within_a_machine():
    """Powers of two that divide its accelerators and the heads; with MLA and experts copies too."""
    machine = msgspec.structs.replace(_places()["north-big"], per_machine=8)
    dense = [layout.tp for layout in within(find(plans.QWEN_7B), machine)]
    latent = [(layout.tp, layout.dp, layout.ep) for layout in within(find("deepseek-v3"), machine)]

    assert [1, 2, 4] == dense  # 28 heads.
    assert [(1, 1, 1), (2, 1, 1), (1, 2, 2), (4, 1, 1), (1, 4, 4), (8, 1, 1), (1, 8, 8)] == latent


@pytest.mark.parametrize(
    ("model", "accelerator", "only", "expected"),
    [
        (plans.QWEN_7B, "big", None, ["bf16", "fp8"]), (plans.QWEN_7B, "t4", None, ["bf16"]),
        ("deepseek-v3", "big", None, ["fp8"]), ("deepseek-v3", "a100-80", None, ["bf16"]),
        (plans.QWEN_7B, "big", "int4", ["int4"]), (plans.QWEN_7B, "a100-80", "fp8", []),
        (plans.QWEN_7B, "big", "fp32", []), (plans.QWEN_7B, "h100", "fp32", ["fp32"]),
    ],
)  # fmt: skip
def test_precisions_that_are_tried(model, accelerator, only, expected):
    """The model's own, and FP8 beside BF16; only those whose speed on the hardware is known."""
    row = _catalogue().accelerators[accelerator]

    assert expected == precisions(find(model), row, only)


def test_a_long_call_has_to_fit():
    """A trace's longest prompt and answer count; otherwise two deviations above the mean."""

    def context(**more):
        request = plans.asked(of=plans.load(**more))
        return Sizer(find(plans.QWEN_7B), request.load, request.objectives, None).context

    assert 1600 == context()
    assert 1200 * 3 + 400 * 2 == context(prompt_cv=1.0, answer_cv=0.5)
    assert 9500 == context(prompts=(10, 9000), answers=(500, 3), gaps=(1.0, 1.0))
    assert 131_072 == context(prompts=(200_000,), answers=(1,), gaps=(1.0,))


def test_who_shares_a_machine_is_no_part_of_a_speed():
    """A replica of two accelerators is as fast in a machine of two as in one of eight."""
    two = UNITS["north-small-4"][0].build
    wide = msgspec.structs.replace(two.layout, per_machine=8)
    tall = msgspec.structs.replace(two.layout, pp=3)

    assert key_of(two) == key_of(msgspec.structs.replace(two, layout=wide))
    assert key_of(two) != key_of(msgspec.structs.replace(two, layout=tall))


# -- choosing and following ---------------------------------------------------------------------


def _follower(load: Load):
    return Follower(load, plans.asked().objectives)


def _choose(units, usd_unit, count, follower, native="bf16"):
    objectives = plans.asked().objectives

    def usd_month(paid):
        return usd_unit[paid.unit.place.name] * paid.unit.needed(follower.load, objectives)

    paid = [Paid(unit, "on_demand") for unit in units]
    return cheapest(paid, usd_month, native, follower, count)


def test_an_estimate_that_is_too_good_is_found_out():
    """A unit that promises much, and takes little when it is followed, is not the cheapest."""
    big, small = (max(UNITS[name], key=lambda each: each.knee_rps) for name in UNITS)
    liar = msgspec.structs.replace(small, knee_rps=small.knee_rps * 100)
    usd = {"north-big": 1.0, "north-small-4": 0.9}
    follower = _follower(plans.load(40.0))
    (chosen,) = _choose([liar, big], usd, 1, follower)
    count = ceil(40.0 / chosen.unit.rps(plans.asked().objectives))

    assert "north-big" == chosen.unit.place.name
    assert chosen.unit.is_followed
    assert follower.knows(small)
    assert count == chosen.unit.needed(follower.load, plans.asked().objectives)


def test_of_one_machine_one_split_is_chosen():
    """The model's own precision where another costs as much, however many more it would take."""
    units = _tried("north-big", plans.QWEN_7B)[1].units
    chosen = _choose(units, {"north-big": 1.0}, 5, _follower(plans.load(0.01)))

    assert {"bf16", "fp8"} == {unit.build.precision for unit in units}
    assert ["bf16"] == [paid.unit.build.precision for paid in chosen]


@pytest.mark.parametrize("part", [0.05, 0.9, 3.0])
def test_a_settled_knee_holds_at_the_planned_load(part):
    """Whatever knee it starts with, what is settled keeps the objectives with what it needs."""
    unit = UNITS["north-big"][0]
    follower = _follower(plans.load(3.0))
    found = follower.settled(msgspec.structs.replace(unit, knee_rps=unit.knee_rps * part))
    settled, latency = found

    assert keeps(latency, follower.objectives)
    assert latency.rps == follower.load.rps / settled.needed(follower.load, follower.objectives)
