"""A real model for engines that read Hugging Face folders, made from the GGUF that ships with us.

    python bench/gpu/real_model.py GGUF FOLDER

Needs numpy, gguf and tokenizers, and no network. Only llama models with SmolLM2's tokenizer are
known; what else a file may say is refused and not guessed. Weights are those of the GGUF, rounded
to BF16: a Q4_1 of a model does not become the model that it was made from.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from gguf import GGUFReader, ReaderTensor, TokenType
from gguf.quants import dequantize

HEAD = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Names of tensors, as llama.cpp calls them and as transformers' LlamaForCausalLM does."""

NUMBERS = {
    "hidden_size": "llama.embedding_length",
    "intermediate_size": "llama.feed_forward_length",
    "num_hidden_layers": "llama.block_count",
    "num_attention_heads": "llama.attention.head_count",
    "num_key_value_heads": "llama.attention.head_count_kv",
    "head_dim": "llama.rope.dimension_count",
    "max_position_embeddings": "llama.context_length",
    "rms_norm_eps": "llama.attention.layer_norm_rms_epsilon",
    "rope_theta": "llama.rope.freq_base",
}
SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
"""Tokens with a part to play, as transformers and as GGUF call them."""

KNOWN = {
    "general.architecture": "llama",
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.add_bos_token": False,
}

NEEDED = (
    *NUMBERS.values(),
    *(f"tokenizer.ggml.{name}_token_id" for name in SPECIAL.values()),
    *(f"tokenizer.ggml.{name}" for name in ("tokens", "merges", "token_type")),
    "tokenizer.chat_template",
)


def write(folder: Path, gguf: Path) -> Path:
    """Write a model's folder, and give it; raises ValueError for a GGUF of another kind."""
    reader = GGUFReader(gguf)
    told = {name: field.contents() for name, field in reader.fields.items()}
    for name, wanted in KNOWN.items():
        if told.get(name) != wanted:
            raise ValueError(f"{gguf}: {name} is {told.get(name)!r}; only {wanted!r} is known here")
    if scaled := [name for name in told if name.startswith("llama.rope.scaling")]:
        raise ValueError(f"{gguf}: {scaled[0]} is not known here")
    for name in NEEDED:
        if name not in told:
            raise ValueError(f"{gguf} does not tell {name}, which is needed here")
    config = config_of(told, {tensor.name for tensor in reader.tensors})
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "model.safetensors").open("wb") as file:
        write_weights(file, reader.tensors, config)
    write_tokenizer(folder, told)
    special = {f"{name}_token_id": config[f"{name}_token_id"] for name in ("bos", "eos", "pad")}
    _write_json(folder / "generation_config.json", special)
    _write_json(folder / "config.json", config)
    return folder


def config_of(told: dict[str, Any], tensors: set[str]) -> dict[str, Any]:
    """Give config.json, from the GGUF's metadata and the names of its tensors."""
    numbers = {name: told[field] for name, field in NUMBERS.items()}
    numbers |= {
        f"{name}_token_id": told[f"tokenizer.ggml.{field}_token_id"]
        for name, field in SPECIAL.items()
        if name != "unk"
    }
    return numbers | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(told["tokenizer.ggml.tokens"]),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in tensors,
        "torch_dtype": "bfloat16",
    }


def write_weights(file: BinaryIO, tensors: list[ReaderTensor], config: dict[str, Any]) -> None:
    """Write safetensors: eight bytes of length, that much JSON, then tensors in BF16."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor in tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        end = at + 2 * int(tensor.n_elements)
        header[name_of(tensor.name)] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for tensor in tensors:
        weights = dequantize(tensor.data, tensor.tensor_type)
        if not np.isfinite(weights).all():
            raise ValueError(f"{tensor.name} holds a weight that is no finite number")
        if ".attn_q." in tensor.name:
            weights = in_halves(weights, config["num_attention_heads"])
        elif ".attn_k." in tensor.name:
            weights = in_halves(weights, config["num_key_value_heads"])
        file.write(bf16(weights).tobytes())


def name_of(tensor: str) -> str:
    """Give a tensor's name in safetensors."""
    if tensor in HEAD:
        return HEAD[tensor]
    parts = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", tensor)
    if parts is None or parts[2] not in LAYER:
        raise ValueError(f"the tensor {tensor} is not known here")
    return f"model.layers.{parts[1]}.{LAYER[parts[2]]}.weight"


def in_halves(weights: np.ndarray, heads: int) -> np.ndarray:
    """Undo what llama.cpp's converter does to queries and keys.

    Rotary positions turn rows in pairs. In transformers a row's partner is half a head away; the
    converter puts partners side by side, as llama.cpp wants those of llama models.
    """
    rows, width = weights.shape
    pairs = weights.reshape(heads, rows // heads // 2, 2, width)
    return pairs.swapaxes(1, 2).reshape(rows, width)


def bf16(weights: np.ndarray) -> np.ndarray:
    """Round finite floats to the nearest BF16, ties to even; give the bits."""
    bits = np.ascontiguousarray(weights, dtype=np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype("<u2")


def write_tokenizer(folder: Path, told: dict[str, Any]) -> None:
    """Write the tokenizer, and what is told to callers' messages."""
    from tokenizers import (  # noqa: PLC0415 - weights alone need none
        AddedToken,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
    )

    tokens = told["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in told["tokenizer.ggml.merges"]]
    names = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(names, merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    tokenizer.decoder = decoders.ByteLevel()
    for token, kind in zip(tokens, told["tokenizer.ggml.token_type"], strict=True):
        is_control = kind == TokenType.CONTROL
        if is_control or kind == TokenType.USER_DEFINED:
            added = AddedToken(token, special=is_control, normalized=False)
            (tokenizer.add_special_tokens if is_control else tokenizer.add_tokens)([added])
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {
        f"{name}_token": tokens[told[f"tokenizer.ggml.{field}_token_id"]]
        for name, field in SPECIAL.items()
    }
    about = {
        # No class of its own: those bring a splitting of words that is not this model's.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": told["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        "chat_template": told["tokenizer.chat_template"],
    }
    _write_json(folder / "tokenizer_config.json", about | special)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python bench/gpu/real_model.py GGUF FOLDER")
    try:
        print(write(Path(sys.argv[2]), Path(sys.argv[1])))
    except (OSError, ValueError) as error:
        sys.exit(f"no model was made: {error}")
