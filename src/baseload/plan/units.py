"""How would a model be put on a kind of machine, and how much load does it take there?

A unit is what is bought or rented at once: one machine with as many replicas as it holds, or as
many machines as one replica spans. For each place all sensible splits are tried; those that keep
the objectives when a call is alone are given, and if there are none, what fails first is said.

Splits: tensor parallelism over 1, 2, 4, ... accelerators of a machine as far as heads divide; for
latent attention (MLA) also a copy of attention on each, with experts spread. Where none of these
fits, a pipeline over several whole machines. Precision: the model's own, and FP8 beside BF16 where
hardware has it.

Not here: which split is the best (`choosing`), what a unit costs and how many it takes (`sizing`).
"""

from collections.abc import Callable, Iterator
from math import ceil, inf

import msgspec

from baseload.plan.catalog.rows import BITS, Accelerator
from baseload.plan.hardware.capability import arithmetic, refusal
from baseload.plan.hardware.machines import JOINED_BYTES_S, MACHINES_MAX
from baseload.plan.hardware.memory import Fit, fit
from baseload.plan.load import Load, Objectives
from baseload.plan.models.shape import Shape
from baseload.plan.places import Place
from baseload.plan.queueing.estimate import (
    KNEE_HALVINGS,
    Estimate,
    estimate,
    knee_estimate,
    limit_rps,
)
from baseload.plan.result import Refused
from baseload.plan.speed.engine import Engine, engine_of
from baseload.plan.speed.layout import Build, Layout

Spread = Callable[[Shape, Place], Iterator[Layout]]
ROUNDING = 1e-9
NARROW = ("int8", "int4", "fp4")
"""Precisions that nobody asked for, and that may do where others do not fit."""
ROOM = 1.1
"""What would do where even one call alone is too slow, over what that call gets."""
WIDE = 2.0
"""Standard deviations above the mean up to which a call must fit."""


Key = tuple[str, str, Layout, float]


