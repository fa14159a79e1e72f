"""What is a model made of, as far as memory and time are concerned?

A shape has the sizes that a Hugging Face `config.json` has, and from them follow parameters, bytes
and operations. Dense models, grouped and multi-head attention, DeepSeek's latent attention (MLA)
and mixtures of experts (MoE) are one struct with parts that may be missing.

Formulas: a matrix of m by n costs m*n parameters and 2*m*n operations a token. KV per token:
`2 * layers * kv_heads * head * bytes` for heads, `layers * (kv_rank + rope) * bytes` for MLA, whose
latent is one for all heads. Sources: DeepSeek-V2 and V3 reports (arXiv 2405.04434, 2412.19437).

Not here: reading `config.json` (`huggingface`), the models that come along (`known`), what fits
(`memory`).
"""

from math import expm1, log1p

import msgspec

from baseload.plan.catalog.rows import BITS

FP8_SCALES = 4 / 128**2
"""Bytes of block scales for each FP8 weight: one FP32 for 128 by 128."""
INT4_SCALES = 4 / 128
"""Bytes of scale and zero point for each 4-bit weight: two FP16 for groups of 128."""
FP4_SCALES = 1 / 16
"""Bytes of scale for each FP4 weight: one FP8 for groups of 16 (NVFP4)."""
SCALES = {"fp8": FP8_SCALES, "int4": INT4_SCALES, "fp4": FP4_SCALES}


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
    context_max: int = 131072
    native: str = "bf16"
    """Precision in which the weights are published."""

    # -- parameters -------------------------------------------------------------------------

    @property
    def attention_params(self) -> int:
        """Parameters of one layer's attention."""
        if (m := self.mla) is None:
            return self.hidden * self.head * (2 * self.heads + 2 * self.kv_heads)
        wide = self.heads * (m.nope + m.rope)
        q = self.hidden * wide if m.q_rank is None else m.q_rank * (self.hidden + wide)
        down = self.hidden * (m.kv_rank + m.rope)
        up = m.kv_rank * self.heads * (m.nope + m.v)
        return q + down + up + self.heads * m.v * self.hidden

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
        every = self.layers * self.attention_params + dense
        if self.moe is None:
            return every
        shared = self.matrices * self.hidden * self.moe.shared_inter
        return every + self.moe_layers * (shared + self.hidden * self.moe.experts)

    @property
    def embedding_params(self) -> int:
        """Parameters of one embedding; an untied model has two."""
        return self.vocab * self.hidden

    @property
    def params(self) -> int:
        """All parameters, without a multi-token predictor."""
        tables = 1 if self.is_tied else 2
        return self.common_params + self.routed_params + tables * self.embedding_params

    @property
    def active_params(self) -> int:
        """Parameters that one token is multiplied with, the output embedding included."""
        routed = self.moe_layers * self.moe.top_k * self.expert_params if self.moe else 0
        return self.common_params + routed + self.embedding_params

    # -- bytes ------------------------------------------------------------------------------

    def weight_bytes(self, precision: str) -> float:
        """Bytes of all weights, with scales. Embeddings stay 16-bit in 8- and 4-bit precisions."""
        each = BITS[precision] / 8 + SCALES.get(precision, 0.0)
        tables = (1 if self.is_tied else 2) * self.embedding_params
        return (self.params - tables) * each + tables * max(each, 2.0)

    def kv_bytes_token(self, precision: str = "bf16") -> float:
        """Bytes that one token adds to the KV cache, in all layers that keep one without bound."""
        keeping = self.layers - self.linear_layers - self.window_layers
        each = BITS[precision] / 8
        if self.mla is not None:
            return keeping * (self.mla.kv_rank + self.mla.rope) * each
        return 2 * keeping * self.kv_heads * self.head * each

    def kv_bytes_fixed(self, precision: str = "bf16") -> float:
        """Bytes that a sequence keeps however long it is: windows, and linear layers' state."""
        each = BITS[precision] / 8
        windows = 2 * self.window_layers * (self.window or 0) * self.kv_heads * self.head * each
        return windows + self.linear_layers * self.heads * self.head**2 * 4.0

    # -- operations -------------------------------------------------------------------------

    def linear_flops_token(self) -> float:
        """Operations of one token in all matrices but the output embedding."""
        return 2.0 * (self.active_params - self.embedding_params)

    def attention_flops(self, context: float) -> float:
        """Operations of one token that looks back on so many, in all layers (prefill's form)."""
        m = self.mla
        width = m.nope + m.rope + m.v if m else 2 * self.head
        full = self.layers - self.linear_layers - self.window_layers
        seen = full * context + self.window_layers * min(context, float(self.window or 0))
        return 2.0 * self.heads * width * seen

    def experts_touched(self, tokens: float) -> float:
        """Experts of one layer that at least one of so many tokens goes to: E*(1-(1-k/E)^n)."""
        if self.moe is None:
            return 0.0
        missed = log1p(-self.moe.top_k / self.moe.experts)
        return -self.moe.experts * expm1(tokens * missed)
