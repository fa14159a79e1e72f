"""Tests of the model that the GPU bench makes from the shipped GGUF; no engine reads it here.

Its tokenizer needs a package that the tests do without, so it is not tested.
"""

import json

import numpy as np
import pytest
from bench.gpu import real_model
from gguf import GGUFReader, GGUFWriter

from baseload.engines.weights import find_weights, safetensors
from tests.engines.engine_kit import MODEL

HEADS, WIDTH, ANGLES = 3, 6, np.array([0.3, 0.7])


def turned(rows, position, partners):
    """Turn a head's rows in pairs, as rotary positions do; `partners` are their two places."""
    (first, second), angles = partners, position * ANGLES
    out = np.empty_like(rows)
    out[:, first] = rows[:, first] * np.cos(angles) - rows[:, second] * np.sin(angles)
    out[:, second] = rows[:, first] * np.sin(angles) + rows[:, second] * np.cos(angles)
    return out


def scores(queries, keys, partners):
    """Give what each head's query at position 5 makes of its key at position 2."""
    asked, held = (rows.reshape(HEADS, 4) for rows in (queries, keys))
    return (turned(asked, 5, partners) * turned(held, 2, partners)).sum(axis=1)


def test_heads_see_what_they_saw_before():
    """With partners half a head apart, scores are those of partners side by side."""
    rng = np.random.default_rng(5)
    queries, keys = rng.normal(size=(2, HEADS * 4, WIDTH))
    x, y = rng.normal(size=(2, WIDTH))
    before = scores(queries @ x, keys @ y, ([0, 2], [1, 3]))

    apart = [real_model.in_halves(weights, HEADS) for weights in (queries, keys)]

    assert before == pytest.approx(scores(apart[0] @ x, apart[1] @ y, ([0, 1], [2, 3])))
    assert before != pytest.approx(scores(queries @ x, keys @ y, ([0, 1], [2, 3])))


@pytest.mark.parametrize(
    ("number", "bits"),
    [
        (1.0, 0x3F80),
        (1 + 2**-8, 0x3F80),  # halfway, to the even one below
        (1 + 3 * 2**-8, 0x3F82),  # halfway, to the even one above
        (1 + 2**-8 + 2**-20, 0x3F81),
        (-2.0, 0xC000),
        (0.0, 0),
    ],
)
def test_the_nearest_bf16_is_taken(number, bits):
    """Floats become the nearest BF16, and those halfway the even one."""
    assert [bits] == real_model.bf16(np.array([number])).tolist()


@pytest.mark.usefixtures("real_engine")
def test_the_shipped_model_becomes_whole_safetensors(tmp_path):
    """Weights of the shipped GGUF become safetensors without a fault, and its numbers a config."""
    reader = GGUFReader(find_weights(MODEL))
    told = {name: field.contents() for name, field in reader.fields.items()}
    config = real_model.config_of(told, {tensor.name for tensor in reader.tensors})
    path = tmp_path / "model.safetensors"

    with path.open("wb") as file:
        real_model.write_weights(file, reader.tensors, config)

    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    shapes = {name: each.get("shape") for name, each in header.items()}
    assert safetensors.fault(path) is None
    assert [49152, 576] == shapes["model.embed_tokens.weight"]
    assert [192, 576] == shapes["model.layers.29.self_attn.k_proj.weight"]
    assert (30, 9, 3, 100000.0) == tuple(
        config[name]
        for name in (
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "rope_theta",
        )
    )
    assert config["tie_word_embeddings"]


def test_a_model_that_does_not_tell_enough_is_refused(tmp_path):
    """What is missing is named before anything is written."""
    writer = GGUFWriter(tmp_path / "mine.gguf", "llama")
    writer.add_string("tokenizer.ggml.model", "gpt2")
    writer.add_string("tokenizer.ggml.pre", "smollm")
    writer.add_bool("tokenizer.ggml.add_bos_token", False)
    writer.add_embedding_length(64)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ValueError, match=r"does not tell llama\.feed_forward_length"):
        real_model.write(tmp_path / "model", tmp_path / "mine.gguf")

    assert not (tmp_path / "model").exists()


def test_another_tensor_is_refused():
    """A tensor that nobody has thought of is named, not left out."""
    with pytest.raises(ValueError, match=r"blk\.0\.attn_q\.bias is not known"):
        real_model.name_of("blk.0.attn_q.bias")
