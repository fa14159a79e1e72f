"""What was measured after the constants were fitted, on hardware and layouts that the fit never saw.

`data/h100_closed.jsonl`: closed batches of vLLM 0.24.0 on one, two and four H100s of one machine,
2026-11-26; dummy weights in the shape of the models named, no prefix cache, `max_num_seqs` 256,
`max_num_batched_tokens` 8192. `prefill_s` is for the prompts of all calls, `tpot_ms` for each further
token of 128, medians of three (two above 64 calls).
"""

import json
from datetime import date
from pathlib import Path
from statistics import median

import pytest

from baseload.plan.catalog.reading import load
from baseload.plan.models.known import find
from baseload.plan.speed.engine import CALL_S, engine_of
from baseload.plan.speed.layout import Build, Layout

HERE = Path(__file__).parent
PAGE = (HERE.parent.parent / "docs" / "accuracy.md").read_text()
POINTS = [json.loads(line) for line in (HERE / "data/h100_closed.jsonl").read_text().splitlines()]
CASES = list(dict.fromkeys((p["model"], p["precision"], p["tp"]) for p in POINTS))
DENSE = [case for case in CASES if "distill" in case[0]]
TURN_TOKENS = 8192


@pytest.fixture(scope="module")
def rows_of_today():
    """Give the catalogue; no figure of hardware depends on the day."""
    return load(today=date(2026, 11, 26))


def errors(case, catalogue):
    """Give predicted over measured, of TPOT and prefill, for each point of a case."""
    model, precision, tp = case
    build = Build(
        accelerator=catalogue.accelerators["h100"], layout=Layout(tp=tp), precision=precision
    )
    engine = engine_of(find(model), build, kv_tokens=10**6)
    found = []
    for point in POINTS:
        if (point["model"], point["precision"], point["tp"]) != case:
            continue
        context = point["prompt"] + point["answer"] / 2
        tpot_s = engine.turn_s(point["calls"], context, 0, 0.0, 0)
        tokens = point["calls"] * point["prompt"]
        turns = -(-tokens // TURN_TOKENS)
        read_s = CALL_S + turns * engine.turn_s(0, 0.0, tokens / turns, point["prompt"] / 2, 0)
        found.append((tpot_s * 1e3 / point["tpot_ms"] - 1, read_s / point["prefill_s"] - 1))
    return found


def row(case, catalogue):
    """Give a case's line of the page."""
    found = errors(case, catalogue)
    model, precision, tp = case
    figures = []
    for part in (0, 1):
        off = [each[part] for each in found]
        worst = max(off, key=abs)
        figures += [f"{100 * median(map(abs, off)):.1f}", f"{100 * worst:+.0f}"]
    return f"| {model} | {precision} | {tp} | {len(found)} | {' | '.join(figures)} |"


@pytest.mark.parametrize("case", DENSE, ids=str)
def test_dense_models_are_predicted_on_hardware_that_was_not_fitted(case, rows_of_today):
    """TPOT is within 12 % at every point, and within 7 % in the middle; prefill within 28 %."""
    found = errors(case, rows_of_today)

    assert max(abs(tpot) for tpot, _ in found) < 0.12
    assert median(abs(tpot) for tpot, _ in found) < 0.07
    assert max(abs(read) for _, read in found) < 0.28


def test_a_mixture_of_experts_is_predicted_less_well(rows_of_today):
    """TPOT of Qwen3-30B-A3B is within 17 % at every point."""
    found = errors(("qwen3-30b-a3b", "bf16", 1), rows_of_today)

    assert max(abs(tpot) for tpot, _ in found) < 0.17


def test_the_page_has_what_was_found(rows_of_today):
    """docs/accuracy.md has a line for each case, with the errors of the shipped constants."""
    for case in CASES:
        assert row(case, rows_of_today) in PAGE
