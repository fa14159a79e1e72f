"""Do models of 1.2T, 800B and 600B parameters fit on one p4d, NDv4 and GN10Xp?

The claim names no precision. Memory over parameters is the bits that each may have if there were
nothing else in it; what an engine may take over the bits of a precision is the most that fits with
no KV cache. Beside both stands which known models do fit, and how.

Not here: the bytes (`memory`), all other hardware (`fitting`).
"""

import msgspec

from baseload.plan.catalog.rows import BITS, Accelerator, Instance
from baseload.plan.claims.claim import Claim, Given, read_in, step
from baseload.plan.cost.terms import GB
from baseload.plan.hardware.capability import refusal
from baseload.plan.hardware.fitting import Weighed, Wish, weigh
from baseload.plan.hardware.machines import Hardware
from baseload.plan.hardware.memory import UTILISATION, bits_left, largest_params
from baseload.plan.models.known import find
from baseload.plan.result import Formula

WORKABLE = 4.0
"""Bits that weights take at least in what engines serve today: INT4 or FP4."""

HALF = Given(
    what="bf16", value="any 16-bit float: V100 has FP16, and neither BF16 nor FP8",
    source="the catalogue's note on v100-32",
)  # fmt: skip


class Sold(msgspec.Struct, frozen=True, kw_only=True):
    """One machine, and what is said of it."""

    instance: Instance
    accelerator: Accelerator
    params: float
    """Of the largest model, as the claim has it."""
    sold_bytes: float
    """Memory of one accelerator by its name; drivers report a little more or less."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """What the claim says, and what it leaves open."""

    machines: tuple[Sold, ...]
    share: float = UTILISATION
    context: int = 8192
    precisions: tuple[str, ...] = ("bf16", "fp8", "int8", "int4")
    models: tuple[str, ...] = ("deepseek-v3", "llama-3.1-405b", "deepseek-r1-distill-llama-70b")


def sizes_claim(it: Sizes) -> Claim:
    """Give the claim about the largest models, worked out."""
    bits = [_bits(each) for each in it.machines]
    words = [
        f"{each.instance.name} has {left:.1f} bits for each parameter"
        for each, left in zip(it.machines, bits, strict=True)
    ]
    most = ", ".join(_billions(_largest(it, each, "int4")) for each in it.machines)
    return Claim(
        name="Models of 1.2T, 800B and 600B parameters on one machine",
        says="; ".join(
            f"{each.instance.name} holds models of up to {_billions(each.params)} parameters"
            for each in it.machines
        ) + ".",
        given=(*(given for each in it.machines for given in _given(each)), HALF),
        steps=tuple(found for each in it.machines for found in _steps(it, each)),
        verdict="follows if" if min(bits) >= WORKABLE else "does not follow",
        because=f"{'; '.join(words)}, with nothing else in memory; what engines serve has"
        f" {WORKABLE:g} or more. At {it.share:.0%} of the memory as sold, and without any KV cache,"
        f" INT4 takes at most {most}. Neither precision nor context is said.",
    )  # fmt: skip


def _bits(each: Sold) -> float:
    return bits_left(each.instance.count * each.sold_bytes, each.params)


def _largest(it: Sizes, each: Sold, precision: str) -> float:
    return largest_params(each.instance.count * each.sold_bytes, precision, it.share)


def _given(each: Sold) -> tuple[Given, ...]:
    name, row = each.instance.name, each.accelerator
    return (
        Given(what=f"{name}: largest model", value=f"{_billions(each.params)} parameters",
              source="the claim"),
        Given(what=f"{name}: accelerators", value=f"{each.instance.count} x {row.name}, sold as"
              f" {each.sold_bytes / GB:g} GB each", source=read_in(each.instance)),
        Given(what=f"{name}: memory of one", value=f"{row.memory_bytes / GB:.1f} GB by its driver;"
              f" calculates in {', '.join(row.flops)}", source=read_in(row)),
    )  # fmt: skip


def _steps(it: Sizes, each: Sold) -> tuple[Formula, ...]:
    name, count, row = each.instance.name, each.instance.count, each.accelerator
    sold, reported = count * each.sold_bytes, count * row.memory_bytes
    return (
        step(f"{name}: bits a parameter", "memory * 8 / parameters",
             f"{sold / GB:g} GB * 8 / {_billions(each.params)}", f"{_bits(each):.1f}"),
        step(f"{name}: the same by its drivers", "memory * 8 / parameters",
             f"{reported / GB:.1f} GB * 8 / {_billions(each.params)}",
             f"{bits_left(reported, each.params):.1f}"),
        *(step(f"{name}: most in {precision}", "memory * share * 8 / bits",
               f"{sold / GB:g} GB * {it.share:g} * 8 / {BITS[precision]}",
               refusal(row, precision, "bf16") or _billions(_largest(it, each, precision)))
          for precision in it.precisions),
        *(_model(it, each, model) for model in it.models),
    )  # fmt: skip


def _model(it: Sizes, each: Sold, model: str) -> Formula:
    """Say in which widest precision a known model fits with one call, or what is missing."""
    shape = find(model)
    hardware = Hardware(accelerator=each.accelerator, per_machine=each.instance.count)
    wish = Wish(context=it.context, calls=1)
    able = [weigh(shape, hardware, precision, wish) for precision in it.precisions]
    able = [found for found in able if found.is_possible]
    fits = next((found for found in able if found.fit.fits), None)
    return step(
        f"{each.instance.name}: {shape.name.rpartition('/')[2]}, {it.context:,} tokens",
        "weights + activations + reserve + cache <= memory * share",
        "; ".join(f"{found.precision}: {_need(found)} GB each" for found in able),
        f"fits in {fits.precision}" if fits else "does not fit",
    )


def _need(found: Weighed) -> str:
    room = found.fit
    need = room.weights_bytes + room.activations_bytes + room.reserve_bytes + room.kv_bytes
    return f"{need / GB:.1f} of {room.usable_bytes / GB:.1f}"


def _billions(params: float) -> str:
    return f"{params / 1e12:g}T" if params >= 1e12 else f"{params / 1e9:.0f}B"
