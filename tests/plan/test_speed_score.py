"""How far predictions are from measurements: groups, what cannot be predicted, and the verb."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from baseload.cli import app
from baseload.plan.speed import score as scoring
from baseload.plan.speed.layout import Layout
from baseload.plan.speed.measured import Measured, read
from baseload.plan.speed.score import case_of, group_score, score
from tests.plan.builds import CATALOGUE

POINTS = Path(__file__).parent / "data" / "serving_points.csv"
FIELDS = {
    "system", "backend", "model", "mode", "n", "predicted", "tpot_median", "tpot_p90",
    "ttft_median",
}  # fmt: skip
ROW = Measured(
    system="h200_sxm", engine="vllm", model="meta-llama/Llama-3.1-70B", mode="agg", precision="fp8",
    prompt=1024, answer=1024, calls=16.0, layout=Layout(tp=4), harness="drawn", ttft_s=0.2,
    tpot_s=0.01,
)  # fmt: skip


def row(**given):
    """Give a row that differs from the usual one."""
    fields = {name: getattr(ROW, name) for name in ROW.__struct_fields__}
    return Measured(**(fields | given))


def case(**given):
    return case_of(row(**given), CATALOGUE)


def run(*words):
    return CliRunner().invoke(app, ["plan", "score", *words])


# -- errors ---------------------------------------------------------------------------------------


def test_a_group_is_summed_up():
    """Median, mean and the value that nine tenths lie below, interpolated between neighbours."""
    key = ("h100_sxm", "vllm", "some-model", "agg")
    found = group_score(key, 7, [(0.1, 0.5), (0.4, 0.7), (0.2, 1.0)])

    assert key == (found.system, found.backend, found.model, found.mode)
    assert (7, 3) == (found.n, found.predicted)
    assert (0.2, 0.7 / 3, 0.36) == pytest.approx(
        (found.tpot_median, found.tpot_mean, found.tpot_p90)
    )
    assert (0.7, 2.2 / 3, 0.94) == pytest.approx(
        (found.ttft_median, found.ttft_mean, found.ttft_p90)
    )


@pytest.mark.parametrize("times", [0.5, 2.0])
def test_errors_are_relative_to_what_was_measured(tmp_path, monkeypatch, times):
    """Half of what was measured is off by a half, twice as much by one: above and below differ."""
    monkeypatch.setattr(scoring, "times_s", lambda k, h, w, run: (times * 0.01, times * 0.2))
    monkeypatch.setattr(scoring, "read", lambda path: iter([ROW]))

    (found,) = score(tmp_path)

    assert abs(times - 1) == pytest.approx(found.tpot_median)
    assert abs(times - 1) == pytest.approx(found.ttft_median)


def test_the_extract_is_predicted_well():
    """On a few rows of many groups, errors stay below bounds that a worse fit would break.

    They are in sample, so they are lower than those of groups that a fit never saw; those are in
    docs/accuracy.md.
    """
    found = {(one.system, one.backend, one.model, one.mode): one for one in score(POINTS)}
    bounds = {
        ("h100_sxm", "vllm", "meta-llama/Llama-3.1-70B", "agg"): (0.15, 0.45),
        ("h100_sxm", "trtllm", "Qwen/Qwen3-32B", "agg"): (0.12, 0.35),
        ("h200_sxm", "trtllm", "deepseek-ai/DeepSeek-V3", "agg"): (0.12, 0.45),
        ("h200_sxm", "vllm", "openai/gpt-oss-120b", "agg"): (0.12, 0.25),
        ("h200_sxm", "vllm", "MiniMaxAI/MiniMax-M2.5", "agg"): (0.15, 0.30),
        ("b200_sxm", "sglang", "deepseek-ai/DeepSeek-R1", "agg"): (0.25, 0.60),
        ("b200_sxm", "trtllm", "meta-llama/Llama-3.1-70B", "agg"): (0.12, 0.60),
    }

    assert {} == {
        key: (found[key].tpot_median, found[key].ttft_median)
        for key, (tpot, ttft) in bounds.items()
        if found[key].tpot_median > tpot or found[key].ttft_median > ttft
    }


def test_groups_come_in_order_with_all_their_rows():
    """Every row counts in `n`, whether or not it could be predicted."""
    found = score(POINTS)
    keys = [(one.system, one.backend, one.model, one.mode) for one in found]

    assert sorted(set(keys)) == keys
    assert len(list(read(POINTS))) == sum(one.n for one in found)
    assert all(0 <= one.predicted <= one.n for one in found)


# -- what cannot be predicted ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"model": "nobody/knows-this-400B"},
        {"system": "tpu_v9"},
        {"calls": 0.0},
        {"system": "a100_sxm", "precision": "fp8"},
        # 64 heads cannot be split so: such rows sum up a whole cluster.
        {"layout": Layout(tp=72)},
    ],
)
def test_what_is_not_known_is_not_predicted(given):
    """Model, hardware, calls, arithmetic or a layout that cannot be: no case, and no guess."""
    assert case() is not None
    assert case(**given) is None


def test_a_precision_left_out_is_the_models_own():
    """DeepSeek-V3 is published in FP8, Llama in BF16."""
    v3 = {"model": "deepseek-ai/DeepSeek-V3", "layout": Layout(tp=8), "precision": ""}

    assert "fp8" in case(**v3).tags
    assert "fp8" not in case(precision="").tags


@pytest.mark.parametrize(
    ("system", "precision", "has"),
    [
        ("h200_sxm", "fp8", True), ("b200_sxm", "fp4", True), ("h200_sxm", "fp4", False),
        ("h200_sxm", "bf16", False), ("h200_sxm", "int4", False),
    ],
)  # fmt: skip
def test_a_measured_cache_is_as_narrow_as_the_scripts_had_it(system, precision, has):
    """Eight bits with FP8, and with FP4 where there is hardware for it; otherwise sixteen."""
    assert has == ("small_cache" in case(system=system, precision=precision).tags)


def test_calls_past_the_cache_wait():
    """70B in FP8 on one H200 leaves room for a part of 1000 calls: the others wait for it."""
    few, many = (case(layout=Layout(), calls=calls).run for calls in (16.0, 1000.0))

    assert (16.0, 0.0) == (few.held, few.waiting)
    assert 16 < many.held < 1000
    assert 1000 / many.held - 1 == pytest.approx(many.waiting)
    assert many.held - 1 == many.others


def test_sizes_that_were_drawn_are_nine_tenths_of_those_stated():
    """Of harnesses that draw sizes, and only of those."""
    drawn, grid = case().run, case(harness="grid").run

    assert (0.9 * 1024, 0.9 * 1024) == pytest.approx((drawn.prompt, drawn.answer))
    assert (1024.0, 1024.0) == (grid.prompt, grid.answer)


def test_calls_are_shared_by_copies_and_not_slowed_by_prompts_read_elsewhere():
    """Four copies with 64 calls: 15 others each; none where other machines read prompts."""
    v3 = {"model": "deepseek-ai/DeepSeek-V3", "system": "b200_sxm", "calls": 64.0}
    copies = {"layout": Layout(dp=4, ep=4), "precision": "fp4"}

    assert 15.0 == case(**v3, **copies).run.others
    assert 0.0 == case(**v3, **copies, mode="disagg").run.others


def test_a_rack_has_no_network_inside():
    """16 of a GB200's accelerators are joined by NVLink; 16 B200 are two machines."""
    v3 = {"model": "deepseek-ai/DeepSeek-V3", "layout": Layout(tp=16), "precision": "fp8"}

    assert 0.0 == case(**v3, system="gb200").work.far_s
    assert case(**v3, system="b200_sxm").work.far_s > 0


