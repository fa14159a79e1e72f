"""Is a model three times as fast in INT8 as in FP32?

What a turn takes is bound by reading weights or by multiplying; narrower weights make both faster
by a known factor at most. The claim compares with FP32, in which no large model is served.

Not here: what engines reach of that (`speed`), accuracy, which no formula gives.
"""

import msgspec

from baseload.plan.catalog.rows import BITS, Accelerator
from baseload.plan.claims.claim import Claim, Given, percent, read_in, step
from baseload.plan.cost.terms import GB
from baseload.plan.models.known import find
from baseload.plan.models.shape import Shape
from baseload.plan.result import Formula

ACCURACY = "aclanthology.org 2025.acl-long.1304, Llama-3.1 of all sizes"


class Narrow(msgspec.Struct, frozen=True, kw_only=True):
    """What the claim says, and what it leaves open."""

    accelerator: Accelerator
    faster: float = 3.0
    wide: str = "fp32"
    narrow: str = "int8"
    model: str = "deepseek-r1-distill-qwen-7b"


def narrow_claim(it: Narrow) -> Claim:
    """Give the claim about INT8, worked out."""
    shape = find(it.model)
    wide, native = _ceiling(it.wide, it.narrow), _ceiling(shape.native, it.narrow)
    real = shape.weight_bytes(shape.native) / shape.weight_bytes(it.narrow)
    part = part_needed(it.faster, wide)
    return Claim(
        name="Three times as fast in INT8 as in FP32",
        says="Quantising FP32 to INT8 makes inference 3 times as fast and loses less than 1 %.",
        given=(
            Given(what="faster", value=f"{it.faster:g} times", source="the claim"),
            Given(what=f"operations of {it.accelerator.name}", value=", ".join(
                f"{name} {ops / 1e12:,.4g}e12/s" for name, ops in it.accelerator.flops.items()
            ), source=read_in(it.accelerator)),
            Given(what=f"{shape.name} is published in", value=shape.native,
                  source="its config.json"),
            Given(what="loss of accuracy", value="INT8 1 to 3 % if tuned; FP8 none",
                  source=ACCURACY),
        ),
        steps=tuple(
            found for base in (it.wide, shape.native) for found in _steps(it, shape, base)
        ),
        verdict="follows if" if part is not None else "does not follow",
        because=f"the weights are kept in {it.wide.upper()}, and"
        f" {'no part' if part is None else percent(part)} of the time is reading them"
        " or multiplying with them. But"
        f" {shape.name} is published in {shape.native.upper()}: from there the most is"
        f" {native:g} times, and {real:.1f} times with its embeddings, which stay wide. A loss"
        " below 1 % does not follow from the format: evaluate before and after.",
    )  # fmt: skip


def part_needed(faster: float, ceiling: float) -> float | None:
    """Give the part of a turn that must get `ceiling` times as fast for all to be `faster`.

    Amdahl: `1 / (1 - part + part / ceiling) = faster`. None if the whole turn is too little.
    """
    if faster > ceiling:
        return None
    return (1 - 1 / faster) / (1 - 1 / ceiling) if ceiling > 1 else 0.0


def _ceiling(wide: str, narrow: str) -> float:
    return BITS[wide] / BITS[narrow]


def _steps(it: Narrow, shape: Shape, base: str) -> tuple[Formula, ...]:
    to = f"{base} to {it.narrow}"
    ceiling = _ceiling(base, it.narrow)
    part = part_needed(it.faster, ceiling)
    sizes = [shape.weight_bytes(precision) for precision in (base, it.narrow)]
    flops = it.accelerator.flops
    found = [
        step(f"{to}: bits", "bits / bits", f"{BITS[base]} / {BITS[it.narrow]}",
             f"{ceiling:g} times"),
        step(f"{to}: bytes of {shape.name.rpartition('/')[2]}", "bytes / bytes",
             f"{sizes[0] / GB:.1f} GB / {sizes[1] / GB:.1f} GB",
             f"{sizes[0] / sizes[1]:.1f} times"),
        step(f"{to}: part of the time that must be reading weights",
             "(1 - 1 / faster) / (1 - 1 / ceiling)",
             f"(1 - 1 / {it.faster:g}) / (1 - 1 / {ceiling:g})",
             percent(part) if part is not None else "more than all"),
    ]  # fmt: skip
    if base in flops and it.narrow in flops:
        found.append(step(f"{to}: operations", "operations / operations",
            f"{flops[it.narrow]:.4g} / {flops[base]:.4g}",
            f"{flops[it.narrow] / flops[base]:g} times"))  # fmt: skip
    return tuple(found)
