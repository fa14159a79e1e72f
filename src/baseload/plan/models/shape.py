"""What is a model made of, as far as memory and time are concerned?

A shape has the sizes that a Hugging Face `config.json` has, and from them follow parameters, bytes
and operations. Dense models, grouped and multi-head attention, DeepSeek's latent attention (MLA)
and mixtures of experts (MoE) are one struct with parts that may be missing.

Formulas: a matrix of m by n costs m*n parameters and 2*m*n operations a token. KV per token:
`2 * layers * kv_heads * head * bytes` for heads, `layers * (kv_rank + rope) * bytes` for MLA, whose
latent is one for all heads. Sources: DeepSeek-V2 and V3 reports (arXiv 2405.04434, 2412.19437);
sparse attention's FP8 cache of 656 bytes a token, FlashMLA's format as vLLM takes it, and its index
keys in FP8 with one FP32 scale each, as LightLLM keeps them (both seen 2026-11-26); linear layers,
Gated DeltaNet as in Qwen3-Next (arXiv 2412.06464, `modular_qwen3_next.py` of transformers).

Of a mixture of experts, 4-bit checkpoints keep only routed experts in 4 bits and all else in 16:
so do gpt-oss (65 GB), Kimi-K2.5 (595 GB) and NVIDIA's NVFP4 of DeepSeek-R1; it is taken as the
rule. In FP8 and INT8 all matrices but the embeddings are narrow, as in DeepSeek-V3.

Not here: reading `config.json` (`huggingface`), the models that come along (`known`), what fits
(`memory`).
"""

import msgspec

from baseload.plan.catalog.rows import BITS

FP8_SCALES = 4 / 128**2
"""Bytes of block scales for each FP8 weight: one FP32 for 128 by 128."""
INT4_SCALES = 4 / 128
"""Bytes of scale and zero point for each 4-bit weight: two FP16 for groups of 128."""
FP4_SCALES = 1 / 16
"""Bytes of scale for each FP4 weight: one FP8 for groups of 16 (NVFP4)."""
SCALES = {"fp8": FP8_SCALES, "int4": INT4_SCALES, "fp4": FP4_SCALES}
INDEX_SCALE = 4
"""Bytes of scale beside each token's FP8 index key."""


class Mla(msgspec.Struct, frozen=True, kw_only=True):
    """Latent attention: keys and values of all heads come from one small vector a token."""

    kv_rank: int
    q_rank: int | None
    """None: queries are projected in one step (V2-Lite)."""
    nope: int
    rope: int
    v: int


class Moe(msgspec.Struct, frozen=True, kw_only=True):
    """Experts that take the place of a layer's feed-forward part."""

    experts: int
    top_k: int
    inter: int
    """Intermediate size of one expert."""
    shared_inter: int = 0
    """Intermediate size of all shared experts of a layer together."""
    dense_layers: int = 0
    """Layers that have an ordinary feed-forward part instead."""


class Indexer(msgspec.Struct, frozen=True, kw_only=True):
    """What picks the tokens that sparse attention looks at (DeepSeek-V3.2, GLM-5)."""

    heads: int
    head: int
    top_k: int
    """Tokens that each token looks back on, at most."""