def key_of(build: Build) -> Key:
    """Give what a replica's speed hangs on.

    How many others share its machine is no part of that, nor a network that it does not use.
    """
    layout, network_bytes_s = build.layout, 0.0
    if layout.machines == 1:
        layout = msgspec.structs.replace(layout, per_machine=layout.accelerators)
    elif build.network:
        network_bytes_s = build.network.bytes_s
    return build.accelerator.name, build.precision, layout, network_bytes_s


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """What is bought or rented at once."""

    place: Place
    build: Build
    fit: Fit
    engine: Engine
    machines: int
    replicas: int
    knee_rps: float
    """Of one replica; estimated until it was followed."""
    is_followed: bool = False

    @property
    def accelerators(self) -> int:
        """Accelerators of the unit, used or not."""
        return self.machines * self.place.per_machine

    def rps(self, objectives: Objectives) -> float:
        """Give the load that the unit may be given."""
        return self.replicas * self.knee_rps * objectives.utilisation_max

    def needed(self, load: Load, objectives: Objectives) -> int:
        """Give how many units the load takes, none of them to spare."""
        return max(1, ceil(load.rps / self.rps(objectives) - ROUNDING))


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one place."""

    units: tuple[Unit, ...] = ()
    refused: Refused | None = None
    """Why there is no unit."""


class Sizer:
    """Finds units for one model and load; what two places share is worked out once."""

    def __init__(
        self, shape: Shape, load: Load, objectives: Objectives, precision: str | None
    ) -> None:
        self._shape, self._load, self._objectives = shape, load, objectives
        self._precision = precision
        self._known: dict[Key, tuple[Fit, Engine, float]] = {}
        self.context = _context(load, shape)
        """Tokens of a long call, which every replica must hold."""

    def tried(self, place: Place) -> Tried:
        """Give the units that keep the objectives at some load, or why there is none."""
        for spread in (within, across):
            units = [unit for b in self._builds(place, spread) if (unit := self._unit(place, b))]
            if able := tuple(unit for unit in units if unit.knee_rps > 0):
                return Tried(units=able)
            if units:  # A pipeline over more machines answers no call sooner.
                return Tried(refused=self._too_slow(place, units))
        return Tried(refused=self._too_small(place))

    def _builds(self, place: Place, spread: Spread) -> Iterator[Build]:
        for precision in precisions(self._shape, place.accelerator, self._precision):
            for layout in spread(self._shape, place):
                yield Build(
                    accelerator=place.accelerator, layout=layout, precision=precision,
                    network=place.network if layout.machines > 1 else None,
                )  # fmt: skip

    def _unit(self, place: Place, build: Build) -> Unit | None:
        room, engine, knee_rps = self._weighed(build)
        if not room.fits:
            return None
        layout = build.layout
        return Unit(
            place=place, build=build, fit=room, engine=engine, machines=layout.machines,
            replicas=max(1, place.per_machine // layout.accelerators), knee_rps=knee_rps,
        )  # fmt: skip

    def _weighed(self, build: Build) -> tuple[Fit, Engine, float]:
        if (key := key_of(build)) not in self._known:
            self._known[key] = self._weigh(build)
        return self._known[key]

    def _weigh(self, build: Build) -> tuple[Fit, Engine, float]:
        room = fit(
            self._shape, build.accelerator, build.layout, build.precision, build.kv_precision,
            context=self.context, sequences=build.layout.dp,
        )  # fmt: skip
        engine = engine_of(self._shape, build, room.kv_tokens)
        knee_rps = knee_estimate(engine, self._load, self._objectives) if room.fits else 0.0
        return room, engine, knee_rps

    def _too_small(self, place: Place) -> Refused:
        """Say what is missing in the split that comes nearest."""
        found = list(precisions(self._shape, place.accelerator, self._precision))
        if not found:
            precision = self._precision or self._shape.native
            why = refusal(place.accelerator, precision, "bf16")
            why = why or f"how fast {place.accelerator.name} is in {precision} is not known"
            return Refused(
                name=place.name, objective="capability", wanted=precision, found=why,
                nearest="another --precision",
            )  # fmt: skip
        rooms = [
            (self._weighed(build)[0], build)
            for spread in (within, across)
            for build in self._builds(place, spread)
        ]
        room, build = min(rooms, key=lambda each: (each[0].missing_bytes, each[0].weights_bytes))
        total = room.accelerators * room.usable_bytes
        need = total + room.accelerators * room.missing_bytes
        return Refused(
            name=place.name, objective="memory", wanted=f"{need / 1e9:,.0f} GB",
            found=f"{total / 1e9:,.0f} GB of {room.accelerators} x {place.accelerator.name}"
            f" in {build.precision}" + ("" if room.missing_bytes else f": {room.why}"),
            over=need / total - 1, nearest=self._narrower(place, build.precision),
        )  # fmt: skip

    def _narrower(self, place: Place, precision: str) -> str:
        """Say in which narrower precision the model would fit there."""
        for narrow in NARROW:
            if BITS[narrow] >= BITS[precision] or refusal(place.accelerator, narrow, "bf16"):
                continue
            for layout in within(self._shape, place):
                room = fit(
                    self._shape, place.accelerator, layout, narrow, context=self.context,
                    sequences=layout.dp,
                )  # fmt: skip
                if room.fits:
                    return f"--precision {narrow}, if its answers are good enough"
        return ""

    def _alone(self, unit: Unit) -> Estimate:
        """Give what calls get at the lowest rate at which a knee is looked for."""
        least_rps = limit_rps(unit.engine, self._load) / 2**KNEE_HALVINGS
        return estimate(unit.engine, self._load, least_rps)

    def _too_slow(self, place: Place, units: list[Unit]) -> Refused:
        """Say which objective not even one call alone keeps, in the fastest split."""
        idle = [(self._alone(unit), unit) for unit in units]
        wanted = self._objectives
        if all(each.tpot_p95_s > wanted.tpot_p95_s for each, _ in idle):
            name, limit = "tpot_p95_s", wanted.tpot_p95_s
            value, unit = min((each.tpot_p95_s, n) for n, (each, _) in enumerate(idle))
        else:
            name, limit = "ttft_p95_s", wanted.ttft_p95_s
            value, unit = min((each.ttft_p95_s, n) for n, (each, _) in enumerate(idle))
        split = split_of(units[unit].build.layout)
        nearest = f"--{name[:4]}-p95 {value * ROOM:.2g} (one call alone, {split})"
        return Refused(
            name=place.name, objective=name, wanted=f"{limit:.3g} s",
            found=f"{value:.3g} s" if value < inf else "no end",
            nearest=nearest if value < inf else "",
            over=value / limit - 1 if value < inf else None,
        )  # fmt: skip


def split_of(layout: Layout) -> str:
    """Give a split in words: `tp 2 pp 4`."""
    parts = (("tp", layout.tp), ("pp", layout.pp), ("dp", layout.dp))
    return " ".join(f"{what} {count}" for what, count in parts if count > 1) or "tp 1"


def _context(load: Load, shape: Shape) -> int:
    prompt = max(load.prompts, default=load.prompt * (1 + WIDE * load.prompt_cv))
    answer = max(load.answers, default=load.answer * (1 + WIDE * load.answer_cv))
    return min(int(prompt + answer), shape.context_max)


def precisions(shape: Shape, accelerator: Accelerator, only: str | None) -> list[str]:
    """Give the precisions worth trying on an accelerator, the model's own first."""
    wanted = [only] if only else [shape.native]
    if not only and shape.native == "bf16":
        wanted.append("fp8")
    if not only and shape.native == "fp8":
        wanted.append("bf16")
    able = [each for each in wanted if not refusal(accelerator, each, "bf16")]
    able = [each for each in able if arithmetic(accelerator, each) in accelerator.flops]
    return able[:1] if shape.native == "fp8" else able


def within(shape: Shape, place: Place) -> Iterator[Layout]:
    """Give the splits worth trying inside one machine."""
    size = 1
    while size <= place.per_machine:
        if place.per_machine % size == 0 and shape.heads % size == 0:
            yield Layout(tp=size, per_machine=place.per_machine)
            if size > 1 and shape.mla is not None and shape.moe is not None:
                yield Layout(dp=size, ep=size, per_machine=place.per_machine)
        size *= 2


def across(shape: Shape, place: Place) -> Iterator[Layout]:
    """Give the splits worth trying over several machines, each of them whole."""
    joined = place.network.bytes_s * place.per_machine if place.network else 0.0
    if joined < JOINED_BYTES_S or shape.heads % place.per_machine:
        return
    for machines in range(2, min(MACHINES_MAX, place.machines_max or MACHINES_MAX) + 1):
        yield Layout(tp=place.per_machine, pp=machines, per_machine=place.per_machine)
