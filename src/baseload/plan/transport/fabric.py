"""What does a parallel layout send in one turn, and what does a faster network buy for it?

Tensor parallelism sums twice a layer (after attention and after the feed-forward part); a ring
carries `2 * (n - 1) / n` of the summed bytes over each link (`doc/PERFORMANCE.md` of
github.com/NVIDIA/nccl-tests), and small sums go up and down a tree of `log2 n` steps, as NCCL does
since 2.4 (github.com/NVIDIA/nccl-tests/issues/196). Pipeline stages hand on hidden state and
residual, as vLLM does. With experts spread, each token goes to its experts (dispatch, FP8) and back
(combine, 16 bits); over the network once for each other machine, as DeepEP forwards (README.md of
github.com/deepseek-ai/DeepEP). Where experts are split instead, copies of attention gather all
tokens and scatter sums, which carries what a sum does. All seen 2026-11-26.

Times are bounds: nothing overlaps, and links carry what their rows say.

Not here: a whole turn's time (`speed.turn`), rows of links (`catalog`).
"""

from math import ceil, log2

import msgspec

from baseload.plan.catalog.rows import Link
from baseload.plan.models.shape import Shape
from baseload.plan.speed.layout import Layout

WIDE_BYTES = 2
"""Of one element of what is summed, handed on or combined: 16 bits."""
DISPATCH_BYTES = 1
"""Of one element that is sent to an expert: FP8."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of communication of one turn."""

    what: str
    """`tensor sums`, `expert sums`, `expert dispatch`, `expert combine` or `pipeline`."""
    times: int
    """How often a turn does it, one after the other."""
    inside_bytes: float
    """Each time, over each accelerator's link in its machine."""
    between_bytes: float
    """Each time, out of one machine, over all its ports."""
    inside_steps: int
    between_steps: int


class Hops(msgspec.Struct, frozen=True, kw_only=True):
    """What joins accelerators of a machine, and machines."""

    inside: Link
    between: Link
    ports: int = 1
    """Ports of one machine into the network: 8 where each accelerator has one."""


def traffic(shape: Shape, layout: Layout, tokens: int) -> tuple[Traffic, ...]:
    """Give all that one turn of so many tokens of a whole replica sends."""
    rank = tokens / layout.dp
    parts = []
    sparse = shape.moe is not None and (layout.ep > 1 or layout.dp > 1)
    sums = 2 * shape.layers - (shape.moe_layers if sparse else 0)
    if layout.tp > 1:
        parts.append(_sums("tensor sums", sums, shape.hidden * rank, layout.tp, layout))
    if sparse and layout.ep > 1:
        parts.extend(_all_to_all(shape, layout, tokens))
    elif sparse:
        group = layout.tp * layout.dp
        parts.append(_sums("expert sums", shape.moe_layers, shape.hidden * tokens, group, layout))
    if layout.pp > 1:
        parts.extend(_pipeline(shape, layout, tokens))
    return tuple(parts)


def turn_s(parts: tuple[Traffic, ...], hops: Hops) -> float:
    """Give how long all of a turn's communication takes, in seconds."""
    return sum(part.times * _once_s(part, hops) for part in parts)


def token_bytes(parts: tuple[Traffic, ...], tokens: int) -> tuple[float, float]:
    """Give bytes for each token: over one accelerator's link, and out of one machine."""
    inside = sum(part.times * part.inside_bytes for part in parts)
    return inside / tokens, sum(part.times * part.between_bytes for part in parts) / tokens


# -- kinds ------------------------------------------------------------------------------------


def _sums(what: str, times: int, elements: float, group: int, layout: Layout) -> Traffic:
    """One sum of so many elements over a group of accelerators that lie side by side."""
    size = 2 * (group - 1) / group * elements * WIDE_BYTES
    machines = _machines(group, layout)
    near = min(group, layout.per_machine)
    return Traffic(
        what=what,
        times=times,
        inside_bytes=size if near > 1 else 0.0,
        between_bytes=size if machines > 1 else 0.0,
        inside_steps=2 * _depth(near),
        between_steps=2 * _depth(machines),
    )


def _all_to_all(shape: Shape, layout: Layout, tokens: int) -> tuple[Traffic, Traffic]:
    """Each token to its experts and back, for the busiest accelerator if all are as busy."""
    assert shape.moe is not None
    group = layout.ep
    machines = _machines(group, layout)
    top_k, own = shape.moe.top_k, tokens / (layout.tp * layout.dp)
    copies = top_k * (group - 1) / group
    others = (machines - 1) * (1 - (1 - 1 / machines) ** top_k)
    leaving = own * min(group, layout.per_machine) * others * shape.hidden
    near = min(group, layout.per_machine) > 1

    def way(what: str, width: int) -> Traffic:
        return Traffic(
            what=what,
            times=shape.moe_layers,
            inside_bytes=own * copies * shape.hidden * width if near else 0.0,
            between_bytes=leaving * width,
            inside_steps=int(near),
            between_steps=int(machines > 1),
        )

    return way("expert dispatch", DISPATCH_BYTES), way("expert combine", WIDE_BYTES)


def _pipeline(shape: Shape, layout: Layout, tokens: int) -> list[Traffic]:
    """Hidden state and residual from each stage to the next, inside machines and between them."""
    stage = layout.tp * layout.dp
    far = (layout.pp - 1) if stage >= layout.per_machine else layout.machines - 1
    size = 2.0 * tokens * shape.hidden * WIDE_BYTES
    each = {True: far, False: layout.pp - 1 - far}
    return [
        Traffic(
            what="pipeline", times=times, inside_bytes=0.0 if is_far else size / stage,
            between_bytes=size if is_far else 0.0,
            inside_steps=int(not is_far), between_steps=int(is_far),
        )
        for is_far, times in each.items()
        if times > 0
    ]  # fmt: skip


def _once_s(part: Traffic, hops: Hops) -> float:
    """Both kinds of link carry at the same time, so the slower counts; steps follow each other."""
    inside = part.inside_bytes / hops.inside.bytes_s
    between = part.between_bytes / (hops.between.bytes_s * hops.ports)
    steps = part.inside_steps * hops.inside.latency_s + part.between_steps * hops.between.latency_s
    return max(inside, between) + steps


def _machines(group: int, layout: Layout) -> int:
    return ceil(group / layout.per_machine)


def _depth(group: int) -> int:
    return ceil(log2(group)) if group > 1 else 0
