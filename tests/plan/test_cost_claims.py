"""The worked examples: what is printed, and that it follows from the inputs.

`BASELOAD_UPDATE_GOLDEN=1 pytest tests/plan` writes the golden text anew, and the same text into
docs/costs.md; read the difference before it is committed.
"""

import os
import re
from pathlib import Path

import msgspec
import pytest

from baseload.plan.cost.claims.calls import Traffic, calls_claim
from baseload.plan.cost.claims.claim import text_of
from baseload.plan.cost.claims.cluster import Cluster, cluster_claim
from baseload.plan.cost.claims.examples import worked_examples
from baseload.plan.cost.claims.starts import Starts, cold_claim, load_claim

GOLDEN = Path(__file__).parent / "golden" / "worked_examples.md"
PAGE = Path(__file__).parents[2] / "docs" / "costs.md"
HEAD = "## Quoted figures, worked out\n\n"


def _results(claim):
    return {step.what: step.result for step in claim.steps}


def _text():
    text = text_of(worked_examples())
    if os.environ.get("BASELOAD_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
        PAGE.write_text(PAGE.read_text().partition(HEAD)[0] + HEAD + text)
    return text


def test_the_worked_examples_are_as_reviewed():
    """What the code prints is the golden text."""
    assert _text() == GOLDEN.read_text()


def test_the_page_shows_them_as_printed():
    """docs/costs.md ends with the same text."""
    assert _text() == PAGE.read_text().partition(HEAD)[2]


def test_the_cluster_beside_each_reference():
    """One or five p4d, old, today's and spot prices: what the cluster saves, or costs more."""
    results = _results(cluster_claim())

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
    results = _results(calls_claim())

    assert {
        "a day at the API at the claim's time": "$60",
        "a day of one H100": "$165",
        "a day of eight H100": "$1,321",
        "break-even with one H100": "136,802 requests a day",
        "break-even with eight H100": "1,094,416 requests a day",
        "671 GB of weights on 8 H100": "does not fit",
        "15.2 GB of weights on AWS Lambda: memory": "refused",
    }.items() <= results.items()


def test_starts_and_loads():
    """What is left for weights, and the bandwidths that 5 minutes and 40 s take."""
    assert "122.5 s" == _results(cold_claim())["180 s: left for weights on a warm machine"]
    results = _results(load_claim())
    assert "7.5 times" == results["faster by"]
    assert "0.47 GB/s, 3.52 GB/s" == results["70B in BF16: bandwidth before and after"]
    assert "95.9 s" == results["671B in FP8: read from one drive"]


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (cluster_claim(), "follows if"),
        (cluster_claim(Cluster(p4d_claimed_usd_hour=20.0)), "does not follow"),
        (calls_claim(), "follows if"),
        (calls_claim(Traffic(answer=3000.0)), "does not follow"),
        (cold_claim(), "follows if"),
        (cold_claim(Starts(engine_best_s=200.0)), "does not follow"),
    ],
)
def test_verdicts_are_worked_out(claim, verdict):
    """With other inputs another verdict: none is written by hand."""
    assert verdict == claim.verdict


@pytest.mark.parametrize(
    ("worked", "inputs"),
    [
        (cluster_claim, Cluster()),
        (calls_claim, Traffic()),
        (cold_claim, Starts()),
        (load_claim, Starts()),
    ],
)
def test_every_input_is_used(worked, inputs):
    """Each number that an example starts from changes what some claim says."""
    before = text_of(
        [cold_claim(), load_claim()] if worked in (cold_claim, load_claim) else [worked()]
    )
    for field in inputs.__struct_fields__:
        value = getattr(inputs, field)
        if isinstance(value, (int, float)):
            changed = msgspec.structs.replace(inputs, **{field: value * 2 + 1})
            claims = (
                [cold_claim(changed), load_claim(changed)]
                if isinstance(inputs, Starts)
                else [worked(changed)]
            )
            assert before != text_of(claims), field


def test_results_are_not_written_by_hand():
    """No module of a claim has a result in its text: dollars, percents or seconds."""
    folder = Path(__file__).parents[2] / "src/baseload/plan/cost/claims"
    written = re.compile(r"(861,458|577,047|16\.8|88\.4|55\.7|83\.2|63\.5|136,802|811|122\.5)")

    assert [] == [path.name for path in folder.glob("*.py") if written.search(path.read_text())]
