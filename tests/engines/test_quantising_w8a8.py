"""Tests of INT8 for vLLM: small safetensors, read back by hand. vLLM itself is not run here."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from baseload.cli import app
from baseload.engines.quantising import w8a8
from baseload.errors import EngineError
from tests.engines.safetensors_kit import bf16, read_safetensors, write_safetensors

RNG = np.random.default_rng(3)
MATRICES = ("model.layers.0.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.weight")
KEPT = ("model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", "model.layers.0.b.bias")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "hidden_size": 48}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "training_args.bin").write_bytes(b"a pickle")
    weights = {name: bf16(RNG.normal(0, 0.1, (32, 48))) for name in MATRICES + KEPT[:2]}
    weights |= {name: bf16(RNG.normal(0, 0.1, 48)) for name in KEPT[2:]}
    write_safetensors(folder / "model.safetensors", weights)
    return folder


def test_matrices_become_int8_within_half_a_step(source, tmp_path):
    """Each weight is off by half its row's scale at most, and the report's error is the real one."""
    found = w8a8.write(source, tmp_path / "out")
    before = read_safetensors(source / "model.safetensors")
    after = read_safetensors(tmp_path / "out" / "model.safetensors")
    lost = of = 0.0
    for name in MATRICES:
        weights = (before[name].astype(np.uint32) << 16).view(np.float32)
        scale = after[f"{name}_scale"]
        error = after[name] * scale - weights
        lost, of = lost + np.sum(error**2.0), of + np.sum(weights**2.0)

        assert (np.int8, (32, 1), np.float32) == (after[name].dtype, scale.shape, scale.dtype)
        assert 127 == np.abs(after[name].astype(int)).max()
        assert (np.abs(error) <= scale * 0.501).all()
    assert 2 == found.matrices
    assert np.sqrt(lost / of) == pytest.approx(found.error, rel=1e-4)
    assert 0 < found.error < 0.01


def test_what_is_no_linear_layer_is_copied(source, tmp_path):
    """Embeddings, the output layer, norms and biases stay as they were, and have no scale."""
    w8a8.write(source, tmp_path / "out")
    before = read_safetensors(source / "model.safetensors")
    after = read_safetensors(tmp_path / "out" / "model.safetensors")

    assert all(np.array_equal(before[name], after[name]) for name in KEPT)
    assert before.keys() | {f"{name}_scale" for name in MATRICES} == after.keys()


def test_the_folder_says_what_it_holds(source, tmp_path):
    """The config names the scheme beside all that it said before; files with code stay behind."""
    w8a8.write(source, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())

    assert "qwen2" == config["model_type"]
    assert "int-quantized" == config["quantization_config"]["format"]
    assert ["config.json", "model.safetensors", "tokenizer.json"] == sorted(
        path.name for path in (tmp_path / "out").iterdir()
    )
    assert ["model", "out"] == sorted(path.name for path in tmp_path.iterdir())


def test_a_model_in_several_files_has_an_index(source, tmp_path):
    """The index knows where each scale is."""
    more = {"model.layers.1.mlp.up_proj.weight": RNG.normal(0, 1, (8, 16)).astype(np.float32)}
    write_safetensors(source / "other.safetensors", more)
    (source / w8a8.INDEX).write_text('{"weight_map": {}}')
    w8a8.write(source, tmp_path / "out")
    places = json.loads((tmp_path / "out" / w8a8.INDEX).read_text())["weight_map"]

    assert "other.safetensors" == places["model.layers.1.mlp.up_proj.weight_scale"]
    assert "model.safetensors" == places[f"{MATRICES[0]}_scale"]


def test_pieces_give_the_same_file(source, tmp_path, monkeypatch):
    """With room for one row at a time not a byte differs."""
    w8a8.write(source, tmp_path / "whole")
    monkeypatch.setattr(w8a8, "CHUNK_WEIGHTS", 1)
    w8a8.write(source, tmp_path / "rows")
    files = [tmp_path / name / "model.safetensors" for name in ("whole", "rows")]

    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("case", ["cut", "nan", "quantised", "int", "garbage", "empty", "lie"])
def test_what_is_no_such_model_is_refused_and_leaves_nothing(source, tmp_path, case):
    """One sentence for each; there is neither a result nor a leftover."""
    path = source / "model.safetensors"
    if case == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    elif case == "nan":
        write_safetensors(path, {MATRICES[0]: np.full((4, 4), np.nan, np.float32)})
    elif case == "quantised":
        (source / "config.json").write_text('{"quantization_config": {}}')
    elif case == "int":
        write_safetensors(path, {MATRICES[0]: np.ones((4, 4), np.int8)})
    elif case == "lie":
        path.write_bytes(path.read_bytes().replace(b"[0, 3072]", b"[8, 3072]"))
    elif case == "garbage":
        path.write_bytes(b"\xff" * 100)
    else:
        path.unlink()
    with pytest.raises(EngineError):
        w8a8.write(source, tmp_path / "out")

    assert ["model"] == [each.name for each in tmp_path.iterdir()]


def test_unmeasured_is_written_only_if_asked_for(source, tmp_path):
    """Without vLLM the verb refuses with 1; with `--unmeasured` it writes, and says so."""
    command = ["quantize", str(source), "--to", "int8", "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(app, command, env={"PATH": str(tmp_path)})
    published = CliRunner().invoke(app, [*command, "--unmeasured"])
    again = CliRunner().invoke(app, [*command, "--unmeasured"])

    assert [1, 0, 1] == [result.exit_code for result in (refused, published, again)]
    assert "there is no `vllm`: name its program with --vllm" in refused.output
    assert 1 == len(refused.output.splitlines())
    assert "What answers lose was not measured." in " ".join(published.output.split())
    assert "is there already" in again.output
