"""The worked examples: what is printed, and that it follows from the inputs.

Rows of the catalogue are fixed ones (`rows`), so that newer prices change no golden text.
`BASELOAD_UPDATE_GOLDEN=1 pytest tests/plan` writes the golden text anew, and the same text into
docs/claims.md; read the difference before it is committed.
"""

import os
import re
from datetime import date
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.catalog.reading import load
from baseload.plan.claims.calls import Traffic, calls_claim
from baseload.plan.claims.claim import text_of
from baseload.plan.claims.cluster import Cluster, cluster_claim
from baseload.plan.claims.examples import LARGEST, worked_examples
from baseload.plan.claims.failover import Failover, failover_claim
from baseload.plan.claims.narrow import Narrow, narrow_claim, part_needed
from baseload.plan.claims.petabyte import Petabyte, petabyte_claim
from baseload.plan.claims.sizes import Sizes, Sold, sizes_claim
from baseload.plan.claims.starts import Starts, cold_claim, load_claim
from tests.plan import rows

GOLDEN = Path(__file__).parent / "golden" / "worked_examples.md"
PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
HEAD = "<!-- Written by the tests: see tests/plan/test_claims.py. -->\n\n"

CLUSTER = Cluster(p4d=rows.P4D)
TRAFFIC = Traffic(now=rows.API, one=rows.P5_ONE, eight=rows.P5, functions=rows.LAMBDA)
SIZES = Sizes(
    machines=tuple(
        Sold(
            instance=row, accelerator=rows.CATALOGUE.accelerators[row.accelerator],
            params=LARGEST[row.name][0], sold_bytes=LARGEST[row.name][1],
        )
        for row in (rows.P4D, rows.NDV4, rows.GN10XP)
    )
)  # fmt: skip
PETABYTE = Petabyte(port=rows.PORT, machine=rows.P5, drive=rows.DRIVE)
NARROW = Narrow(accelerator=rows.A100_80)


def _results(claim):
    return {step.what: step.result for step in claim.steps}


def _with(struct, **changes):
    return msgspec.structs.replace(struct, **changes)


