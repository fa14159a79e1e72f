"""Shapes of models: totals, KV bytes, names and configs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.catalog.rows import BITS
from baseload.plan.models.huggingface import ModelError, shape_from_config
from baseload.plan.models.known import find, from_file, known

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("deepseek-r1-distill-qwen-7b", 7_615_616_512),
        ("deepseek-r1-distill-qwen-32b", 32_763_876_352),
        ("meta-llama/Llama-3.1-8B", 8_030_261_248),
        ("meta-llama/Llama-3.1-70B", 70_553_706_496),
        ("deepseek-ai/DeepSeek-V3", 671_026_419_200),
        ("mistralai/Mixtral-8x7B", 46_702_792_704),
    ],
)
def test_parameters_are_counted_exactly(name, params):
    """Norms, biases and router's corrections included, totals are those of published weights."""
    assert params == find(name).params


@pytest.mark.parametrize("row", known(), ids=lambda row: row.names[0])
def test_known_models_have_as_many_parameters_as_publishers_say(row):
    """Within the publisher's rounding: 1 %, and 3 % where "1T" is all that is said."""
    allowed = 0.03 if row.params_b == 1000 else 0.011

    assert row.params_b * 1e9 == pytest.approx(find(row.names[0]).params, rel=allowed)


@pytest.mark.parametrize("row", known(), ids=lambda row: row.names[0])
def test_known_models_say_where_their_sizes_are_from(row):
    """Each row has a source and a day."""
    assert len(row.source) > 10
    assert "2026-11-26" == row.seen


@pytest.mark.parametrize(
    ("name", "kv"),
    [
        ("deepseek-r1-distill-qwen-7b", 57_344),
        ("deepseek-r1-distill-qwen-32b", 262_144),
        ("deepseek-r1-distill-llama-70b", 327_680),
        ("deepseek-v3", 70_272),
        ("glm-5", 78 * (576 * 2 + 132)),
        ("gpt-oss-120b", 2 * 18 * 8 * 64 * 2),
        ("qwen3.5-397b-a17b", 2 * 15 * 2 * 256 * 2),
    ],
)
def test_kv_bytes_of_a_token(name, kv):
    """Heads, latents, index keys, windows and linear layers each count as they are cached."""
    assert kv == find(name).kv_bytes_token("bf16")


@pytest.mark.parametrize(
    ("name", "kv"),
    [
        ("deepseek-r1-distill-qwen-7b", 57_344 / 2),
        ("deepseek-v3", 35_136),
        ("deepseek-v3.2", 61 * (656 + 132)),
    ],
)
def test_kv_bytes_of_a_token_in_fp8(name, kv):
    """Half, but for sparse attention: its format has scales and a wide rotary part."""
    assert kv == find(name).kv_bytes_token("fp8")


@pytest.mark.parametrize(
    ("name", "gb"),
    [
        ("openai/gpt-oss-120b", 65.2),
        ("openai/gpt-oss-20b", 13.76),
        ("moonshotai/Kimi-K2.5", 594.2),
        ("deepseek-v3", 673.0),
        ("deepseek-r1-distill-llama-70b", 141.1),
    ],
)
def test_weights_take_as_much_as_published_files(name, gb):
    """In the precision that they are published in, within 0.1 %."""
    shape = find(name)

    assert gb == pytest.approx(shape.weight_bytes(shape.native) / 1e9, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "gflops", "attention"),
    [
        ("deepseek-r1-distill-qwen-7b", 14.1, 0.8),
        ("deepseek-r1-distill-qwen-32b", 64.0, 2.7),
        ("deepseek-r1-distill-llama-70b", 139.0, 5.4),
        ("deepseek-v3", 73.3, 10.2),
    ],
)
def test_operations_of_a_token(name, gflops, attention):
    """In matrices, output embedding included, and in attention in the mean of 4,096 tokens."""
    shape = find(name)

    assert gflops == pytest.approx(2 * shape.active_params / 1e9, rel=3e-3)
    assert attention == pytest.approx(shape.attention_flops(2048) / 1e9, abs=0.06)


