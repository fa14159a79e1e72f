"""A plan, from a request: what to run, where, and what it costs.

1. `places`: where could the model run, and at which price an hour?
2. `units`: how is it put there, and about how much load does it take?
3. `sizing`: the cheapest are followed call by call, sized, and become ways; `offers` adds APIs.
4. `mixture`: which of them together?
5. `comparing`: how does that change with load and prices?

The same request on the same day gives the same plan. Nothing is fetched; files are read first.

Not here: showing it (`report`), asking for it (`cli`).
"""

from collections.abc import Callable
from datetime import date
from itertools import chain
from math import inf
from random import Random

import msgspec

from baseload.config.mistakes import nearest
from baseload.errors import BaseloadError
from baseload.plan.catalog.reading import Catalogue, load, own_file
from baseload.plan.catalog.rows import ApiPrice
from baseload.plan.comparing import cost_curve, cost_curves, latency_curves, levers_of
from baseload.plan.cost.power import load_of
from baseload.plan.cost.serverless import Need
from baseload.plan.mixture import mixed, options_of
from baseload.plan.models.known import find
from baseload.plan.models.shape import Shape
from baseload.plan.offers import api_ways, other_models, serverless_places
from baseload.plan.places import places
from baseload.plan.queueing.arrivals import Draw, draw, split
from baseload.plan.queueing.knee import follow, knee
from baseload.plan.queueing.latency import Latency
from baseload.plan.request import Request
from baseload.plan.result import Lever, Mix, Plan, Refused, Tenure, Way
from baseload.plan.settings import require_known
from baseload.plan.sizing import Sized, name_of, sized, usd_month_of
from baseload.plan.speed.layout import Layout
from baseload.plan.units import Sizer, Unit

SEED = 20250925
CALLS = 500
"""Calls that are followed at the planned load."""
FOLLOWED_MAX = 6
"""Units whose knee is found by following calls; the rest is estimated, and says so."""
MEASURED = {"h100", "h200", "b200", "b300", "gb200", "gb300"}
"""Accelerators whose speed constants were fitted; others are reckoned with theirs."""
OWNED: tuple[Tenure, ...] = ("owned",)
HALF = 0.5
"""The load at which owned machines are reckoned before theirs is known."""
IDLE_RPS = 1e-3
SPLIT_MAX = 64
"""Replicas among which a trace is divided at most; more are like these."""
Paid = tuple[Unit, Tenure]
"""A unit, and a way of paying for it."""
Step = Callable[[str, int, int], None]
STEPS = 6


def make(request: Request, on_step: Step = lambda _what, _done, _total: None) -> Plan:
    """Make a plan; raises BaseloadError for what a request has wrong."""
    require_known(request.settings)
    today = date.fromisoformat(request.today)
    on_step("reading the catalogue", 0, STEPS)
    catalogue = load(request.catalogue or own_file(), today=today)
    shape = find(request.model)
    _require_hardware(request, catalogue)
    planner = _Planner(shape, request, catalogue)
    on_step("trying machines", 1, STEPS)
    units, refused = planner.units()
    on_step("following calls", 2, STEPS)
    ways, late = planner.ways(planner.refined(units))
    apis = api_ways(shape, request, catalogue)
    on_step("mixing", 4, STEPS)
    mix, notes, failing = mixed(options_of(ways[: request.ways_max], apis, request), request)
    on_step("comparing", 5, STEPS)
    return planner.plan(ways, apis, mix, [*failing, *late, *refused], notes)


def _require_hardware(request: Request, catalogue: Catalogue) -> None:
    for machine in request.hardware:
        if machine.accelerator not in catalogue.accelerators:
            hint = nearest(machine.accelerator, catalogue.accelerators)
            raise BaseloadError(f"--hardware {machine.accelerator}: no such accelerator; {hint}")


