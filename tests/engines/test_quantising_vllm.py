"""Tests of the gate for vLLM, with a double of it that reads what was written.

What the double does not prove is on its page. Real is all else: files, processes, sockets, gate.
"""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from baseload.cli import app
from baseload.engines.quantising import w8a8
from baseload.engines.quantising.speed import Round, ratio, summed
from baseload.engines.quantising.vllm import job, server
from tests.engines.engine_kit import WAIT_MAX_S, until
from tests.engines.measured_vllm_kit import (
    MATRIX,
    START,
    bigrams,
    predicting,
    quantised,
    running,
    spoilt,
    vllm,
    write,
)
from tests.engines.quantising_kit import names, short_yardstick
from tests.engines.safetensors_kit import bf16, read_safetensors, write_safetensors


@pytest.fixture
def source(tmp_path):
    """A folder with a model that predicts."""
    return predicting(tmp_path / "mine")


def test_int8_that_loses_little_is_published(source, tmp_path):
    """FP32, BF16 and INT8 are read, asked and timed; the folder has its name, and nothing else."""
    page = tmp_path / "page.md"
    found = quantised(source, "int8", "--rounds", "2", "--max-loss", "0.02", "--report", str(page))
    report = found.report
    losses = [each["loss"] for each in report["variants"]]

    assert 0 == found.code
    assert ["fp32", "bf16", "int8"] == [each["name"] for each in report["variants"]]
    assert "fp32" == report["reference"]
    assert 0.0 == losses[0]["value"] == losses[1]["value"]
    assert 0 < abs(losses[2]["value"]) < losses[2]["high"] < 0.02
    assert all(5 < each["perplexity"]["value"] < 30 for each in report["variants"])
    weights = 2 * (START + 1) ** 2
    written = (tmp_path / "out" / "model.safetensors").stat().st_size
    assert [4 * weights, 2 * weights, written] == [e["size_bytes"] for e in report["variants"]]
    assert ["mine", "out", "page.md"] == names(tmp_path)
    assert ["config.json", "model.safetensors", "tokenizer.json"] == names(tmp_path / "out")
    assert str(tmp_path / "out") == report["published"]
    assert [] == running(tmp_path)
    assert all(1.5 * 2**30 == each["speed"]["memory_bytes"] for each in report["variants"])
    assert all(16 == each["speed"]["streams"] for each in report["variants"])
    assert "| int8 |" in page.read_text()


def test_int8_of_a_model_with_outliers_is_refused(tmp_path):
    """The weights' rounding alone is what the gate sees: unrounded, the model is the same."""
    good = quantised(write(tmp_path / "good", np.eye(START + 1), bigrams()), "int8")
    bad = quantised(spoilt(tmp_path / "bad"), "int8", "--keep", "--force")
    first, _, last = bad.report["variants"]

    assert 1 == bad.code
    assert first["perplexity"] == good.report["variants"][0]["perplexity"]
    assert last["loss"]["low"] > 0.5
    assert "more than 1.00%" in bad.report["verdict"]["reason"]
    assert bad.report["published"] is None
    assert ["bad", "good", "out", "out.refused"] == names(tmp_path)


@pytest.mark.parametrize(("max_loss", "code"), [("0.2", 0), ("0", 1)], ids=["passes", "refused"])
def test_fp8_is_judged_and_writes_nothing(source, tmp_path, max_loss, code):
    """VLLM rounds the source itself: beside a verdict there is nothing to publish."""
    found = quantised(source, "fp8", "--max-loss", max_loss)
    variants = found.report["variants"]

    assert code == found.code
    assert (code == 0) == found.report["verdict"]["passed"]
    assert found.report["published"] is None
    assert ["fp32", "bf16", "fp8"] == [each["name"] for each in variants]
    assert 0 < variants[2]["loss"]["value"] < 0.2
    assert variants[2]["size_bytes"] < variants[1]["size_bytes"] < variants[0]["size_bytes"]
    assert ["mine"] == names(tmp_path)


