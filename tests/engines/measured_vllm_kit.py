"""Helpers for tests of the gate for vLLM: models that a double predicts by, and the verb itself."""

import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
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


def predicting(folder):
    """Write a model that predicts: one matrix, and what chooses its column."""
    return write(folder, np.eye(START + 1), bigrams())


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
    command = ["quantize", str(source), "--to", to, "--json"]
    command += ["--out", str(source.parent / "out")] if to == "int8" else []
    command += ["--vllm", vllm(misbehave), "--rounds", "0"]
    for name, file in yardstick.items():
        command += [f"--{name}", str(file)]
    result = CliRunner().invoke(app, [*command, *options])
    for file in yardstick.values():
        file.unlink()
    said = json.loads(result.stdout) if result.stdout.startswith("{") else None
    return SimpleNamespace(code=result.exit_code, report=said, said=result.stderr)


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
