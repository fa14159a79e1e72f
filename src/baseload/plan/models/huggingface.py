"""Which shape does a Hugging Face `config.json` describe?

Fields have several names for the same thing, by family; the tables below say which. A model of an
unknown family that uses the usual names is read as well. A field that is missing and cannot be
derived is named, with the file, in one `ModelError`.

What a config leaves to code was read in transformers (seen 2026-11-26): Qwen2 has biases on
queries, keys and values; Qwen3 norms on queries and keys; Qwen3-Next a gate and linear attention;
gpt-oss a window on every second layer. That gpt-oss has biases on everything and sinks, and
MiniMax-M2 norms over all heads together, was not read: totals of parameters come out right so.

Not here: models that come along (`known`), what sizes cost (`shape`).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from baseload.errors import BaseloadError
from baseload.plan.models.shape import Indexer, Linear, Mla, Moe, Shape

Config = Mapping[str, Any]

HIDDEN = ("hidden_size", "n_embd", "d_model")
LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
HEADS = ("num_attention_heads", "n_head", "num_heads")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "multi_query_group_num")
INTER = ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim")
VOCAB = ("vocab_size", "padded_vocab_size")
CONTEXT = ("max_position_embeddings", "n_positions", "seq_length", "model_max_length")
EXPERTS = ("n_routed_experts", "num_experts", "num_local_experts")
TOP_K = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k")
EXPERT_INTER = ("moe_intermediate_size", "expert_ffn_hidden_size")
SHARED_INTER = ("shared_expert_intermediate_size", "shared_intermediate_size")

UNGATED = {"gpt2", "gpt_neox", "gpt_bigcode", "gptj", "opt", "falcon", "bloom", "starcoder2", "phi"}
"""Families whose feed-forward part has two matrices."""
QKV_BIASED = {"qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl", "gpt_oss", "chatglm"}
OUTPUT_BIASED = {"gpt_oss", "llama"}
QK_NORMED = {"qwen3", "qwen3_moe", "qwen3_next", "qwen3_5_moe_text", "qwen3_5_text"}
ALTERNATING = {"gpt_oss", "gemma2", "cohere2"}
"""Families that say `sliding_window` and mean every second layer, if `layer_types` is missing."""
CONTEXT_UNKNOWN = 4096
"""Tokens that a model is trusted with whose config does not say."""


class ModelError(BaseloadError):
    """A model that cannot be found or read; the sentence says what and where."""


class _Fields:
    """A config with several names for a field, and the file that errors speak of."""

    def __init__(self, config: Config, file: str) -> None:
        self.config, self.file = config, file

    def get(self, names: tuple[str, ...]) -> int | None:
        """Give the first that is there."""
        for name in names:
            if (value := self.config.get(name)) is not None:
                return int(value)
        return None

    def need(self, names: tuple[str, ...]) -> int:
        """Give the first that is there; raise ModelError if none is."""
        if (value := self.get(names)) is None:
            others = f" (nor {', '.join(names[1:])})" if len(names) > 1 else ""
            raise ModelError(f"{self.file}: field `{names[0]}` is missing{others}")
        return value


def shape_from_config(config: Config, name: str, file: str = "config.json") -> Shape:
    """Read a model's sizes from its parsed `config.json`; multimodal ones by their text part.

    Raises ModelError if a field that cannot be derived is missing.
    """
    text: Config = config
    for part in ("text_config", "llm_config", "language_config"):
        if isinstance(inner := config.get(part), Mapping):
            text = {**config, **inner}
    fields = _Fields(text, file)
    layers, hidden, heads = fields.need(LAYERS), fields.need(HIDDEN), fields.need(HEADS)
    mla, moe = _mla(fields), _moe(fields, layers)
    needs_inter = moe is None or moe.dense_layers > 0
    native, scales = native_precision(text)
    head = mla.nope + mla.rope if mla else fields.get(("head_dim",)) or hidden // heads
    window, window_layers = _windows(text, layers)
    shape = Shape(
        name=name,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=fields.get(KV_HEADS) or heads,
        head=head,
        inter=fields.need(INTER) if needs_inter else fields.get(INTER) or 0,
        vocab=fields.need(VOCAB),
        is_tied=bool(text.get("tie_word_embeddings", False)),
        matrices=2 if text.get("model_type") in UNGATED else 3,
        mla=mla,
        moe=moe,
        window=window,
        window_layers=window_layers,
        linear_layers=_linear_layers(text, layers),
        linear=_linear(text),
        indexer=_indexer(text),
        has_gate=bool(text.get("attn_output_gate", text.get("model_type") == "qwen3_next")),
        context_max=fields.get(CONTEXT) or CONTEXT_UNKNOWN,
        native=native,
        native_scales=scales,
    )
    return _with_vectors(shape, text)


# -- parts ------------------------------------------------------------------------------------


def _mla(fields: _Fields) -> Mla | None:
    if (rank := fields.get(("kv_lora_rank",))) is None:
        return None
    return Mla(
        kv_rank=rank,
        q_rank=fields.get(("q_lora_rank",)),
        nope=fields.need(("qk_nope_head_dim",)),
        rope=fields.need(("qk_rope_head_dim",)),
        v=fields.need(("v_head_dim",)),
    )


def _moe(fields: _Fields, layers: int) -> Moe | None:
    experts = fields.get(EXPERTS) or 0
    if experts < 2:
        return None
    inter = fields.get(EXPERT_INTER) or fields.need(INTER)
    shared = fields.get(SHARED_INTER) or (fields.get(("n_shared_experts",)) or 0) * inter
    return Moe(
        experts=experts,
        top_k=fields.need(TOP_K),
        inter=inter,
        shared_inter=shared,
        dense_layers=_dense_layers(fields.config, layers),
    )


def _dense_layers(text: Config, layers: int) -> int:
    """Count layers without experts, by whichever of the families' ways the config says it."""
    if (types := text.get("mlp_layer_types")) is not None:
        return list(types).count("dense")
    if isinstance(each := text.get("moe_layer_freq"), list):
        return each.count(0)
    first = int(text.get("first_k_dense_replace") or 0)
    step = int(text.get("decoder_sparse_step") or each or text.get("moe_layer_interval") or 1)
    only = set(text.get("mlp_only_layers") or ())
    offset = 0 if text.get("first_k_dense_replace") is not None else 1
    return sum(
        layer < first or layer in only or (layer + offset) % step != 0 for layer in range(layers)
    )


