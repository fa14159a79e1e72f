"""A plan, from a request: what to run, where, and what it costs.

1. `places`: where could the model run, and at which price an hour?
2. `units`: how could it be put there, and about how much load does it take?
3. `choosing`: the cheapest units, with calls followed one by one (`following`).
4. `sizing`: how many does the load need, and what do they cost? `offers` adds APIs.
5. `mixture`: which of them together?
6. `comparing`: how does that change with load and prices?

The same request on the same day gives the same plan. Nothing is fetched; files are read first.

Not here: what is said beside the figures (`remarks`), showing it (`report`), asking (`cli`).
"""

from collections.abc import Callable
from datetime import date
from itertools import chain

from baseload.config.mistakes import nearest
from baseload.errors import BaseloadError
from baseload.plan.catalog.reading import Catalogue, load, own_file
from baseload.plan.catalog.rows import Instance, Serverless
from baseload.plan.choosing import Paid, cheapest
from baseload.plan.comparing import (
    HALF,
    compared,
    cost_curve,
    cost_curves,
    latency_curves,
    levers_of,
)
from baseload.plan.following import Follower
from baseload.plan.mixture import mixed, options_of
from baseload.plan.models.known import find
from baseload.plan.models.shape import Shape
from baseload.plan.offers import API_NOTE, api_ways, need_of, serverless_places
from baseload.plan.places import places
from baseload.plan.remarks import gathered, late, remarks
from baseload.plan.request import WAYS, Request
from baseload.plan.result import Mix, Plan, Refused, Tenure, Way
from baseload.plan.settings import require_known
from baseload.plan.sizing import Sized, sized, usd_month_of
from baseload.plan.units import Sizer

STEPS = 6
OWNED: tuple[Tenure, ...] = ("owned",)
Step = Callable[[str, int, int], None]


def make(request: Request, on_step: Step = lambda _what, _done, _total: None) -> Plan:
    """Make a plan; raises BaseloadError for what a request has wrong."""
    try:
        return _made(request, on_step)
    except ValueError as error:  # An input that means nothing: costs say which one.
        raise BaseloadError(f"--set: {error}" if request.settings else str(error)) from error


def _made(request: Request, on_step: Step) -> Plan:
    on_step("reading the catalogue", 0, STEPS)
    require_known(request.settings)
    today = date.fromisoformat(request.today)
    catalogue = load(request.catalogue or own_file(), today=today)
    shape = find(request.model)
    _require(request, shape, catalogue)
    on_step("trying machines", 1, STEPS)
    units, refused = _units(shape, request, catalogue)
    on_step("following calls", 2, STEPS)
    follower = Follower(request.load, request.objectives)
    found, failed = _ways(units, shape, request, catalogue, follower)
    apis = api_ways(shape, request, catalogue)
    on_step("mixing", 4, STEPS)
    mix, notes, failing = mixed(options_of(found, apis, request), found, request)
    on_step("comparing", 5, STEPS)
    ways = _listed(found, mix, request)
    said = (
        *notes,
        *[API_NOTE][: len(apis)],
        *remarks(ways, len(units) > len(found), shape, request, catalogue),
    )
    refused = [*failing, *failed, *refused]
    return _plan(shape, request, (ways, apis), mix, refused, said, follower)


def _require(request: Request, shape: Shape, catalogue: Catalogue) -> None:
    """Raise BaseloadError for names that the catalogue does not have, and calls too long."""
    instances, services = catalogue.instances.values(), catalogue.serverless.values()
    rented: list[Instance | Serverless] = [*instances, *services]
    known = (
        ("--hardware", [each.accelerator for each in request.hardware], catalogue.accelerators),
        ("--cloud", request.clouds, {row.cloud for row in rented}),
        ("--region", [request.region] if request.region else [], {row.region for row in rented}),
    )
    for option, names, those in known:
        for name in names:
            if name not in those:
                raise BaseloadError(
                    f"{option} {name}: not in the catalogue; {nearest(name, those)}"
                )
    if (tokens := request.load.prompt + request.load.answer) > shape.context_max:
        raise BaseloadError(
            f"{shape.name} knows contexts of {shape.context_max:,} tokens, and a call has "
            f"{tokens:,.0f}"
        )


