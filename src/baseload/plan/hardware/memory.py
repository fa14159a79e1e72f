"""Does a model fit, and with how much room for its KV cache?

All figures are for one accelerator, the fullest of a replica. What is needed: its part of the
weights, the activations of one turn, a reserve for CUDA, NCCL and graphs, and the KV cache of the
wanted sequences. What there is: the memory that the driver reports, times `utilisation`.

Weights: attention and dense parts are split over `tp` and copied for each of `dp`; routed experts
over all of `tp * dp`, whole ones if `ep` is set; layers over `pp`, of which the longest stage
counts. Copied on each of `tp`: routers, MLA's projections down, the sparse attention's indexer, and
heads of keys and values when there are fewer than `tp`. KV: heads split over `tp` up to `kv_heads`;
MLA's latent is whole on each of `tp` (vLLM's MLA backends have one head of keys and values).
Reserve: 3.5 GiB and 392 MiB for NCCL, as NVIDIA's AIConfigurator takes (`systems/*.yaml` in
github.com/ai-dynamo/aiconfigurator, read in September 2026). Activations: vLLM holds back what a
turn of `max_num_batched_tokens` takes; here from the widest part of a layer, in 16 bits.

Not here: precision that hardware has (`capability`), which hardware is the smallest (`fitting`),
which splits are worth trying for speed (`units`).
"""

from math import ceil

import msgspec

from baseload.plan.catalog.rows import BITS, Accelerator
from baseload.plan.hardware.capability import refusal
from baseload.plan.models.shape import Shape
from baseload.plan.speed.layout import Layout