@pytest.mark.parametrize(
    ("asked", "name", "native"),
    [
        ("deepseek-chat", "deepseek-chat", "fp8"),
        ("nvidia/DeepSeek-R1-NVFP4", "deepseek-ai/DeepSeek-R1", "fp4"),
        ("DEEPSEEK-V3.1", "deepseek-ai/DeepSeek-V3.1", "fp8"),
        ("nvidia/Llama-3.1-8B-Instruct-FP8", "meta-llama/Llama-3.1-8B", "fp8"),
        ("qwen3:32b", "Qwen/Qwen3-32B", "bf16"),
        ("Qwen/Qwen3-235B-A22B-FP8", "Qwen/Qwen3-235B-A22B", "fp8"),
        ("Qwen3-32B-AWQ", "Qwen/Qwen3-32B", "int4"),
        ("moonshotai/Kimi-K2-Instruct", "moonshotai/Kimi-K2", "fp8"),
        ("moonshotai/Kimi-K2-Thinking", "moonshotai/Kimi-K2-Thinking", "int4"),
        ("zhipuai/GLM-5", "zai-org/GLM-5", "bf16"),
        ("mixtral-8x7b-instruct-v0.1", "mistralai/Mixtral-8x7B", "bf16"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-ai/DeepSeek-R1", "fp8"),
    ],
)
def test_names_are_found_in_many_spellings(asked, name, native):
    """Case, organisation and endings do not matter; a precision in the name is heeded."""
    shape = find(asked)

    assert (name, native) == (shape.name, shape.native)


def test_another_precision_forgets_published_scales():
    """INT4 of groups of 32 as Kimi publishes it does not say how large scales in FP4 are."""
    shape = find("moonshotai/Kimi-K2.5-NVFP4")

    assert ("fp4", None) == (shape.native, shape.native_scales)


def test_an_unknown_model_is_refused_with_the_nearest():
    """The sentence names what was asked and what comes near it."""
    with pytest.raises(ModelError, match=r"`deepsek-v3`.*deepseek-ai/DeepSeek-V3"):
        find("deepsek-v3")


def test_a_config_is_read_from_a_file_or_its_folder(tmp_path):
    """Both give the same shape, named after the folder."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA))

    shape = find(str(folder))

    assert find(str(folder / "config.json")) == shape
    assert ("mine", 8_030_261_248) == (shape.name, shape.params)


def test_nvidias_file_beside_the_config_says_the_precision(tmp_path):
    """`hf_quant_config.json` with NVFP4 makes FP4 the native precision."""
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "NVFP4"}}')

    assert "fp4" == from_file(tmp_path).native


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_broken_file_is_named(tmp_path, text):
    """What is no JSON object is refused with its path."""
    (tmp_path / "config.json").write_text(text)

    with pytest.raises(ModelError, match=r"config\.json"):
        find(str(tmp_path))


def test_a_missing_file_is_named(tmp_path):
    """A path that is not there is refused with that path."""
    with pytest.raises(ModelError, match=r"absent\.json"):
        find(str(tmp_path / "absent.json"))


@pytest.mark.parametrize("field", sorted(set(LLAMA) - {"model_type", "num_key_value_heads"}))
def test_a_missing_field_is_named_with_the_file(field):
    """One sentence names both."""
    config = {name: value for name, value in LLAMA.items() if name != field}

    with pytest.raises(ModelError, match=rf"here\.json: field `{field}` is missing"):
        shape_from_config(config, "x", "here.json")


def test_an_unknown_family_with_usual_fields_is_read():
    """The name of the architecture does not matter where fields are the usual ones."""
    shape = shape_from_config({**LLAMA, "model_type": "novel"}, "x")

    assert 8_030_261_248 == shape.params


def test_older_names_of_fields_are_read():
    """GPT-2's names, two matrices a feed-forward part, and as many KV heads as heads."""
    config = {
        "model_type": "gpt2", "n_layer": 2, "n_embd": 8, "n_head": 2, "n_inner": 32,
        "vocab_size": 100,
    }  # fmt: skip

    shape = shape_from_config(config, "x")

    assert (2, 2, 4) == (shape.matrices, shape.kv_heads, shape.head)


def test_a_multimodal_model_is_read_by_its_text_part():
    """Sizes are those of `text_config`, not of the vision tower."""
    config = {"model_type": "x", "hidden_size": 1, "text_config": LLAMA, "vision_config": {}}

    assert 4096 == shape_from_config(config, "x").hidden


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"sliding_window": 4096}, (4096, 32)),
        ({"sliding_window": 4096, "use_sliding_window": False}, (None, 0)),
        ({"sliding_window": 4096, "max_window_layers": 28}, (4096, 4)),
        ({"sliding_window": 128, "model_type": "gpt_oss"}, (128, 16)),
        ({"sliding_window": 1024, "sliding_window_pattern": 6}, (1024, 27)),
        ({"sliding_window": 8, "layer_types": ["sliding_attention"] * 3}, (8, 3)),
        ({"sliding_window": None}, (None, 0)),
    ],
)
def test_windows_are_read_as_families_mean_them(more, expected):
    """All layers, none, the last ones, every second, five of six, or those that are listed."""
    shape = shape_from_config({**LLAMA, **more}, "x")

    assert expected == (shape.window, shape.window_layers)


@pytest.mark.parametrize(
    ("more", "dense"),
    [
        ({}, 0),
        ({"first_k_dense_replace": 3}, 3),
        ({"decoder_sparse_step": 2}, 16),
        ({"mlp_only_layers": [0, 5]}, 2),
        ({"moe_layer_freq": [0, 1, 1]}, 1),
        ({"mlp_layer_types": ["dense", "sparse"]}, 1),
    ],
)
def test_dense_layers_are_counted_as_families_mean_them(more, dense):
    """Leading ones, every second, those that are named, or by a list."""
    experts = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64}

    shape = shape_from_config({**LLAMA, **experts, **more}, "x")

    assert dense == shape.moe.dense_layers


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"quant_method": "fp8"}, ("fp8", None)),
        ({"quant_method": "mxfp4"}, ("fp4", 1 / 32)),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, ("fp4", None)),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, ("int4", 4 / 128)),
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, ("int8", None)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("int4", None)),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, ("int8", None)),
        ({}, ("bf16", None)),
    ],
)
def test_the_published_precision_is_read(said, expected):
    """From what `quantization_config` says, in each of its dialects."""
    shape = shape_from_config({**LLAMA, "quantization_config": said}, "x")

    assert expected == (shape.native, shape.native_scales)


def test_wide_weights_are_read_from_the_type():
    """Without quantisation it is `torch_dtype` that says."""
    assert "fp32" == shape_from_config({**LLAMA, "torch_dtype": "float32"}, "x").native


@given(st.sampled_from([name for row in known() for name in row.names]), st.data())
def test_narrower_weights_take_no_more(name, data):
    """For every model, bytes of weights and KV rise with bits."""
    fewer, more = sorted(data.draw(st.tuples(*[st.sampled_from(sorted(BITS))] * 2)), key=BITS.get)
    shape = find(name)
    scale = 1.15 if BITS[fewer] == BITS[more] else 1.0

    assert shape.weight_bytes(fewer) <= shape.weight_bytes(more) * scale
    assert shape.kv_bytes_token(fewer) <= shape.kv_bytes_token(more)