def _text():
    text = text_of(worked_examples(rows.CATALOGUE))
    if os.environ.get("BASELOAD_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
        PAGE.write_text(PAGE.read_text().partition(HEAD)[0] + HEAD + text)
    return text


def test_the_worked_examples_are_as_reviewed():
    """What the code prints is the golden text."""
    assert _text() == GOLDEN.read_text()


def test_the_page_shows_them_as_printed():
    """docs/claims.md ends with the same text."""
    assert _text() == PAGE.read_text().partition(HEAD)[2]


def test_the_cluster_beside_each_reference():
    """One or five p4d, old, today's and spot prices: what the cluster saves, or costs more."""
    results = _results(cluster_claim(CLUSTER))

    assert {
        "one p4d at the claimed price": "$861,458",
        "the cluster beside one p4d at the claimed price": "saves 44.3 %",
        "the cluster beside one p4d today": "saves 16.8 %",
        "the cluster beside five p4d at the claimed price": "saves 88.9 %",
        "the cluster beside five p4d today": "saves 83.4 %",
        "the cluster beside one p4d on spot": "costs 2.3 times as much",
        "use of one p4d at which that is its cost, claimed price": "88.4 %",
        "use of one p4d at which that is its cost, today": "132.0 %",
        "break-even use, claimed price": "55.7 %",
        "break-even use, today": "83.2 %",
        "power, if each draws what a server of eight may": "$128,115",
    }.items() <= results.items()


def test_calls_beside_machines():
    """$60 a day at the API, $165 for one H100, $1,321 for eight, and where they meet."""
    results = _results(calls_claim(TRAFFIC))

    assert {
        "a day at the API at the claim's time": "$60",
        "a day of one H100": "$165",
        "a day of eight H100": "$1,321",
        "break-even with one H100": "136,802 requests a day",
        "break-even with eight H100": "1,094,416 requests a day",
        "671 GB of weights on 8 H100": "does not fit",
        "15.2 GB of weights on aws-lambda: memory": "refused",
    }.items() <= results.items()


def test_starts_and_loads():
    """What is left for weights, and the bandwidths that 5 minutes and 40 s take."""
    assert "122.5 s" == _results(cold_claim())["180 s: left for weights on a warm machine"]
    results = _results(load_claim())
    assert "7.5 times" == results["faster by"]
    assert "0.47 GB/s, 3.52 GB/s" == results["70B in BF16: bandwidth before and after"]
    assert "95.9 s" == results["671B in FP8: read from one drive"]


def test_the_largest_models_beside_memory():
    """Bits a parameter with nothing else in memory, and the most that each precision takes."""
    results = _results(sizes_claim(SIZES))
    names = ("p4d.24xlarge", "Standard_ND96asr_v4", "GN10Xp.20XLARGE320")

    for what, found in (
        ("bits a parameter", ("2.1", "3.2", "3.4")),
        ("most in int8", ("288B", "288B", "230B")),
        ("most in int4", ("576B", "576B", "461B")),
        ("DeepSeek-V3, 8,192 tokens", ("does not fit",) * 3),
        ("Llama-3.1-405B, 8,192 tokens", ("fits in int4", "fits in int4", "does not fit")),
    ):
        assert found == tuple(results[f"{name}: {what}"] for name in names)
    assert "v100-32 cannot calculate with fp8 weights" in results[f"{names[2]}: most in fp8"]
    assert "a100-40 cannot calculate with fp8 weights" in results[f"{names[0]}: most in fp8"]


def test_a_petabyte_over_real_networks():
    """11.1 h over 200 Gb/s, 42 minutes over 3.2 Tb/s; a minute takes 667 ports."""
    results = _results(petabyte_claim(PETABYTE))

    assert {
        "over one port of infiniband-hdr": "11.1 h",
        "over all of p5.48xlarge": "42 min",
        "bandwidth for 60 s": "16.7 TB/s",
        "ports for that": "667",
    }.items() <= results.items()


def test_int8_beside_what_models_are_published_in():
    """Four times fewer bits than FP32, twice fewer than BF16: from there 3 times is out of reach."""
    results = _results(narrow_claim(NARROW))

    assert {
        "fp32 to int8: bits": "4 times",
        "bf16 to int8: bits": "2 times",
        "fp32 to int8: part of the time that must be reading weights": "88.9 %",
        "bf16 to int8: part of the time that must be reading weights": "more than all",
        "bf16 to int8: operations": "2 times",
    }.items() <= results.items()


@given(ceiling=st.floats(1.01, 64.0), share=st.floats(0.0, 1.0))
def test_the_part_that_must_get_faster_makes_all_of_it_so(ceiling, share):
    """Amdahl's law, backwards; nothing gets faster than its fastest part."""
    faster = 1 / (1 - share + share / ceiling)
    part = part_needed(faster, max(ceiling, faster))

    assert pytest.approx(share, abs=1e-6) == part
    assert None is part_needed(ceiling * 1.01, ceiling)


def test_dns_beside_milliseconds_and_nines():
    """Interval times misses and the TTL; 35 such events use up 99.99 % of a year."""
    results = _results(failover_claim())

    assert {
        "failover, checks every 10 s": "90 s",
        "failover, checks every 30 s": "150 s",
        "down in a year": "53 min",
        "failovers of 90 s in that": "35",
        "two sites, moving at once": "99.9975 %",
        "two sites, moved by the faster check": "99.985 %",
    }.items() <= results.items()


def test_the_catalogue_of_today_has_all_that_claims_need():
    """Every row is there with a price; the claims' own figures do not move with it."""
    now = worked_examples(load(today=date(2026, 11, 26)))
    fixed = worked_examples(rows.CATALOGUE)

    assert [claim.name for claim in fixed] == [claim.name for claim in now]
    assert [claim.says for claim in fixed] == [claim.says for claim in now]


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (cluster_claim(CLUSTER), "follows if"),
        (cluster_claim(_with(CLUSTER, p4d_claimed_usd_hour=20.0)), "does not follow"),
        (calls_claim(TRAFFIC), "follows if"),
        (calls_claim(_with(TRAFFIC, answer=3000.0)), "does not follow"),
        (cold_claim(), "follows if"),
        (cold_claim(Starts(engine_best_s=200.0)), "does not follow"),
        (sizes_claim(SIZES), "does not follow"),
        (sizes_claim(Sizes(machines=(_with(SIZES.machines[0], params=6e11),))), "follows if"),
        (petabyte_claim(PETABYTE), "does not follow"),
        (petabyte_claim(_with(PETABYTE, size_bytes=1e12)), "follows if"),
        (narrow_claim(NARROW), "follows if"),
        (narrow_claim(_with(NARROW, faster=5.0)), "does not follow"),
        (failover_claim(), "does not follow"),
        (failover_claim(Failover(claimed_s=100.0)), "follows if"),
    ],
)
def test_verdicts_are_worked_out(claim, verdict):
    """With other inputs another verdict: none is written by hand."""
    assert verdict == claim.verdict


