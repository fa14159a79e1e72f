"""What should a reader of a plan know beside its figures? Notes, and why others are no ways.

Not here: what fails (`units`, `sizing`, `offers` say so), how it is shown (`report`).
"""

from math import inf

from baseload.plan.catalog.reading import Catalogue
from baseload.plan.choosing import Paid
from baseload.plan.load import Load, Objectives
from baseload.plan.models.shape import Shape
from baseload.plan.offers import other_models
from baseload.plan.queueing.latency import Latency
from baseload.plan.request import Request
from baseload.plan.result import Refused
from baseload.plan.sizing import Sized, name_of
from baseload.plan.units import ROOM

MEASURED = {"h100", "h200", "b200", "b300", "gb200", "gb300"}
"""Accelerators whose speed constants were fitted; others are reckoned with theirs."""
SLOW = (3, 4)
"""Places of what is too slow among the next: one is as near as the other."""
NEAREST = (
    "mix",
    "survive",
    "machines",
    "ttft_p95_s",
    "tpot_p95_s",
    "memory",
    "capability",
    "price",
)


def late(paid: Paid, alone: Latency, wanted: Objectives) -> Refused:
    """Say which objective not even one call alone keeps."""
    name = "ttft_p95_s" if alone.ttft_p95_s > wanted.ttft_p95_s else "tpot_p95_s"
    value, limit = getattr(alone, name), getattr(wanted, name)
    return Refused(
        name=name_of(paid.unit, paid.tenure), objective=name, wanted=f"{limit:.3g} s",
        found=f"{value:.3g} s", nearest=f"--{name[:4]}-p95 {value * ROOM:.2g}",
        over=max(0.0, value / limit - 1),
    )  # fmt: skip


def gathered(refused: list[Refused]) -> tuple[Refused, ...]:
    """Tell what came nearest first, and once what is the same for several names."""
    names: dict[tuple[str, str, str, str, float | None], list[str]] = {}
    for each in sorted(refused, key=_distance):
        same = (each.objective, each.wanted, each.found, each.nearest, each.over)
        names.setdefault(same, []).append(each.name)
    return tuple(
        Refused(
            name=", ".join(dict.fromkeys(those)), objective=what, wanted=wanted, found=found,
            nearest=near, over=over,
        )
        for (what, wanted, found, near, over), those in names.items()
    )  # fmt: skip


def _distance(refused: Refused) -> tuple[int, float]:
    kind = NEAREST.index(refused.objective) if refused.objective in NEAREST else 0
    return (SLOW[0] if kind in SLOW else kind), inf if refused.over is None else refused.over


# -- notes --------------------------------------------------------------------------------------


def remarks(
    ways: list[Sized], has_more: bool, shape: Shape, request: Request, catalogue: Catalogue
) -> list[str]:
    """Give what is worth knowing of the ways and of what they rest on."""
    notes = [*request.notes, *_of_speed(ways), *_of_length(shape, request.load)]
    if ways:
        notes.append(
            "Availability counts accelerators that stop and spot machines that are taken away, each"
            " by itself; not networks, bad releases, or a market or site that fails as a whole."
        )
    narrow = any(each.unit.build.precision == "fp8" for each in ways)
    if narrow and shape.native == "bf16":
        notes.append(
            "FP8 weights of a BF16 model: close to lossless where it was measured"
            " (aclanthology.org 2025.acl-long.1304), but evaluate yours; --precision bf16."
        )
    if has_more and len(ways) >= request.ways_max:
        notes.append("Dearer ways and other splits are left out; --ways lists more.")
    if request.clouds or request.region:
        notes.append(
            "With --cloud or --region, APIs are left out, and own machines but those of --hardware."
        )
    if not request.any_model:
        notes += [
            f"DeepSeek's own API ({way.hardware.rpartition('/')[2]}: other weights) would cost"
            f" ${way.usd_month:,.0f} a month; --any-model lets it in."
            for way in other_models(request, catalogue)
        ]
    return notes


def _of_speed(ways: list[Sized]) -> list[str]:
    notes = []
    if guessed := sorted({each.unit.build.accelerator.name for each in ways} - MEASURED):
        notes.append(
            f"No measurement of {', '.join(guessed)} was fitted: speeds there are reckoned with"
            " what engines reach on H100 and H200."
        )
    return notes


def _of_length(shape: Shape, load: Load) -> list[str]:
    over = sum(
        prompt + answer > shape.context_max
        for prompt, answer in zip(load.prompts, load.answers, strict=False)
    )
    if not over:
        return []
    part = over / len(load.prompts)
    most = f"the {shape.context_max:,} tokens that {shape.name} knows"
    return [f"{part:.1%} of the trace's calls are longer than {most}, and would be refused."]