def _windows(text: Config, layers: int) -> tuple[int | None, int]:
    """Give the window's tokens and how many layers have it."""
    window = text.get("sliding_window")
    if not window or text.get("use_sliding_window") is False:
        return None, 0
    if (types := text.get("layer_types")) is not None:
        count = sum("sliding" in str(kind) for kind in types)
    elif (pattern := text.get("sliding_window_pattern")) is not None:
        count = layers - layers // int(pattern)
    elif text.get("model_type") in ALTERNATING:
        count = -(-layers // 2)
    else:
        count = layers - int(text.get("max_window_layers") or 0)
    return (int(window), count) if count > 0 else (None, 0)


def _linear_layers(text: Config, layers: int) -> int:
    if (types := text.get("layer_types")) is not None:
        return sum("linear" in str(kind) for kind in types)
    if (interval := text.get("full_attention_interval")) is not None:
        return layers - layers // int(interval)
    if (kinds := text.get("attn_type_list")) is not None:
        return list(kinds).count(0)
    return 0


def _linear(text: Config) -> Linear | None:
    if text.get("linear_num_value_heads") is None:
        return None
    return Linear(
        key_heads=int(text["linear_num_key_heads"]),
        value_heads=int(text["linear_num_value_heads"]),
        key=int(text["linear_key_head_dim"]),
        value=int(text["linear_value_head_dim"]),
        kernel=int(text.get("linear_conv_kernel_dim", 4)),
    )


def _indexer(text: Config) -> Indexer | None:
    if text.get("index_topk") is None:
        return None
    return Indexer(
        heads=int(text["index_n_heads"]),
        head=int(text["index_head_dim"]),
        top_k=int(text["index_topk"]),
    )


def _with_vectors(shape: Shape, text: Config) -> Shape:
    """Count what is no matrix: norms, biases, sinks, convolutions, the gate of shared experts."""
    kind, full = text.get("model_type"), shape.layers - shape.linear_layers
    count = (2 * shape.layers + 1) * shape.hidden
    queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    if (m := shape.mla) is not None:
        count += shape.layers * (m.kv_rank + (m.q_rank or 0))
    elif text.get("attention_bias") or text.get("qkv_bias") or kind in QKV_BIASED:
        output = shape.hidden if kind in OUTPUT_BIASED else 0
        count += full * (queries + 2 * keys + output)
    if kind in QK_NORMED or (text.get("use_qk_norm") and text.get("qk_norm_type") is None):
        count += full * 2 * shape.head
    elif text.get("qk_norm_type") == "per_layer":
        count += full * (queries + keys)
    if (part := shape.linear) is not None:
        each = part.mixed * part.kernel + 2 * part.value_heads + part.value
        count += shape.linear_layers * each
    if (moe := shape.moe) is not None:
        if text.get("topk_method") == "noaux_tc" or text.get("use_routing_bias"):
            count += shape.moe_layers * moe.experts
        if text.get("shared_expert_intermediate_size"):
            count += shape.moe_layers * shape.hidden
    if kind == "gpt_oss" and moe is not None:
        each = moe.experts * (2 * moe.inter + shape.hidden + 1) + shape.heads
        count += shape.layers * each
    return msgspec.structs.replace(shape, vector_params=count)


# -- precision --------------------------------------------------------------------------------


def native_precision(text: Config) -> tuple[str, float | None]:
    """Give the precision that weights are published in, and bytes of scales a weight if it says.

    Understands `fp8`, `mxfp4`, `awq`, `gptq`, `bitsandbytes`, `compressed-tensors` and NVIDIA's
    `modelopt` in `quantization_config`; otherwise it is the `torch_dtype`.
    """
    quantised = text.get("quantization_config") or {}
    method = str(quantised.get("quant_method", "")).lower()
    algorithm = str(quantised.get("quant_algo", "")).lower()
    if "fp4" in method or "fp4" in algorithm:
        return "fp4", 1 / 32 if method.startswith("mx") else None
    if "fp8" in method or "fp8" in algorithm:
        return "fp8", None
    if quantised.get("load_in_4bit") or quantised.get("load_in_8bit"):
        return ("int4" if quantised.get("load_in_4bit") else "int8"), None
    weights = _group_weights(quantised)
    bits = weights.get("num_bits") or quantised.get("bits") or quantised.get("w_bit")
    if bits is None:
        wide = str(text.get("torch_dtype") or text.get("dtype") or "bfloat16")
        return ("fp32" if wide == "float32" else "bf16"), None
    letter = "fp" if weights.get("type") == "float" else "int"
    group = (
        weights.get("group_size") or quantised.get("group_size") or quantised.get("q_group_size")
    )
    scales = None
    if bits == 4 and letter == "int" and isinstance(group, int) and group > 0:
        scales = 2 / group if weights.get("symmetric") else 4 / group
    return f"{letter}{int(bits)}", scales


def _group_weights(quantised: Config) -> Config:
    """Give how the first group of `compressed-tensors` keeps its weights."""
    for group in (quantised.get("config_groups") or {}).values():
        return group.get("weights") or {}
    return {}
