"""Tests of the gate for vLLM, with a double of it that reads what was written.

What the double does not prove is on its page. Real is all else: files, processes, sockets, gate.
"""

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from baseload.cli import app
from baseload.engines.quantising.speed import Round, ratio, summed
from baseload.engines.quantising.tasks import TEXT
from baseload.engines.quantising.vllm import server
from baseload.engines.quantising.vllm.server import program_of
from baseload.errors import EngineError
from tests.engines.engine_kit import WAIT_MAX_S, until
from tests.engines.quantising_kit import short_yardstick
from tests.engines.safetensors_kit import bf16, write_safetensors

DOUBLE = Path(__file__).parent / "measured_vllm_double.py"
EMBEDDING, MATRIX = "model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight"
START = 256


def bigrams():
    """Learn which byte follows which in the text that ships; logs of shares, as a matrix."""
    text = [START, *TEXT.read_bytes()]
    counts = np.full((START + 1, START + 1), 0.05)
    np.add.at(counts, (text[1:], text[:-1]), 1)
    return np.log(counts / counts.sum(axis=0))


@pytest.fixture
def source(tmp_path):
    """A folder with a model that predicts: one matrix, and what chooses its column."""
    return write(tmp_path / "mine", np.eye(START + 1), bigrams())


def write(folder, embedding, matrix):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    (folder / "tokenizer.json").write_text("{}")
    tensors = {EMBEDDING: bf16(embedding), MATRIX: bf16(matrix)}
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def spoilt(folder):
    """The same model with outliers: not a bit of what it computes is changed by powers of two."""
    embedding, matrix, at = np.eye(START + 1), bigrams(), slice(0, None, 16)
    matrix[:, at] *= 256
    embedding[at] /= 256
    return write(folder, embedding, matrix)


def vllm(misbehave=""):
    command = [sys.executable, str(DOUBLE), *([f"--misbehave={misbehave}"] if misbehave else [])]
    return shlex.join(command)


def quantised(source, to, *options, misbehave=""):
    """Do it by the verb, with a short yardstick; give the exit code, the report, what was said."""
    yardstick = short_yardstick(source.parent)
    command = ["quantize", str(source), "--to", to, "--out", str(source.parent / "out"), "--json"]
    command += ["--vllm", vllm(misbehave), "--rounds", "0"]
    for name, file in yardstick.items():
        command += [f"--{name}", str(file)]
    result = CliRunner().invoke(app, [*command, *options])
    for file in yardstick.values():
        file.unlink()
    said = json.loads(result.stdout) if result.stdout.startswith("{") else None
    return SimpleNamespace(code=result.exit_code, report=said, said=result.stderr)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def running(folder):
    """Give the doubles that serve a model below this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if DOUBLE.name in words and f"--model={folder}" in words:
            found.append(words)
    return found


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
    assert ("--reference source" in found.said) == (misbehave == "die")
    assert ("(exit code 3)" in found.said) == (misbehave == "stop")
    assert ("Model loading took" in found.said) == (misbehave != "die")
    assert ["mine"] == names(tmp_path)
    assert [] == running(tmp_path)


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
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
        until(lambda: running(tmp_path))
        child.send_signal(sent)
        child.wait(WAIT_MAX_S)
    until(lambda: not running(tmp_path))

    assert child.returncode != 0
    left = [] if sent == signal.SIGINT else [".out.quantising"]
    assert [*left, "mine"] == names(tmp_path)


def test_what_is_there_is_replaced_only_by_force_and_only_a_model(source, tmp_path):
    """Refused before any work; with `--force` a model's folder is, and nothing else ever."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    asked = ["--max-loss", "0.02", "--reference", "source"]
    refused = quantised(source, "int8", *asked, misbehave="hang")
    forced = quantised(source, "int8", *asked, "--force", misbehave="hang")
    itself = quantised(source, "int8", *asked, "--force", "--out", str(source), misbehave="hang")

    assert [1, 1, 1] == [each.code for each in (refused, forced, itself)]
    assert "is there already; give another --out, or --force" in refused.said
    assert "is no model's folder, or the source" in forced.said
    assert "is no model's folder, or the source" in itself.said
    assert ["precious"] == names(out)

    (out / "config.json").write_text("{}")
    assert 0 == quantised(source, "int8", *asked, "--force").code
    assert ["config.json", "model.safetensors", "tokenizer.json"] == names(out)
    assert ["mine", "out"] == names(tmp_path)


def test_a_name_that_keep_needs_is_asked_for_before_the_work(source, tmp_path):
    """An earlier refused result is not lost."""
    (tmp_path / "out.refused").mkdir()
    found = quantised(source, "int8", "--keep", misbehave="hang")

    assert 1 == found.code
    assert "out.refused is there already" in found.said


def test_which_vllm(monkeypatch, tmp_path):
    """What is said, else the program on PATH, else this Python's module, else none."""
    (tmp_path / "vllm").touch(0o755)
    program = str(tmp_path / "vllm")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert (program, "serve") == program_of(program)
    assert (sys.executable, "a b.py") == program_of(f"{sys.executable} 'a b.py'")
    assert ("vllm", "serve") == program_of(None)
    for wrong in ("nothing-there", "'", ""):
        with pytest.raises(EngineError, match="--vllm"):
            program_of(wrong)

    (tmp_path / "vllm").unlink()
    assert program_of(None) is None
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert (sys.executable, "-m", "vllm.entrypoints.openai.api_server") == program_of(None)


def test_fp8_without_vllm_is_only_told_if_asked_for(source, tmp_path):
    """The lines for the fleet file are the gate's to give; `--unmeasured` goes without it."""
    command = ["quantize", str(source), "--to", "fp8"]
    refused = CliRunner().invoke(app, command, env={"PATH": str(tmp_path)})
    told = CliRunner().invoke(app, [*command, "--unmeasured"])

    assert (1, 0) == (refused.exit_code, told.exit_code)
    assert "what FP8 costs in vLLM only vLLM can measure" in refused.output
    assert "serve: {precision: fp8}" in told.output


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
    assert "serve: {precision: fp8}" not in refused.output


def test_speeds_that_took_no_turns_are_compared_by_their_medians():
    """A round of one has nothing to do with the same round of another."""
    fast = summed([Round(10, 8, 1), Round(10, 2, 1), Round(10, 4, 1)], 16, None, in_turns=False)
    slow = summed([Round(5, 1, 1), Round(5, 4, 1), Round(5, 2, 1)], 16, None, in_turns=False)

    assert (2.0, 2.0) == (ratio(fast, slow), ratio(fast, slow, "prefill"))
    assert 2.0 == ratio(replace(fast, in_turns=True), replace(slow, in_turns=True))