class Linear(msgspec.Struct, frozen=True, kw_only=True):
    """Attention with a state of fixed size (Gated DeltaNet in Qwen3-Next and Qwen3.5)."""

    key_heads: int
    value_heads: int
    key: int
    """Size of one key head."""
    value: int
    kernel: int
    """Tokens that the convolution before it sees."""

    @property
    def mixed(self) -> int:
        """Width of queries, keys and values together."""
        return 2 * self.key_heads * self.key + self.value_heads * self.value


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A model's sizes."""

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head: int
    """Size of one head."""
    inter: int
    """Intermediate size of a dense layer's feed-forward part."""
    vocab: int
    is_tied: bool = False
    """Whether input and output embeddings are one matrix."""
    matrices: int = 3
    """Matrices of a feed-forward part: 3 with a gate (SwiGLU), 2 without."""
    mla: Mla | None = None
    moe: Moe | None = None
    window: int | None = None
    """Tokens that a layer with a sliding window looks back on."""
    window_layers: int = 0
    linear_layers: int = 0
    """Layers whose attention keeps a state of fixed size instead of a KV cache."""
    linear: Linear | None = None
    """What those layers are made of; None where it is not known: then as wide as the others."""
    indexer: Indexer | None = None
    has_gate: bool = False
    """Whether attention's output is gated by a matrix as wide as the queries' (Qwen3-Next)."""
    vector_params: int = 0
    """Parameters of the whole model that are no matrices: norms, biases, sinks. They stay wide."""
    context_max: int = 131072
    native: str = "bf16"
    """Precision in which the weights are published."""
    native_scales: float | None = None
    """Bytes of scales for each narrow weight as published; None: as `SCALES` has it."""

    # -- parameters -------------------------------------------------------------------------

    @property
    def attention_params(self) -> int:
        """Parameters of one layer's attention; of a hybrid model, one with a KV cache."""
        if (m := self.mla) is None:
            queries = 3 if self.has_gate else 2
            return self.hidden * self.head * (queries * self.heads + 2 * self.kv_heads)
        wide = self.heads * (m.nope + m.rope)
        q = self.hidden * wide if m.q_rank is None else m.q_rank * (self.hidden + wide)
        down = self.hidden * (m.kv_rank + m.rope)
        up = m.kv_rank * self.heads * (m.nope + m.v)
        return q + down + up + self.heads * m.v * self.hidden + self.indexer_params

    @property
    def indexer_params(self) -> int:
        """Parameters of one layer's indexer; 0 without sparse attention."""
        if (i := self.indexer) is None:
            return 0
        seen = self.mla.q_rank if self.mla and self.mla.q_rank else self.hidden
        return seen * i.heads * i.head + self.hidden * (i.head + i.heads)

    @property
    def linear_params(self) -> int:
        """Parameters of one layer's linear attention: into queries, keys, values, gates; out."""
        if (part := self.linear) is None:
            return self.attention_params
        values = part.value_heads * part.value
        return self.hidden * (part.mixed + 2 * values + 2 * part.value_heads)

    @property
    def expert_params(self) -> int:
        """Parameters of one routed expert; 0 without experts."""
        return self.matrices * self.hidden * self.moe.inter if self.moe else 0

    @property
    def moe_layers(self) -> int:
        """Layers that have experts."""
        return self.layers - self.moe.dense_layers if self.moe else 0

    @property
    def routed_params(self) -> int:
        """Parameters of all routed experts of all layers."""
        return self.moe_layers * self.moe.experts * self.expert_params if self.moe else 0

    @property
    def common_params(self) -> int:
        """Parameters of all layers that every token uses: attention, dense and shared parts."""
        dense = (self.layers - self.moe_layers) * self.matrices * self.hidden * self.inter
        full = self.layers - self.linear_layers
        every = full * self.attention_params + self.linear_layers * self.linear_params + dense
        if self.moe is None:
            return every
        shared = self.matrices * self.hidden * self.moe.shared_inter
        return every + self.moe_layers * (shared + self.hidden * self.moe.experts)

    @property
    def embedding_params(self) -> int:
        """Parameters of one embedding; an untied model has two."""
        return self.vocab * self.hidden

    @property
    def table_params(self) -> int:
        """Parameters of all embeddings."""
        return (1 if self.is_tied else 2) * self.embedding_params

    @property
    def params(self) -> int:
        """All parameters, without a multi-token predictor or a vision tower."""
        return self.common_params + self.routed_params + self.table_params + self.vector_params

    @property
    def active_params(self) -> int:
        """Parameters of matrices that one token is multiplied with, output embedding included."""
        routed = self.moe_layers * self.moe.top_k * self.expert_params if self.moe else 0
        return self.common_params + routed + self.embedding_params

    # -- bytes ------------------------------------------------------------------------------

    def scales(self, precision: str) -> float:
        """Bytes of scales for each weight that is kept in a precision."""
        if precision == self.native and self.native_scales is not None:
            return self.native_scales
        return SCALES.get(precision, 0.0)

    def routed_bytes(self, precision: str) -> float:
        """Bytes of all routed experts, with scales."""
        return self.routed_params * (BITS[precision] / 8 + self.scales(precision))

    def common_bytes(self, precision: str) -> float:
        """Bytes of all other matrices but embeddings, with scales."""
        if self.moe is not None and BITS[precision] < 8:
            return self.common_params * 2.0
        return self.common_params * (BITS[precision] / 8 + self.scales(precision))

    def table_bytes(self, precision: str) -> float:
        """Bytes of embeddings and vectors, which are never narrower than 16 bits."""
        return (self.table_params + self.vector_params) * max(BITS[precision] / 8, 2.0)

    def weight_bytes(self, precision: str) -> float:
        """Bytes of all weights, with scales."""
        parts = self.routed_bytes(precision) + self.common_bytes(precision)
        return parts + self.table_bytes(precision)

    def kv_bytes_token(self, precision: str = "bf16") -> float:
        """Bytes that one token adds to the KV cache, in all layers that keep one without bound."""
        keeping = self.layers - self.linear_layers - self.window_layers
        each = BITS[precision] / 8
        index = self.indexer.head + INDEX_SCALE if self.indexer else 0
        if (m := self.mla) is not None:
            latent = (m.kv_rank + m.rope) * each
            if self.indexer and each == 1.0:  # A scale for 128 numbers; the rotary part stays wide.
                latent = m.kv_rank * (1 + 4 / 128) + m.rope * 2.0
            return keeping * (latent + index)
        return keeping * (2 * self.kv_heads * self.head * each + index)

    def kv_bytes_fixed(self, precision: str = "bf16") -> float:
        """Bytes that a sequence keeps however long it is: windows, and linear layers' state.

        States are kept in FP32, the convolution's last tokens in 16 bits.
        """
        each = BITS[precision] / 8
        windows = 2 * self.window_layers * (self.window or 0) * self.kv_heads * self.head * each
        if (part := self.linear) is None:
            return windows + self.linear_layers * self.heads * self.head**2 * 4.0
        state = part.value_heads * part.key * part.value * 4.0
        return windows + self.linear_layers * (state + part.mixed * (part.kernel - 1) * 2.0)

    # -- operations -------------------------------------------------------------------------

    def attention_flops(self, context: float) -> float:
        """Operations of one token that looks back on so many, in all layers (prefill's form)."""
        m = self.mla
        width = m.nope + m.rope + m.v if m else 2 * self.head
        full = self.layers - self.linear_layers - self.window_layers
        index = 0.0
        if (i := self.indexer) is not None:
            index = 2.0 * full * i.heads * i.head * context
        looked = min(context, float(self.indexer.top_k)) if self.indexer else context
        seen = full * looked + self.window_layers * min(context, float(self.window or 0))
        return 2.0 * self.heads * width * seen + index