def test_what_the_text_costs_is_what_the_model_says(source):
    """Reckoned apart, in windows of 512 tokens that begin with the tokenizer's own start."""
    found = quantised(source, "int8", "--reference", "source").report
    folder = source.parent / "again"
    folder.mkdir()
    text = short_yardstick(folder)["text"].read_bytes()
    stored = (bf16(bigrams()).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    logs = stored - np.log(np.exp(stored).sum(axis=0))
    windows = [[START, *text[at : at + 511]] for at in range(0, len(text), 511)]
    costs = [-logs[window[1:], window[:-1]] for window in windows]

    assert ["source", "int8"] == [each["name"] for each in found["variants"]]
    assert len(text) == found["text_tokens"]
    assert np.exp(np.concatenate(costs).mean()) == pytest.approx(
        found["variants"][0]["perplexity"]["value"], rel=1e-6
    )


@pytest.mark.parametrize(
    ("misbehave", "words"),
    [
        ("die", "vLLM did not load source: torch.OutOfMemoryError: CUDA out of memory"),
        ("stop", "vLLM does not answer /v1/completions"),
        ("bare", "tokens vLLM told the probability of none"),
        ("short", "of 512 tokens vLLM told the probability of 511"),
        ("null", "probabilities that are no numbers"),
        ("other", "but others"),
        ("cut@auto", "int8 cuts the text into other tokens"),
    ],
)
def test_a_vllm_that_fails_is_told_and_leaves_nothing(source, tmp_path, misbehave, words):
    """What is wrong and its last lines are said; no result, no leftover and no process stays."""
    found = quantised(source, "int8", "--reference", "source", misbehave=misbehave)

    assert 1 == found.code
    assert words in found.said
    assert ("too little memory" in found.said) == (misbehave == "die")
    assert "--reference source" not in found.said  # That is what was asked.
    assert ("(exit code 3)" in found.said) == (misbehave == "stop")
    assert ("Model loading took" in found.said) == (misbehave != "die")
    assert ["mine"] == names(tmp_path)
    assert [] == running(tmp_path)


def test_who_lacks_memory_for_fp32_is_told_of_less(source):
    """The source itself may well fit."""
    found = quantised(source, "fp8", misbehave="die@float32")

    assert "too little memory; `--reference source` needs less" in found.said


def test_speed_that_cannot_be_measured_costs_no_verdict(source):
    """Answers with fewer tokens than were asked for are no measure of speed, and it is said."""
    options = ["--reference", "source", "--rounds", "1", "--max-loss", "0.02"]
    found = quantised(source, "int8", *options, misbehave="few")
    notes = " ".join(found.report["notes"])

    assert 0 == found.code
    assert "Speed of int8 was not measured: vLLM read 512 tokens and answered 0" in notes
    assert [None, None] == [each["speed"] for each in found.report["variants"]]


def test_a_vllm_that_hangs_while_it_loads_is_ended(source, tmp_path, monkeypatch):
    """The wait has a bound; nobody is left behind."""
    monkeypatch.setattr(server, "LOAD_MAX_S", 2.0)
    found = quantised(source, "fp8", misbehave="hang")

    assert 1 == found.code
    assert re.search(r"vLLM was not ready with fp32 within 2\S* s$", found.said, re.MULTILINE)
    assert [] == running(tmp_path)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_who_gives_up_leaves_no_vllm(source, tmp_path, sent):
    """In the middle of measuring: the model's server is gone, and nothing has the name."""
    command = [sys.executable, "-m", "baseload", "quantize", str(source), "--to", "int8"]
    command += ["--out", str(tmp_path / "out"), "--vllm", vllm("silent")]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as child:
        try:
            until(lambda: running(tmp_path))
            child.send_signal(sent)
            child.wait(WAIT_MAX_S)
        finally:
            child.kill()
    until(lambda: not running(tmp_path))

    assert child.returncode != 0
    left = [] if sent == signal.SIGINT else [".out.quantising"]
    assert [*left, "mine", "tmp"] == names(tmp_path)
    assert [] == names(temporary)


@pytest.mark.parametrize(
    ("kind", "dtype"), [(np.float32, "float32"), (np.float16, "float16"), (None, "bfloat16")]
)
def test_the_source_is_read_as_it_is(source, kind, dtype):
    """By itself vLLM reads FP32 in 16 bits, and would be compared with that."""
    path = source / "model.safetensors"
    matrix = bf16(bigrams()) if kind is None else bigrams().astype(kind)
    write_safetensors(path, read_safetensors(path) | {MATRIX: matrix})
    flags = [job.flags_of(name, w8a8.look(source)) for name in ("source", "fp8", "int8")]

    assert (f"--dtype={dtype}",) == flags[0]
    assert [("--quantization=fp8",), ()] == flags[1:]  # As the fleet's own vLLM is started.


def test_what_people_are_told_of_fp8(source, tmp_path):
    """Passed, the lines to write; refused, not to."""
    command = ["quantize", str(source), "--to", "fp8", "--vllm", vllm(), "--rounds", "0"]
    yardstick = short_yardstick(tmp_path)
    command += ["--text", str(yardstick["text"]), "--tasks", str(yardstick["tasks"])]
    passed = CliRunner().invoke(app, [*command, "--reference", "source", "--max-loss", "0.2"])
    refused = CliRunner().invoke(app, [*command, "--reference", "source", "--max-loss", "0"])

    assert (0, 1) == (passed.exit_code, refused.exit_code)
    assert "serve: {precision: fp8}" in passed.output
    assert "Do not use FP8 for this model" in refused.output
    assert "The source is the model as it came: BF16 x 2." in passed.output
    assert "Reckoned sizes, of what vLLM makes while it loads: fp8." in passed.output
    assert "serve: {precision: fp8}" not in refused.output


def test_speeds_that_took_no_turns_are_compared_by_their_medians():
    """A round of one has nothing to do with the same round of another."""
    fast = summed([Round(10, 8, 1), Round(10, 2, 1), Round(10, 4, 1)], 16, None, in_turns=False)
    slow = summed([Round(5, 1, 1), Round(5, 4, 1), Round(5, 2, 1)], 16, None, in_turns=False)

    assert (2.0, 2.0) == (ratio(fast, slow), ratio(fast, slow, "prefill"))
    assert 2.0 == ratio(replace(fast, in_turns=True), replace(slow, in_turns=True))