# -- the verb -------------------------------------------------------------------------------------


def test_json_has_an_object_a_group():
    """The fields that scripts rely on are there, errors as parts of one."""
    result = run(str(POINTS), "--json")
    found = json.loads(result.stdout)

    assert 0 == result.exit_code
    assert all(set(one) >= FIELDS for one in found)
    (group,) = [one for one in found if one["model"] == "Qwen/Qwen3-32B"]
    assert ("h100_sxm", "trtllm", "agg", 10, 10) == (
        group["system"], group["backend"], group["mode"], group["n"], group["predicted"],
    )  # fmt: skip
    assert 0 < group["tpot_median"] <= group["tpot_p90"] < 1


def test_what_is_unknown_has_no_errors(tmp_path):
    """An unknown model's rows count in `n`; predicted is 0, errors are null; it is no failure."""
    path = tmp_path / "points.csv"
    path.write_text(POINTS.read_text().replace("Qwen/Qwen3-32B", "nobody/knows-this-400B"))

    result = run(str(path), "--json")

    assert 0 == result.exit_code
    (group,) = [one for one in json.loads(result.stdout) if one["model"].startswith("nobody")]
    assert (10, 0) == (group["n"], group["predicted"])
    assert {None} == {group[name] for name in group if name.startswith(("tpot", "ttft"))}


def test_the_table_has_a_line_a_group():
    """What the objects have is in the table, in per cent; a dash where there is nothing."""
    lines = run(str(POINTS)).stdout.splitlines()
    scores = score(POINTS)
    unpredicted = [one for one in scores if not one.predicted]

    assert len(scores) + 2 == len(lines)
    (line,) = [line.split() for line in lines if "Qwen/Qwen3-32B" in line]
    assert ["h100_sxm", "trtllm", "Qwen/Qwen3-32B", "agg", "10", "10"] == line[:6]
    assert len(unpredicted) == sum(line.split()[-3:] == ["-", "-", "-"] for line in lines)
    assert unpredicted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "columns are missing: backend"),
        ("system,model\nh100_sxm,x\n", "columns are missing: backend"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_is_no_measurements_ends_with_2(tmp_path, text, said):
    """It is said what is wrong with it, without a traceback."""
    path = tmp_path / "points.csv"
    if text is not None:
        path.write_text(text)

    result = run(str(path))

    assert 2 == result.exit_code
    assert said in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output


def test_a_broken_row_is_named_by_its_line(tmp_path):
    """The second row's TPOT is no number: the file's third line."""
    lines = POINTS.read_text().splitlines()
    path = tmp_path / "points.csv"
    path.write_text("\n".join([*lines[:2], lines[2].rsplit(",", 1)[0] + ",fast", *lines[3:]]))

    result = run(str(path), "--json")

    assert 2 == result.exit_code
    assert "points.csv:3:" in "".join(result.output.replace("│", " ").split())


def test_the_first_token_of_divided_points_is_not_predicted():
    """Reading on machines of its own is not modelled: TTFT has no error there, TPOT has."""
    found = group_score(("h200_sxm", "sglang", "m", "disagg"), 2, [(0.1, None), (0.3, None)])

    assert (2, 0.2, None, None) == (
        found.predicted, pytest.approx(found.tpot_median), found.ttft_median, found.ttft_p90,
    )  # fmt: skip
