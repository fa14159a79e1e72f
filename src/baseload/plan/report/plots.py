"""Which lines, flags and limits do a plan's plots have?

A way has one number, its rank by cost, and one colour, wherever it is shown. A handful of ways is
drawn in colour and named: those of the mix, those that are the cheapest of all on a side of a
break-even, then the cheapest of each kind. The others are faint. Ways with the very same curve
share one line.

Not here: drawing (`draw`, `bars`), tables and text (`page`).
"""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from math import isfinite, isnan
from typing import NamedTuple

from baseload.plan.report import words
from baseload.plan.report.draw import Flag, Line, Plot
from baseload.plan.report.scale import Scale, fitted
from baseload.plan.result import Crossing, Curve, Plan, Way

TONES = ("c1", "c2", "c3", "c4", "c5", "c6")
"""As many ways as there are colours that can be told from each other."""
CROSSINGS_MAX = 6
OVER_LIMIT = 2.5
"""A latency's axis ends where it is so many times as much as is allowed."""
ENDS_APART = 8.0
"""Replicas whose highest loads are so many times apart need a logarithmic axis to be seen."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Shown(NamedTuple):
    """A way with what it is known by on the page."""

    rank: int
    way: Way
    tone: str
    """Its colour, or `faint`."""
    name: str
    """A few words that no other way of the plan has, as far as words can do."""

    @property
    def label(self) -> str:
        """Give its number and a few words."""
        return f"{self.rank} {self.name}"

    @property
    def title(self) -> str:
        """Give its number and its whole name."""
        return f"{self.rank}. {words.plain(self.way.name)}"


def shown(plan: Plan) -> dict[str, Shown]:
    """Give all ways by name, with ranks and colours; none of those named shares its colour."""
    mixed = [share.way for share in plan.mix.shares] if plan.mix else []
    first = [one for one in plan.crossings if _is_cheapest(plan, one)]
    crossed = [name for one in first for name in (one.cheaper_below, one.cheaper_above)]
    known = {way.name for way in plan.ways}
    labels = Counter(words.label(way) for way in plan.ways)
    cheapest = {words.label(way): way.name for way in reversed(plan.ways)}
    order = [*mixed, *crossed, *reversed(cheapest.values()), *(way.name for way in plan.ways)]
    wanted = list(dict.fromkeys(name for name in order if name in known))[: len(TONES)]
    ranks = {way.name: rank for rank, way in enumerate(plan.ways, 1)}
    chosen = sorted(wanted, key=ranks.__getitem__)
    tones = dict(zip(chosen, TONES, strict=False))
    return {
        way.name: Shown(ranks[way.name], way, tones.get(way.name, "faint"), _name(way, labels))
        for way in plan.ways
    }


def _name(way: Way, labels: Counter[str]) -> str:
    label = words.label(way)
    if labels[label] < 2 or way.layout is None:
        return label
    return f"{label}, {words.replica(way)}"


def crossings(plan: Plan, names: dict[str, Shown]) -> tuple[Crossing, ...]:
    """Give break-evens between ways that are named, at most so many, by their load.

    Those where the cheapest way of all changes come first: they are where one would change.
    """
    found = [
        one
        for one in plan.crossings
        if all(_is_named(names, name) for name in (one.cheaper_below, one.cheaper_above))
    ]
    found.sort(key=lambda one: (not _is_cheapest(plan, one), abs(_decades(plan, one))))
    return tuple(sorted(found[:CROSSINGS_MAX], key=lambda one: one.requests_day))


def _is_named(names: dict[str, Shown], name: str) -> bool:
    return name in names and names[name].tone != "faint"


def _decades(plan: Plan, one: Crossing) -> float:
    day = plan.load.requests_day
    return one.requests_day / day if one.requests_day > day else day / max(one.requests_day, 1e-9)


def _is_cheapest(plan: Plan, crossing: Crossing) -> bool:
    """Say whether no curve runs clearly below a crossing."""
    costs = [at(curve, crossing.requests_day) for curve in plan.cost_curves]
    return all(cost is None or cost >= crossing.usd_month * 0.98 for cost in costs)


def at(curve: Curve, x: float) -> float | None:
    """Give a curve's value at x, between its points in proportion; None outside of them."""
    pairs = list(zip(curve.x, curve.y, strict=True))
    if not pairs or not pairs[0][0] <= x <= pairs[-1][0]:
        return None
    for (x1, y1), (x2, y2) in pairwise(pairs):
        if x <= x2:
            return y1 + (y2 - y1) * (x - x1) / (x2 - x1) if x2 > x1 else y2
    return pairs[-1][1]


def cost(plan: Plan) -> Plot:
    """Give US dollars a month over requests a day, with break-evens and the planned load."""
    names = shown(plan)
    day = plan.load.requests_day
    marked = crossings(plan, names)
    xs = [x for curve in plan.cost_curves for x in curve.x]
    ys = [y for curve in plan.cost_curves for y in curve.y]
    planned = f"planned {words.short(day)} a day"
    flags = [
        Flag(
            one.requests_day, one.usd_month, letter, f"{letter} {words.short(one.requests_day)}",
            crossing_words(one, names), "cross",
        )
        for letter, one in zip(LETTERS, marked, strict=False)
    ]  # fmt: skip
    flags.append(Flag(day, None, "planned", planned, f"{words.count(day)} requests a day", "plan"))
    return Plot(
        name="cost",
        title="Cost against load",
        desc="US dollars a month of each way over requests a day. "
        + " ".join(crossing_words(one, names) for one in marked),
        x=fitted(xs, is_log=True) if xs else fitted(()),
        y=fitted(ys),
        x_name="requests a day",
        y_name="US dollars a month",
        x_words=words.short,
        y_words=lambda value: words.short_usd(value).removesuffix(".00"),
        unit="usd",
        lines=_lines(plan.cost_curves, names),
        flags=tuple(flags),
    )