def _numbers(inputs):
    """Give the inputs with each of their own numbers changed, by its name."""
    for field in inputs.__struct_fields__:
        value = getattr(inputs, field)
        if isinstance(value, float | int) and not isinstance(value, bool):
            yield field, _with(inputs, **{field: value * 2 + 1})


@pytest.mark.parametrize(
    ("worked", "inputs"),
    [
        ((cluster_claim,), CLUSTER),
        ((calls_claim,), TRAFFIC),
        ((cold_claim, load_claim), Starts()),
        ((lambda it: sizes_claim(_with(SIZES, machines=(it,))),), SIZES.machines[0]),
        ((sizes_claim,), _with(SIZES, context=4000, share=0.4)),
        ((petabyte_claim,), PETABYTE),
        ((narrow_claim,), NARROW),
        ((failover_claim,), Failover(site=0.3, goal=0.4)),
    ],
)
def test_every_input_is_used(worked, inputs):
    """Each number that an example starts from changes what some claim says."""
    before = text_of(work(inputs) for work in worked)
    changed = dict(_numbers(inputs))

    assert changed
    for field, other in changed.items():
        assert before != text_of(work(other) for work in worked), field


@pytest.mark.parametrize(
    ("worked", "inputs", "field", "price"),
    [
        (cluster_claim, CLUSTER, "p4d", "on_demand_usd_hour"),
        (cluster_claim, CLUSTER, "p4d", "spot_usd_hour"),
        (calls_claim, TRAFFIC, "one", "on_demand_usd_hour"),
        (calls_claim, TRAFFIC, "eight", "on_demand_usd_hour"),
        (calls_claim, TRAFFIC, "now", "output_usd_mtok"),
        (calls_claim, TRAFFIC, "functions", "memory_max_bytes"),
    ],
)
def test_prices_of_today_come_from_rows(worked, inputs, field, price):
    """A row with another price changes the steps, not only what is given."""
    row = getattr(inputs, field)
    other = _with(row, **{price: getattr(row, price) * 2})

    assert worked(inputs).steps != worked(_with(inputs, **{field: other})).steps


def test_a_machine_without_a_spot_price_has_no_step_for_it():
    """Nothing is made up where the catalogue has no figure."""
    row = _with(rows.P4D, spot_usd_hour=None, spot_range_usd_hour=None)

    assert "one p4d on spot" in _results(cluster_claim(CLUSTER))
    assert "one p4d on spot" not in _results(cluster_claim(Cluster(p4d=row)))


def test_results_are_not_written_by_hand():
    """No module of a claim has a result in its text: dollars, percents or seconds."""
    folder = Path(__file__).parents[2] / "src/baseload/plan/claims"
    written = re.compile(
        r"(861,458|577,047|16\.8|88\.4|55\.7|83\.2|63\.5|136,802|811|122\.5|288B|576|461|11\.1|667"
        r"|88\.9|99\.985|99\.9975)"
    )
    modules = sorted(folder.glob("*.py"))

    assert len(modules) > 8
    assert [] == [path.name for path in modules if written.search(path.read_text())]
