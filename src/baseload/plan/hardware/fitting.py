"""What does a model fit on, in which precision, and how much room is left for calls?

Each hardware is weighed in each precision, split over all its accelerators: heads as far as they go
inside a machine, then layers; for latent attention with experts (DeepSeek) also a copy of attention
on each accelerator of one machine, with experts spread, which keeps each call's cache only once. Of
these the one with room for most calls is given; where none fits, the one that misses least.

Not here: the bytes (`memory`), which machines there are (`machines`), whether it is fast enough
(`units`), showing it (`cli`).
"""

from collections.abc import Iterable

import msgspec

from baseload.plan.hardware.capability import refusal
from baseload.plan.hardware.machines import Hardware, size_of
from baseload.plan.hardware.memory import Fit, even_layout, fit, misfit
from baseload.plan.models.shape import Shape
from baseload.plan.speed.layout import Layout

NARROWER = ("bf16", "fp8", "int4")
"""Precisions that are tried beside the model's own."""
FITTING_MAX = 5
"""Of each precision, how many that fit are shown: the smallest."""
MISSING_MAX = 3
"""Of each precision, how many that do not fit are shown: the nearest."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What has to fit."""

    context: int
    """Tokens of one call, prompt and answer together."""
    calls: int
    """At once, each of so many tokens."""
    kv_precision: str = "bf16"


class Weighed(msgspec.Struct, frozen=True, kw_only=True):
    """One hardware in one precision."""

    hardware: str
    accelerator: str
    per_machine: int
    machines: int
    memory_bytes: int
    """Of all accelerators, as drivers report it."""
    is_verified: bool
    """Whether a first-hand source was read for the accelerator."""
    instances: tuple[str, ...]
    """What clouds call one such machine."""
    precision: str
    is_possible: bool
    """Whether it could be, whatever its bytes: in this precision on it, split so."""
    layout: Layout
    fit: Fit


class Fitting(msgspec.Struct, frozen=True, kw_only=True):
    """The answer."""

    model: str
    params: int
    context: int
    calls: int
    kv_precision: str
    smallest: tuple[Weighed, ...]
    """In each precision that fits anywhere, the least memory that does."""
    rented: tuple[Weighed, ...]
    """The same among what clouds rent."""
    ways: tuple[Weighed, ...]
    """By precision: what fits, smallest first, then what does not, nearest first."""
    left_out: int
    """Further ones that were weighed and are not among `ways`."""
    impossible: dict[str, tuple[str, ...]]
    """By precision: accelerators that were tried and have no arithmetic or cache for it."""


def precisions_of(shape: Shape) -> tuple[str, ...]:
    """Give the precisions worth trying, the model's own first."""
    return tuple(dict.fromkeys((shape.native, *NARROWER)))


def fitting(
    shape: Shape,
    hardware: Iterable[Hardware],
    precisions: Iterable[str],
    wish: Wish,
    *,
    has_all: bool = False,
) -> Fitting:
    """Weigh all hardware in all precisions, and select; with `has_all`, leave nothing out."""
    tried = sorted(hardware, key=size_of)
    smallest: list[Weighed] = []
    rented: list[Weighed] = []
    ways: list[Weighed] = []
    impossible: dict[str, tuple[str, ...]] = {}
    left_out = 0
    for precision in precisions:
        found = [weigh(shape, each, precision, wish) for each in tried]
        does = [each for each in found if each.fit.fits]
        misses = sorted(
            (each for each in found if each.is_possible and not each.fit.fits), key=_distance
        )
        cannot = [each for each in found if not each.is_possible]
        smallest += does[:1]
        rented += [each for each in does if each.instances][:1]
        chosen = [*does[:FITTING_MAX], *misses[:MISSING_MAX]]
        ways += [*does, *misses, *cannot] if has_all else chosen
        left_out += 0 if has_all else len(found) - len(chosen)
        lacking = [each.accelerator for each in cannot if not misfit(shape, each.layout)]
        if lacking:
            impossible[precision] = tuple(dict.fromkeys(lacking))
    return Fitting(
        model=shape.name, params=shape.params, context=wish.context, calls=wish.calls,
        kv_precision=wish.kv_precision, smallest=tuple(smallest), rented=tuple(rented),
        ways=tuple(ways), left_out=left_out, impossible=impossible,
    )  # fmt: skip


def weigh(shape: Shape, hardware: Hardware, precision: str, wish: Wish) -> Weighed:
    """Give how a model fits on one hardware in the split that suits it best."""
    found = [
        (layout, fit(
            shape, hardware.accelerator, layout, precision, wish.kv_precision,
            context=wish.context, sequences=wish.calls,
        ))
        for layout in layouts(shape, hardware)
    ]  # fmt: skip
    layout, best = max(found, key=lambda each: _worth(each[1]))
    row = hardware.accelerator
    return Weighed(
        hardware=hardware.name, accelerator=row.name, per_machine=hardware.per_machine,
        machines=hardware.machines, memory_bytes=hardware.memory_bytes,
        is_verified=row.verified, instances=tuple(each.name for each in hardware.instances),
        precision=precision, layout=layout, fit=best,
        is_possible=not (refusal(row, precision, wish.kv_precision) or misfit(shape, layout)),
    )  # fmt: skip


def layouts(shape: Shape, hardware: Hardware) -> tuple[Layout, ...]:
    """Give the splits over all of some hardware, the usual one first."""
    each = hardware.per_machine
    even = even_layout(shape, each, hardware.machines)
    if shape.mla is None or shape.moe is None or hardware.machines > 1 or each == 1:
        return (even,)
    return even, Layout(dp=each, ep=each, per_machine=each)


def _worth(room: Fit) -> tuple[bool, int, float]:
    return room.fits, room.sequences_max, -room.missing_bytes


def _distance(each: Weighed) -> tuple[float, int]:
    """Give how far something is from fitting: the part of its memory that is missing."""
    return each.fit.missing_bytes / each.fit.usable_bytes, each.memory_bytes