class _Planner:
    """One model, one request; what was followed once is kept."""

    def __init__(self, shape: Shape, request: Request, catalogue: Catalogue) -> None:
        self._shape, self._request, self._catalogue = shape, request, catalogue
        self._sizer = Sizer(shape, request.load, request.objectives, request.precision)
        self._draws: dict[int, Draw] = {}
        self._followed: dict[tuple[str, Layout, str, float], Latency] = {}

    def units(self) -> tuple[list[Paid], list[Refused]]:
        """Give every unit with each way of paying for it, and what does not do."""
        request = self._request
        found, refused = places(request, self._catalogue)
        need = Need(run_max_s=0.0, memory_bytes=self._shape.weight_bytes(self._shape.native))
        services, limited = serverless_places(request, self._catalogue, need)
        tried = [(place, self._sizer.best(place)) for place in chain(found, services)]
        refused += limited + [each.refused for _, each in tried if each.refused]
        units = [
            (each.unit, tenure)
            for place, each in tried
            if each.unit
            for tenure in (place.usd_hour or dict.fromkeys(OWNED))
        ]
        return sorted(units, key=self._rough_usd), refused

    def _rough_usd(self, paid: Paid) -> float:
        unit, tenure = paid
        objectives = self._request.objectives
        every = unit.needed(self._request.load, objectives) + objectives.survive
        return usd_month_of(unit, tenure, self._request, every, HALF).usd_month

    def refined(self, units: list[Paid]) -> list[Paid]:
        """Give the ways to list, with knees found by following calls for as many as there may be.

        The cheapest of each way of paying is among them.
        """
        chosen = units[: self._request.ways_max]
        tenures = {tenure for _, tenure in chosen}
        for unit, tenure in units:
            if tenure not in tenures:
                chosen.append((unit, tenure))
                tenures.add(tenure)
        knees: dict[tuple[str, Layout, str], float] = {}
        for unit, _ in chosen:
            if len(knees) < FOLLOWED_MAX and (key := _key(unit)) not in knees:
                knees[key] = self._knee(unit)
        return [
            (
                msgspec.structs.replace(unit, knee_rps=knees[key], is_followed=True)
                if (key := _key(unit)) in knees else unit,
                tenure,
            )
            for unit, tenure in chosen
        ]  # fmt: skip

    def _knee(self, unit: Unit) -> float:
        return knee(unit.engine, self._request.load, self._request.objectives, dice())

    def ways(self, units: list[Paid]) -> tuple[list[Sized], list[Refused]]:
        """Give ways, cheapest first, and what turned out not to do."""
        found: list[Sized] = []
        refused: list[Refused] = []
        for unit, tenure in units:
            if unit.knee_rps <= 0:
                refused.append(self._no_knee(unit, tenure))
                continue
            way = sized(unit, tenure, self._latency(unit), self._request, self._catalogue)
            (found if isinstance(way, Sized) else refused).append(way)  # type: ignore[arg-type]
        return sorted(found, key=lambda each: each.way.usd_month), refused

    def _no_knee(self, unit: Unit, tenure: Tenure) -> Refused:
        alone = self.follow(unit, IDLE_RPS)
        wanted = self._request.objectives
        is_late = alone.ttft_p95_s > wanted.ttft_p95_s
        name = "ttft_p95_s" if is_late else "tpot_p95_s"
        value = getattr(alone, name)
        return Refused(
            name=name_of(unit, tenure), objective=name, wanted=f"{getattr(wanted, name):g} s",
            found=f"{value:.3g} s", nearest=f"--{name[:4]}-p95 {value * 1.05:.2g}",
            over=value / getattr(wanted, name) - 1,
        )  # fmt: skip

    def _latency(self, unit: Unit) -> Latency:
        """Give what callers get while the units that the load needs share it."""
        replicas = unit.needed(self._request.load, self._request.objectives) * unit.replicas
        return self.follow(unit, self._request.load.rps / replicas)

    def follow(self, unit: Unit, rps: float) -> Latency:
        """Give what callers of one replica get at a rate."""
        key = (*_key(unit), rps)
        if key not in self._followed:
            replicas = max(1, round(self._request.load.rps / rps))
            if replicas not in self._draws:
                part = split(self._request.load, min(replicas, SPLIT_MAX))
                self._draws[replicas] = draw(part, CALLS, dice())
            self._followed[key] = follow(unit.engine, self._draws[replicas], rps)
        return self._followed[key]

    def plan(
        self, ways: list[Sized], apis: list[tuple[Way, ApiPrice]], mix: Mix | None,
        refused: list[Refused], notes: list[str],
    ) -> Plan:  # fmt: skip
        """Put it all together."""
        request = self._request
        pairs: list[tuple[Way, Sized | None]] = [(each.way, each) for each in ways]
        pairs += [(way, None) for way, _ in apis]
        pairs.sort(key=lambda each: each[0].usd_month)
        curves = [cost_curve(way, of, request) for way, of in pairs]
        lines, crossings = cost_curves(curves, request) if curves else ((), ())
        ttft, tpot = latency_curves(ways, self.follow)
        return Plan(
            model=self._shape.name, load=request.load, objectives=request.objectives,
            months=request.months, today=request.today,
            ways=tuple(way for way, _ in pairs), mix=mix,
            refused=gathered(sorted(refused, key=_distance)),
            cost_curves=lines, crossings=crossings, ttft_curves=ttft, tpot_curves=tpot,
            levers=self._levers(ways, mix), notes=(*notes, *self._notes(ways)),
        )  # fmt: skip

    def _levers(self, ways: list[Sized], mix: Mix | None) -> tuple[Lever, ...]:
        """Move the inputs of the mix's largest part that is run by oneself."""
        order = (
            [part.way for part in sorted(mix.shares, key=lambda each: -each.share)] if mix else []
        )
        named = {each.way.name: each for each in ways}
        main = next((named[name] for name in order if name in named), None)
        main = main or next(iter(ways), None)
        if main is None or main.way.tenure == "serverless":
            return ()
        speed = main.way.speed
        busy = load_of(speed.batch * main.unit.replicas / main.unit.accelerators) if speed else HALF
        return levers_of(main, self._request, busy)

    def _notes(self, ways: list[Sized]) -> list[str]:
        notes = []
        guessed = sorted({each.unit.build.accelerator.name for each in ways} - MEASURED)
        if guessed:
            notes.append(
                f"No measurement of {', '.join(guessed)} was fitted: speeds there are reckoned with"
                " what engines reach on H100 and H200."
            )
        if not all(each.unit.is_followed for each in ways):
            notes.append("Knees of the dearer ways are estimated, not followed call by call.")
        narrow = any(each.unit.build.precision == "fp8" for each in ways)
        if narrow and self._shape.native == "bf16":
            notes.append(
                "FP8 weights of a BF16 model: close to lossless where it was measured"
                " (aclanthology.org 2025.acl-long.1304), but evaluate yours; --precision bf16."
            )
        notes += [
            f"DeepSeek's own API ({way.hardware.rpartition('/')[2]}: other weights) would cost"
            f" ${way.usd_month:,.0f} a month; --any-model lets it in."
            for way in other_models(self._request, self._catalogue)
            if not self._request.any_model
        ]
        return notes


