"""Tests of INT8 for vLLM: small safetensors, read back by hand. vLLM itself is not run here."""

import json
import re
import warnings

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


def write(source, out):
    """Round a model, with nothing around it."""
    return w8a8.make(w8a8.look(source), out)


def test_matrices_become_int8_within_half_a_step(source, tmp_path):
    """Each weight is off by half its row's scale at most, and the report's error is the real one."""
    found = write(source, tmp_path / "out")
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
    write(source, tmp_path / "out")
    before = read_safetensors(source / "model.safetensors")
    after = read_safetensors(tmp_path / "out" / "model.safetensors")

    assert all(np.array_equal(before[name], after[name]) for name in KEPT)
    assert before.keys() | {f"{name}_scale" for name in MATRICES} == after.keys()


def test_the_folder_says_what_it_holds(source, tmp_path):
    """The config names the scheme beside all that it said before; files with code stay behind."""
    write(source, tmp_path / "out")
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
    index(source, "model.safetensors", "other.safetensors")
    write(source, tmp_path / "out")
    found = json.loads((tmp_path / "out" / w8a8.INDEX).read_text())
    places = found["weight_map"]
    tensors = {
        name: tensor.nbytes
        for path in (tmp_path / "out").glob("*.safetensors")
        for name, tensor in read_safetensors(path).items()
    }

    assert "other.safetensors" == places["model.layers.1.mlp.up_proj.weight_scale"]
    assert "model.safetensors" == places[f"{MATRICES[0]}_scale"]
    assert places.keys() == tensors.keys()
    assert sum(tensors.values()) == found["metadata"]["total_size"]


def index(source, *names):
    """Write an index that names these files; which tensor is where nobody reads."""
    places = {f"tensor {at}": name for at, name in enumerate(names)}
    (source / w8a8.INDEX).write_text(json.dumps({"weight_map": places}))


def test_what_the_index_does_not_name_is_left_out(source, tmp_path):
    """Some models lie there twice, in another maker's names; vLLM reads what the index says."""
    double = {"layers.0.wq.weight": RNG.normal(0, 1, (8, 16)).astype(np.float32)}
    write_safetensors(source / "consolidated.safetensors", double)
    index(source, "model.safetensors")
    found = write(source, tmp_path / "out")

    assert 2 == found.matrices
    assert ["model.safetensors"] == [p.name for p in (tmp_path / "out").glob("*.safetensors")]


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (["model.safetensors", "model-2.safetensors"], "lacks model-2.safetensors"),
        (["../model/model.safetensors"], "no file beside it"),
        ([], "names no file"),
    ],
    ids=["lost", "elsewhere", "none"],
)
def test_an_index_that_cannot_be_followed_is_refused(source, named, words):
    """A model with a part lost is named before anything is written."""
    index(source, *named)
    with pytest.raises(EngineError, match=words):
        w8a8.look(source)


@pytest.mark.parametrize(
    "module",
    [
        "model.layers.0.block_sparse_moe.gate",
        "model.layers.0.mlp.gate",
        "model.layers.0.mlp.shared_expert_gate",
        "model.layers.0.block_sparse_moe.router.layer",
        "model.layers.0.feed_forward.router",
        "lm_head",
    ],
)
def test_routers_are_copied_and_vllm_is_told_so(source, tmp_path, module):
    """Mixtral's, Qwen's, Granite's, Llama 4's: neither has a scale, so the config names each."""
    path = source / "model.safetensors"
    router = {f"{module}.weight": bf16(RNG.normal(0, 1, (8, 48)))}
    write_safetensors(path, read_safetensors(path) | router)
    write(source, tmp_path / "out")
    after = read_safetensors(tmp_path / "out" / "model.safetensors")
    config = json.loads((tmp_path / "out" / "config.json").read_text())

    assert np.array_equal(router[f"{module}.weight"], after[f"{module}.weight"])
    assert ignores(config, module)
    assert not any(ignores(config, name.removesuffix(".weight")) for name in MATRICES)
    assert not ignores(config, "model.layers.0.mlp.gate_proj")


def ignores(config, module):
    """Tell whether vLLM would leave a module alone, by its `should_ignore_layer` (0.24)."""
    return any(
        re.match(each[3:], module) if each.startswith("re:") else each == module
        for each in config["quantization_config"]["ignore"]
    )


def test_weights_too_small_for_a_scale_become_zero(source, tmp_path):
    """A 127th of the smallest float is no float; nothing is divided by it."""
    weights = np.zeros((2, 4), np.float32)
    weights[0, 1], weights[1] = 1e-45, 1
    write_safetensors(source / "model.safetensors", {MATRICES[0]: weights})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(source, tmp_path / "out")
    after = read_safetensors(tmp_path / "out" / "model.safetensors")

    assert [[0] * 4, [127] * 4] == after[MATRICES[0]].tolist()


def test_pieces_give_the_same_file(source, tmp_path, monkeypatch):
    """With room for one row at a time not a byte differs."""
    write(source, tmp_path / "whole")
    monkeypatch.setattr(w8a8, "CHUNK_WEIGHTS", 1)
    write(source, tmp_path / "rows")
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
    command = ["quantize", str(source), "--to", "int8", "--unmeasured"]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out")])

    assert 1 == result.exit_code
    assert 1 == len(result.output.splitlines())
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