def _units(
    shape: Shape, request: Request, catalogue: Catalogue
) -> tuple[list[Paid], list[Refused]]:
    """Give every unit with each way of paying for it, and places that have none."""
    sizer = Sizer(shape, request.load, request.objectives, request.precision)
    found, refused = places(request, catalogue)
    services, limited = serverless_places(request, catalogue, need_of(shape, request))
    tried = [(place, sizer.tried(place)) for place in chain(found, services)]
    refused += limited + [each.refused for _, each in tried if each.refused]
    units = [
        Paid(unit, tenure)
        for place, each in tried
        for unit in each.units
        for tenure in (place.usd_hour or OWNED)
    ]
    return units, refused


def _ways(
    units: list[Paid], shape: Shape, request: Request, catalogue: Catalogue, follower: Follower
) -> tuple[list[Sized], list[Refused]]:
    """Give the cheapest ways, cheapest first, and why others turned out not to do."""

    def usd_month(paid: Paid) -> float:
        objectives = request.objectives
        every = paid.unit.needed(request.load, objectives) + objectives.survive
        return usd_month_of(paid.unit, paid.tenure, request, every, HALF).usd_month

    found: list[Sized] = []
    refused: list[Refused] = []
    count = max(request.ways_max, WAYS)
    for paid in cheapest(units, usd_month, shape.native, follower, count):
        if (settled := follower.settled(paid.unit)) is None:
            refused.append(late(paid, follower.alone(paid.unit), request.objectives))
            continue
        way = sized(settled[0], paid.tenure, settled[1], request, catalogue)
        if isinstance(way, Refused):
            refused.append(way)
            continue
        found.append(way)
        refused += [way.short] if way.short else []
    if not found and not refused:
        refused = [
            late(paid, follower.alone(paid.unit), request.objectives) for paid in units[:WAYS]
        ]
    return sorted(found, key=lambda each: each.way.usd_month), refused


def _listed(found: list[Sized], mix: Mix | None, request: Request) -> list[Sized]:
    """Give the cheapest ways, the cheapest of each way of paying, and what the mix is made of."""
    whole = [each for each in found if each.short is None]
    mixed_in = {share.way for share in mix.shares} if mix else set()
    first: dict[Tenure, Sized] = {}
    for each in whole:
        first.setdefault(each.way.tenure, each)
    return [
        each
        for place, each in enumerate(whole)
        if place < request.ways_max
        or each.way.name in mixed_in
        or first[each.way.tenure] is each
    ]  # fmt: skip


def _plan(
    shape: Shape, request: Request, found: tuple[list[Sized], list[Way]], mix: Mix | None,
    refused: list[Refused], notes: tuple[str, ...], follower: Follower,
) -> Plan:  # fmt: skip
    """Put it all together."""
    ways, apis = found
    pairs: list[tuple[Way, Sized | None]] = [(each.way, each) for each in ways]
    pairs += [(way, None) for way in apis]
    pairs.sort(key=lambda each: each[0].usd_month)
    curves = [cost_curve(way, of, request) for way, of in compared(pairs)]
    lines, crossings = cost_curves(curves, request)
    ttft, tpot = latency_curves(ways, follower.at)
    return Plan(
        model=shape.name, load=request.load, objectives=request.objectives,
        months=request.months, today=request.today, ways=tuple(way for way, _ in pairs), mix=mix,
        refused=gathered(refused), cost_curves=lines, crossings=crossings,
        ttft_curves=ttft, tpot_curves=tpot, levers=levers_of(_main(ways, mix), request),
        notes=notes,
    )  # fmt: skip


def _main(ways: list[Sized], mix: Mix | None) -> Sized | None:
    """Give the mix's largest part that is run by oneself, or else the cheapest way."""
    named = {each.way.name: each for each in ways}
    shares = sorted(mix.shares, key=lambda each: -each.share) if mix else []
    order = [named[share.way] for share in shares if share.way in named]
    return next((each for each in (*order, *ways) if each.way.tenure != "serverless"), None)