def crossing_words(one: Crossing, names: dict[str, Shown]) -> str:
    """Say which way is cheaper on which side of a break-even."""
    below, above = (
        names[name].label if name in names else words.plain(name)
        for name in (one.cheaper_below, one.cheaper_above)
    )
    return (
        f"Below {words.count(one.requests_day)} requests a day {below} is cheaper, above it "
        f"{above}; there both cost {words.usd(one.usd_month)} a month."
    )


def latency(plan: Plan, kind: str) -> Plot:
    """Give TTFT (`ttft`) or TPOT (`tpot`) over one replica's load, with limit and knees."""
    curves = plan.ttft_curves if kind == "ttft" else plan.tpot_curves
    goal = plan.objectives.ttft_p95_s if kind == "ttft" else plan.objectives.tpot_p95_s
    what = "First token" if kind == "ttft" else "Between tokens"
    names = shown(plan)
    top = goal * OVER_LIMIT
    ends = [max(curve.x) for curve in curves if curve.x and max(curve.x) > 0]
    is_log = bool(ends) and max(ends) > ENDS_APART * min(ends)
    xs = [x for curve in curves for x in curve.x if not is_log or x > min(ends) / ENDS_APART]
    ys = [y for curve in curves for y in curve.y]
    return Plot(
        name=kind,
        title=f"{what} against load",
        desc=f"{what}, 95th percentile, over requests a second of one replica; dashed past its "
        f"knee. The objective is {words.seconds(goal)}.",
        x=fitted(xs, is_log=is_log),
        y=fitted([*(y for y in ys if y <= top), *([goal * 1.25] if ys else [])]),
        x_name="requests a second of one replica",
        y_name=f"{what.lower()}, seconds for 95 of 100 calls",
        x_words=words.three,
        y_words=words.seconds,
        unit="s",
        lines=_lines(curves, names, has_knee=True),
        flags=_knees(curves, names),
        limit=(goal, f"objective {words.seconds(goal)}"),
    )


def _groups(curves: Iterable[Curve], names: dict[str, Shown]) -> list[tuple[Curve, list[Shown]]]:
    """Give each curve with all ways that have it, in order of ranks."""
    found: dict[tuple[tuple[float, ...], tuple[float, ...], float | None], list[Shown]] = {}
    first: dict[tuple[tuple[float, ...], tuple[float, ...], float | None], Curve] = {}
    for curve in curves:
        if curve.way in names:
            one = names[curve.way]
            key = (curve.x, curve.y, one.way.speed.knee_rps if one.way.speed else None)
            first.setdefault(key, curve)
            found.setdefault(key, []).append(one)
    groups = [(first[key], sorted(ways, key=lambda one: one.rank)) for key, ways in found.items()]
    return sorted(groups, key=lambda group: group[1][0].rank)


def _lead(ways: list[Shown]) -> Shown:
    return next((one for one in ways if one.tone != "faint"), ways[0])


def _lines(
    curves: Iterable[Curve], names: dict[str, Shown], *, has_knee: bool = False
) -> tuple[Line, ...]:
    """Give lines, the faint ones first so that none lies over a named one."""
    made = []
    for curve, ways in _groups(curves, names):
        lead = _lead(ways)
        named = [one for one in ways if one.tone != "faint"]
        ranks = ",".join(str(one.rank) for one in named)
        hardware = ", ".join(dict.fromkeys(words.plain(one.way.hardware) for one in named))
        label = lead.label if len(named) == 1 else f"{ranks} {hardware}"
        speed = lead.way.speed
        line = Line(
            tone=lead.tone,
            short=ranks,
            label=label if named else "",
            title="; ".join(one.title for one in ways),
            points=_points(curve),
            solid_to=speed.knee_rps if has_knee and speed else None,
        )
        made.append(line)
    return tuple(sorted(made, key=lambda line: line.tone != "faint"))


def _points(curve: Curve) -> tuple[tuple[float, float], ...]:
    """Give a curve's points; what is endless goes off the top, what is no number is left out."""
    pairs = zip(curve.x, curve.y, strict=True)
    return tuple((x, y) for x, y in pairs if isfinite(x) and not isnan(y))


def _knees(curves: Iterable[Curve], names: dict[str, Shown]) -> tuple[Flag, ...]:
    flags = []
    for curve, ways in _groups(curves, names):
        lead = _lead(ways)
        if lead.tone == "faint" or lead.way.speed is None:
            continue
        ranks = ",".join(str(one.rank) for one in ways if one.tone != "faint")
        knee, speed = lead.way.speed.knee_rps, lead.way.speed
        planned = words.three(knee * speed.utilisation)
        title = f"{lead.title}: knee at {words.three(knee)}/s, planned {planned}/s a replica"
        label = f"knee of {ranks}: {words.three(knee)}/s"
        flags.append(Flag(knee, at(curve, knee), ranks, label, title, lead.tone))
    return tuple(flags)


def money_scale(values: Iterable[float]) -> Scale:
    """Give a linear axis for amounts."""
    return fitted(values, is_log=False)
