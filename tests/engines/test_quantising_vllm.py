"""Tests of the gate for vLLM, with a double of it that reads what was written.

What the double does not prove is on its page. Real is all else: files, processes, sockets, gate.
"""

import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from baseload.cli import app
from baseload.engines.quantising.tasks import TEXT
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
        if DOUBLE.name in words and str(folder) in words:
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
    assert ["mine", "out", "page.md"] == names(tmp_path)
    assert ["config.json", "model.safetensors", "tokenizer.json"] == names(tmp_path / "out")
    assert str(tmp_path / "out") == report["published"]
    assert [] == running(tmp_path)
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
