"""How long would each part of a turn take if the hardware did all that its data sheet says?

From a model, an accelerator and a layout follow a dozen times at full speed: reading weights,
reading cache, multiplying, sending. They hold no opinion; what real engines reach of them is fitted
(`turn`, `fitted`).

One turn is looked at on one accelerator. A copy of attention (`dp`) and a pipeline stage (`pp`)
each work on their own part of the answers: with as many parts under way as there are stages, each
stage is always busy, so a turn takes what the whole model takes for one part.

Not here: whether it fits (`memory`), what is sent (`fabric`).
"""

import msgspec

from baseload.plan.catalog.rows import Accelerator
from baseload.plan.hardware.capability import arithmetic
from baseload.plan.hardware.memory import kv_bytes, weights_bytes
from baseload.plan.models.shape import Shape
from baseload.plan.speed.layout import Build
from baseload.plan.transport.fabric import traffic

LOOKED_BACK = 1024.0
"""Tokens for which attention's operations are counted, where they are not in proportion."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds at full speed, on one accelerator; and a few counts."""

    layers: float
    copies: float
    """Parts into which a replica's answers are divided: `dp * pp`."""
    missed: float
    """To the power of a replica's tokens: chance that none goes to an expert; 0 without experts."""
    common_read_s: float
    """All weights that every token needs, once."""
    routed_read_s: float
    """All routed experts, once."""
    cache_token_s: float
    """One token of one answer's context, looked back on."""
    cache_answer_s: float
    """What an answer keeps whatever its length."""
    common_token_s: float
    """One token of this copy, through what every token needs."""
    head_token_s: float
    """One token of this copy, through the output embedding."""
    routed_token_s: float
    """One token of the whole replica, through its experts."""
    attention_token_s: float
    """One token that is read and looks back on one other."""
    send_token_s: float
    """One token of this copy, inside a machine."""
    steps: float
    """Waits of one turn inside a machine, one after the other."""
    far_token_s: float
    """One token of this copy, between machines."""
    far_s: float
    """All waits of one turn between machines."""


def work_of(shape: Shape, build: Build) -> Work:
    """Give the times at full speed."""
    accelerator, layout, precision = build.accelerator, build.layout, build.precision
    whole = msgspec.structs.replace(layout, pp=1)
    ranks = layout.tp * layout.dp
    routed = shape.routed_bytes(precision) / ranks
    table = 0 if shape.is_tied else shape.table_bytes(precision) / 2 / layout.tp
    common = weights_bytes(shape, whole, precision) - routed - table
    cache_token, cache_answer = kv_bytes(shape, whole, build.kv_precision)
    bandwidth = accelerator.bandwidth_bytes_s
    is_wide = shape.moe is not None and precision in ("int4", "fp4")
    wide = flops_of(accelerator, "bf16" if "bf16" in accelerator.flops else "fp32")
    common_flops = wide if is_wide else flops_of(accelerator, precision)
    top_k = shape.moe.top_k if shape.moe else 0
    return Work(
        layers=float(shape.layers),
        copies=float(layout.dp * layout.pp),
        # One stage's part of the tokens is all that its experts see in a turn.
        missed=(1 - top_k / shape.moe.experts) ** (1 / layout.pp) if shape.moe else 0.0,
        common_read_s=common / bandwidth,
        routed_read_s=routed / bandwidth,
        cache_token_s=cache_token / bandwidth,
        cache_answer_s=cache_answer / bandwidth,
        common_token_s=2.0 * shape.common_params / layout.tp / common_flops,
        head_token_s=2.0 * shape.embedding_params / layout.tp / wide,
        routed_token_s=2.0 * shape.moe_layers * top_k * shape.expert_params
        / ranks / layout.pp / flops_of(accelerator, precision),
        attention_token_s=shape.attention_flops(LOOKED_BACK) / LOOKED_BACK
        / layout.tp / wide,
        **_sent(shape, build),
    )  # fmt: skip


def flops_of(accelerator: Accelerator, precision: str) -> float:
    """Operations a second in the arithmetic that weights of a precision are multiplied in."""
    does = arithmetic(accelerator, precision)
    assert does is not None, f"{accelerator.name} has no arithmetic for {precision}"
    return accelerator.flops[does]


def _sent(shape: Shape, build: Build) -> dict[str, float]:
    """Give what one token of one copy sends, and how often a turn waits for others.

    Where nothing joins accelerators or machines, one byte takes a second: as good as never.
    """
    accelerator, layout, network = build.accelerator, build.layout, build.network
    parts = traffic(shape, layout, layout.dp)
    near = accelerator.link_bytes_s or accelerator.pcie_bytes_s or 1.0
    far = network.bytes_s * layout.per_machine if network else 1.0
    late = network.latency_s if network else 0.0
    return {
        "send_token_s": sum(part.times * part.inside_bytes for part in parts) / near,
        "steps": float(sum(part.times * part.inside_steps for part in parts)),
        "far_token_s": sum(part.times * part.between_bytes for part in parts) / far,
        "far_s": sum(part.times * part.between_steps for part in parts) * late,
    }