def dice() -> Random:
    """Give the same chances each time: ways are compared with the very same calls."""
    return Random(SEED)  # noqa: S311 - no secret hangs on it


def _key(unit: Unit) -> tuple[str, Layout, str]:
    return unit.build.accelerator.name, unit.build.layout, unit.build.precision


SLOW = (2, 3)
"""Places of what is too slow among the next: one is as near as the other."""
NEAREST = ("mix", "machines", "ttft_p95_s", "tpot_p95_s", "memory", "capability", "price")


def _distance(refused: Refused) -> tuple[int, float]:
    """Tell first of what came nearest."""
    kind = NEAREST.index(refused.objective) if refused.objective in NEAREST else 0
    return (1 if kind in SLOW else kind), inf if refused.over is None else refused.over


def gathered(refused: list[Refused]) -> tuple[Refused, ...]:
    """Tell once what is the same for several names."""
    names: dict[tuple[str, str, str, str, float | None], list[str]] = {}
    for each in refused:
        same = (each.objective, each.wanted, each.found, each.nearest, each.over)
        names.setdefault(same, []).append(each.name)
    return tuple(
        Refused(
            name=", ".join(those),
            objective=what,
            wanted=wanted,
            found=found,
            nearest=near,
            over=over,
        )
        for (what, wanted, found, near, over), those in names.items()
    )
