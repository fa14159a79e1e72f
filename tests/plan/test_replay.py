"""Predicted against measured: one H200 with vLLM under open-loop arrivals, none of it fitted to.

The replica is the one that plans are made of: the shipped constants, which of this machine have
only seen closed batches of 512 tokens in and 128 out, and a KV cache as large as memory allows.

The calls are those of 1000 and after of Azure's conversation trace of 2023 (AzurePublicDataset,
CC-BY 4.0), faster, prompts cut at 7,000 and answers at 1,000 tokens; their times were measured with
vLLM 0.24.0 on 2026-11-23, with at most 256 answers at once and without a prefix cache.
"""

import csv
import re
from functools import cache
from pathlib import Path

import msgspec
import pytest

from baseload.plan.hardware.memory import fit
from baseload.plan.models.known import find
from baseload.plan.queueing.latency import measure
from baseload.plan.queueing.replica import Arrivals, simulate
from baseload.plan.speed.engine import engine_of
from tests.plan.builds import build

PAGE = Path(__file__).parent.parent.parent / "docs" / "accuracy.md"
DATA = Path(__file__).parent / "data" / "h200_replay.csv"
TOLERANCE = 0.20
CLOSED = {
    1: (0.0153, 4.713), 2: (0.0242, 4.917), 4: (0.0476, 4.825), 8: (0.089, 4.935),
    16: (0.1749, 4.99), 32: (0.3491, 5.18), 64: (0.6984, 5.438), 128: (1.3877, 6.496),
    256: (2.7696, 9.986),
}  # fmt: skip
"""Of so many calls at once, 512 tokens in and 128 out: seconds until the last has its first token,
and milliseconds for each further token."""


@cache
def engine():
    """Give the replica as the planner has it."""
    shape, made = find("deepseek-r1-distill-qwen-7b"), build("h200")
    room = fit(shape, made.accelerator, made.layout, made.precision, context=8000)
    return engine_of(shape, made, room.kv_tokens)


def rows(load):
    with DATA.open() as file:
        return [row for row in csv.DictReader(file) if row["load"] == load]


def calls(load, rate=1.0):
    found = rows(load)
    return Arrivals(
        at_s=tuple(float(row["arrival"]) / rate for row in found),
        prompts=tuple(int(row["tin"]) for row in found),
        answers=tuple(int(row["tout"]) for row in found),
    )


def measured(load):
    found = rows(load)
    ttft = sorted(float(row["first"]) - float(row["arrival"]) for row in found)
    total = sorted(float(row["last"]) - float(row["arrival"]) for row in found)

    def at(values, part):
        return values[round(part * (len(values) - 1))]

    return {
        "ttft_p50_s": at(ttft, 0.5), "ttft_p95_s": at(ttft, 0.95),
        "total_p50_s": at(total, 0.5), "total_p95_s": at(total, 0.95),
    }  # fmt: skip


@pytest.mark.parametrize("load", ["6", "24"])
def test_latencies_are_those_measured(load):
    """TTFT and end to end, median and 95th percentile, are within 20 % at light and heavy load."""
    of = calls(load)

    found = measure(of, simulate(engine(), of))

    predicted = {name: getattr(found, name) for name in measured(load)}
    assert pytest.approx(measured(load), rel=TOLERANCE) == predicted


def test_a_replica_with_half_the_compute_would_not_pass():
    """The comparison can fail: a pace that is off by a factor of two misses what was measured."""
    k, of = engine().k, calls("24")
    half = {"read_part": k.read_part / 2, "write_part": k.write_part / 2}
    slow = msgspec.structs.replace(engine(), k=msgspec.structs.replace(k, **half))

    found = measure(of, simulate(slow, of))

    assert found.ttft_p95_s > (1 + TOLERANCE) * measured("24")["ttft_p95_s"]


@pytest.mark.parametrize("count", CLOSED)
def test_closed_batches_are_those_measured(count):
    """Followed turn by turn, what the constants are fitted to comes out within 10 %."""
    of = Arrivals(at_s=(0.0,) * count, prompts=(512,) * count, answers=(128,) * count)

    run = simulate(engine(), of)

    read_s, tpot_ms = max(run.first_s), (run.end_s - max(run.first_s)) / 127 * 1e3
    assert pytest.approx(CLOSED[count], rel=0.10) == (read_s, tpot_ms)


def ttft_p50_s(rps):
    """Give the median TTFT of the heavier load's calls at another rate."""
    of = calls("24", rps * 40 / len(rows("24")))
    return measure(of, simulate(engine(), of)).ttft_p50_s


def test_the_knee_is_where_it_was_measured():
    """With the trace's sizes and gaps, the median TTFT passes one second at 26 to 34 calls a second."""
    assert ttft_p50_s(26) < 1.0 < ttft_p50_s(34)


def table():
    """Give the page's table: a line for each load and figure, in seconds."""
    lines = [
        "| calls a second | | predicted, s | measured, s | off |",
        "| ---: | --- | ---: | ---: | ---: |",
    ]
    names = {"ttft": "TTFT", "total": "end to end"}
    for load in ("6", "24"):
        found = measure(calls(load), simulate(engine(), calls(load)))
        for name, was in measured(load).items():
            what, part, _ = name.split("_")
            is_ = getattr(found, name)
            lines.append(
                f"| {load} | {names[what]} {part} | {is_:.3f} | {was:.3f} | {100 * (is_ / was - 1):+.0f} % |"
            )
    return "\n".join(lines)


def test_the_page_says_what_comes_out():
    """The table and the knee of docs/accuracy.md are those of the shipped constants."""
    page = PAGE.read_text()
    (knee,) = re.findall(r"further, is predicted at (\d+\.\d) calls", page)

    assert table() in page
    assert ttft_p50_s(float(knee) - 0.1) < 1.0 < ttft_p50_s(float(knee) + 0.1)