MIB = 1024**2
GIB = 1024**3
CONTEXT_BYTES = 3.5 * GIB
"""Held by CUDA, graphs and the engine on each accelerator (AIConfigurator's `other_mem`)."""
NCCL_BYTES = 392.0 * MIB
"""Held for communication on each of several accelerators (342 to 392 MiB there)."""
UTILISATION = 0.9
"""Part of the memory that an engine takes: vLLM's `gpu_memory_utilization`."""
TURN_TOKENS = 8192
"""Tokens of one turn of each copy: vLLM's `max_num_batched_tokens` for its server on GPUs of 70
GiB and more."""
SLOTS = 256
"""Answers at once, of each copy of attention: vLLM's `max_num_seqs` on smaller GPUs, and what was
set where an H200 was measured. Their logits are kept at once, in FP32."""


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """What one accelerator of a replica holds, in bytes, and what follows for the replica."""

    accelerators: int
    usable_bytes: float
    """Memory that the engine may take."""
    weights_bytes: float
    activations_bytes: float
    reserve_bytes: float
    kv_bytes: float
    """For the sequences that were asked for."""
    kv_free_bytes: float
    """For any KV cache: what weights, activations and reserve leave. Never negative."""
    kv_token_bytes: float
    """That one token of one sequence takes on one accelerator."""
    kv_tokens: int
    """Tokens that the whole replica's KV cache holds, beside what sequences always keep."""
    context_max: int
    """The longest context of a single sequence, not above the model's own."""
    sequences_max: int
    """How many sequences of the asked context the whole replica holds."""
    missing_bytes: float
    """On each accelerator; 0 if it fits."""
    fits: bool
    why: str
    """Why it does not fit, in one sentence; empty if it does."""


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine is set: how much it may take and what a turn is."""

    utilisation: float = UTILISATION
    turn_tokens: int = TURN_TOKENS
    reserve_bytes: float | None = None
    """None: as AIConfigurator has it."""


def fit(  # noqa: PLR0913 - all that fitting depends on
    shape: Shape,
    accelerator: Accelerator,
    layout: Layout,
    precision: str,
    kv_precision: str = "bf16",
    *,
    context: int,
    sequences: int = 1,
    room: Room | None = None,
) -> Fit:
    """Weigh a replica for so many sequences at once, each of so many tokens in all."""
    room = room or Room()
    usable = accelerator.memory_bytes * room.utilisation
    weights = weights_bytes(shape, layout, precision)
    activations = activations_bytes(shape, layout, room.turn_tokens)
    reserve = room.reserve_bytes
    if reserve is None:
        reserve = CONTEXT_BYTES + (NCCL_BYTES if layout.accelerators > 1 else 0.0)
    free = max(0.0, usable - weights - activations - reserve)
    token, fixed = kv_bytes(shape, layout, kv_precision)
    each = context * token + fixed
    rank = ceil(sequences / layout.dp)
    missing = max(0.0, weights + activations + reserve + rank * each - usable)
    why = (
        refusal(accelerator, precision, kv_precision)
        or misfit(shape, layout)
        or _too_long(shape, context)
        or _too_big(missing, weights, usable, accelerator, layout)
    )
    return Fit(
        accelerators=layout.accelerators,
        usable_bytes=usable,
        weights_bytes=weights,
        activations_bytes=activations,
        reserve_bytes=reserve,
        kv_bytes=rank * each,
        kv_free_bytes=free,
        kv_token_bytes=token,
        kv_tokens=layout.dp * _tokens(free - rank * fixed, token, rank * shape.context_max),
        context_max=min(shape.context_max, _tokens(free - fixed, token, shape.context_max)),
        sequences_max=layout.dp * int(free // each) if each > 0 else 0,
        missing_bytes=missing,
        fits=not why,
        why=why,
    )


# -- parts ------------------------------------------------------------------------------------


def weights_bytes(shape: Shape, layout: Layout, precision: str) -> float:
    """Bytes of weights on the fullest accelerator."""
    stage = ceil(shape.layers / layout.pp) / shape.layers
    copied = _copied_params(shape, layout.tp)
    wide = shape.common_bytes(precision) / max(1, shape.common_params)
    common = copied * wide + (shape.common_bytes(precision) - copied * wide) / layout.tp
    experts = shape.routed_bytes(precision) / (layout.tp * layout.dp)
    if shape.moe is not None and layout.ep > 1:
        experts *= ceil(shape.moe.experts / layout.ep) * layout.ep / shape.moe.experts
    tables = shape.table_bytes(precision) / layout.tp
    if layout.pp > 1 and not shape.is_tied:
        tables /= 2  # The first stage has the one into the model, the last the one out of it.
    return (common + experts) * stage + tables


def _copied_params(shape: Shape, tp: int) -> float:
    """Parameters that each of `tp` has whole; of heads of keys and values, what is had too often.

    What is copied beyond an even split is given, so that (all - copied) / tp + copied is had.
    """
    copied = shape.layers * float(shape.indexer_params)
    if (m := shape.mla) is not None:
        copied += shape.layers * shape.hidden * (m.kv_rank + m.rope + (m.q_rank or 0))
    elif tp > shape.kv_heads:
        keys = 2 * shape.hidden * shape.head * shape.kv_heads
        had = keys / shape.kv_heads  # One head each, where an even split would be keys / tp.
        full = shape.layers - shape.linear_layers
        copied += full * (had - keys / tp) * tp / (tp - 1)
    if shape.moe is not None:
        copied += shape.moe_layers * shape.hidden * shape.moe.experts
    return copied


def kv_bytes(shape: Shape, layout: Layout, precision: str) -> tuple[float, float]:
    """Bytes on one accelerator that a token adds, and that a sequence keeps whatever its length."""
    stage = ceil(shape.layers / layout.pp) / shape.layers
    split = 1 if shape.mla is not None else min(layout.tp, shape.kv_heads)
    token = shape.kv_bytes_token(precision) * stage / split
    return token, shape.kv_bytes_fixed(precision) * stage / split


def activations_bytes(shape: Shape, layout: Layout, tokens: int) -> float:
    """Bytes that the widest part of a layer takes in one turn, and logits of what is sampled.

    Beside input and output of a layer there are either queries, keys and values, a gated
    feed-forward part, or for each of a token's experts its input and both of its insides.
    """
    m = shape.mla
    heads = shape.heads * (2 * (m.nope + m.rope) + m.v if m else 2 * shape.head)
    attention = (heads + (0 if m else 2 * shape.kv_heads * shape.head)) / layout.tp
    dense = shape.matrices * shape.inter / layout.tp
    experts = 0.0
    if shape.moe is not None:
        inner = shape.matrices * shape.moe.inter / (1 if layout.ep > 1 else layout.tp)
        experts = shape.moe.top_k * (shape.hidden + inner)
        if layout.ep > 1:  # Each token's experts lie on as many accelerators.
            experts /= min(layout.ep, shape.moe.top_k)
    logits = SLOTS * shape.vocab * 4.0
    return tokens * 2.0 * (2 * shape.hidden + max(attention, dense, experts)) + logits


# -- sentences --------------------------------------------------------------------------------


def misfit(shape: Shape, layout: Layout) -> str:
    """Say why a model cannot be split so, whatever its bytes; empty if it can."""
    if shape.heads % layout.tp:
        return f"{shape.heads} heads of attention cannot be split over tp {layout.tp}"
    if layout.pp > shape.layers:
        return f"{shape.layers} layers cannot be split over pp {layout.pp}"
    if layout.ep > 1 and shape.moe is None:
        return f"{shape.name} has no experts to spread over ep {layout.ep}"
    if layout.tp * layout.dp % layout.ep:
        return f"ep {layout.ep} does not divide tp * dp = {layout.tp * layout.dp}"
    return ""


def _too_long(shape: Shape, context: int) -> str:
    if context <= shape.context_max:
        return ""
    return f"{shape.name} knows contexts of {shape.context_max:,} tokens, not {context:,}"


def _too_big(
    missing: float, weights: float, usable: float, accelerator: Accelerator, layout: Layout
) -> str:
    if missing <= 0:
        return ""
    what = "its weights alone need" if weights > usable else "it needs"
    need = weights if weights > usable else usable + missing
    return (
        f"{what} {need / 1e9:.1f} GB of the {usable / 1e9:.1f} GB that an engine may take on each"
        f" of {layout.accelerators} {accelerator.name}: {missing / 1e9:.1f} GB are missing on each"
    )


def _tokens(free: float, token: float, most: int) -> int:
    """Tokens in so many bytes; if a token takes none, as many as the model knows."""
    if free < 0:
        return 0
    return int(free // token) if token > 0 else most


# -- splits, and what fits in no way ----------------------------------------------------------


def even_layout(shape: Shape, count: int, machines: int) -> Layout:
    """Split a model over all accelerators: heads inside a machine as far as they go, then layers.

    Heads must be split evenly, so `tp` is the largest divisor of both; the rest is `pp`.
    """
    tp = max(each for each in range(1, count + 1) if count % each == shape.heads % each == 0)
    return Layout(tp=tp, pp=count // tp * machines, per_machine=count)


def largest_params(memory_bytes: float, precision: str, share: float = UTILISATION) -> float:
    """Parameters that fit into a share of all memory, with no KV cache and no scales at all.

    A ceiling, good for refuting a claim: what is larger fits in no way.
    """
    return memory_bytes * share * 8 / BITS[precision]


def bits_left(memory_bytes: float, params: float) -> float:
    """Bits that each parameter may have if the whole memory had nothing else in it."""
    return memory_bytes * 8 / params
