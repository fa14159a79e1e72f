"""How are bars drawn as SVG: what the money goes to, and what moves the cost?

Not here: lines (`draw`), which ways are named (`plots`).
"""

from collections.abc import Sequence
from typing import NamedTuple

from baseload.plan.report import words
from baseload.plan.report.answer import main_way
from baseload.plan.report.draw import SIGN_WIDTH, cut, svg, tag, text, title
from baseload.plan.report.plots import Shown, money_scale, shown
from baseload.plan.report.scale import Scale
from baseload.plan.result import Lever, Plan

KINDS_MAX = 7
OTHER = "other"
BARS_MAX = 12
LEVERS_MAX = 14


class Room(NamedTuple):
    """A picture's width in pixels, and the room of labels at the left and numbers at the ends."""

    width: float
    label: float
    ends: float
    is_wide: bool


WIDE = Room(1080, 226, 74, is_wide=True)
NARROW = Room(344, 0, 56, is_wide=False)
SPREAD_WIDE = Room(1080, 226, 156, is_wide=True)
SPREAD_NARROW = Room(344, 0, 58, is_wide=False)


def kinds(plan: Plan) -> tuple[str, ...]:
    """Give kinds of costs, the largest in all first; what has no colour left is `other`."""
    sums: dict[str, float] = {}
    for one in _ways(plan):
        for kind, usd in one.way.costs.items():
            sums[kind] = sums.get(kind, 0.0) + usd
    order = sorted(sums, key=lambda kind: (-sums[kind], kind))
    return tuple(order) if len(order) <= KINDS_MAX else (*order[: KINDS_MAX - 1], OTHER)


def parts(one: Shown, order: Sequence[str]) -> list[tuple[str, float]]:
    """Give a way's costs a month by kind, in that order; what is none is left out."""
    costs = one.way.costs
    known = {kind: costs[kind] for kind in order if kind in costs}
    rest = sum(usd for kind, usd in costs.items() if kind not in order)
    if rest:
        known[OTHER] = known.get(OTHER, 0.0) + rest
    return [(kind, usd) for kind, usd in known.items() if usd > 0]


def _ways(plan: Plan) -> list[Shown]:
    """Give ways that have bars: the cheapest, and any that is named."""
    every = [one for one in shown(plan).values() if one.way.costs]
    return [one for one in every if one.rank <= BARS_MAX or one.tone != "faint"]


def breakdown(plan: Plan, room: Room) -> str:
    """Draw a bar a way, in parts by kind of cost."""
    ways, order = _ways(plan), kinds(plan)
    totals = [sum(usd for _, usd in parts(one, order)) for one in ways]
    scale, step = money_scale(totals), 30 if room.is_wide else 44
    content, height = "", len(ways) * step + 30
    content += _grid(scale, room, height - 26)
    for number, (one, total) in enumerate(zip(ways, totals, strict=True)):
        content += _stack(one, total, order, (number * step, scale), room)
    name = f"costs-{'w' if room.is_wide else 'n'}"
    desc = "US dollars a month of each way by kind of cost: " + "; ".join(
        f"{one.label} {words.usd(total)}" for one, total in zip(ways, totals, strict=True)
    )
    return svg(name, (room.width, height), ("What the money goes to", desc), content)


def _grid(scale: Scale, room: Room, bottom: float) -> str:
    inner, content = room.width - room.label - room.ends, ""
    for tick in scale.ticks(8 if room.is_wide else 4):
        x = room.label + scale.part(tick) * inner
        content += tag("line", x1=x, x2=x, y1=0, y2=bottom, class_="grid")
        words_ = words.short_usd(tick).removesuffix(".00")
        content += text(x, bottom + 16, words_, "tick", "middle" if x else "start")
    return content


def _stack(
    one: Shown, total: float, order: Sequence[str], place: tuple[float, Scale], room: Room
) -> str:
    top, scale = place
    y, thick = (top + 4, 20.0) if room.is_wide else (top + 20, 18.0)
    inner = room.width - room.label - room.ends
    words_ = cut(one.label, int((room.label or room.width) / SIGN_WIDTH) - 1)
    content = text(0, y + 14 if room.is_wide else top + 14, words_, "row")
    start = 0.0
    for kind, usd in parts(one, order):
        x = room.label + scale.part(start) * inner
        width = scale.part(usd) * inner
        tone = f"k{order.index(kind) + 1}"
        said = f"{words.plain(kind)} {words.usd(usd)} a month ({words.percent(usd / total)})"
        part = title(f"{one.title}: {said}")
        part += tag("rect", x=x, y=y, width=max(width - 1.0, 0.6), height=thick)
        if width > (len(kind) + 2) * SIGN_WIDTH:
            part += text(x + 6, y + thick - 6, words.plain(kind), "in")
        content += tag("g", part, class_=f"part {tone}")
        start += usd
    end = room.label + scale.part(start) * inner
    return tag("g", content + text(end + 6, y + thick - 5, words.short_usd(total), "total"))


def tornado(plan: Plan, room: Room) -> str:
    """Draw how far each input moves the cost of the way that answers most calls, widest first."""
    levers, base = ordered(plan), baseline(plan)
    ends = [usd for one in levers for usd in (one.usd_month_low, one.usd_month_high)]
    low, high = min([*ends, base]), max([*ends, base])
    scale = Scale(low, high if high > low else low + 1.0)
    step, content = (34 if room.is_wide else 58), ""
    height = 24 + len(levers) * step + 6
    middle = room.label + room.ends + scale.part(base) * _spread(room)
    anchor = "middle" if 0.2 < scale.part(base) < 0.8 else "start"
    content += text(middle, 13, f"planned {words.usd(base)} a month", "row", anchor)
    content += tag("line", x1=middle, x2=middle, y1=19, y2=height - 4, class_="pole plan")
    for number, lever in enumerate(levers):
        content += _lever(lever, base, (24 + number * step, scale), room)
    name = f"levers-{'w' if room.is_wide else 'n'}"
    desc = f"From {words.usd(base)} a month: " + "; ".join(
        f"{words.plain(one.what)} {words.plain(one.low)} to {words.plain(one.high)} gives "
        f"{words.usd(one.usd_month_low)} to {words.usd(one.usd_month_high)}"
        for one in levers
    )
    return svg(name, (room.width, height), ("What moves the cost", desc), content)


def ordered(plan: Plan) -> tuple[Lever, ...]:
    """Give levers, those that move most first."""

    def span(one: Lever) -> float:
        return -abs(one.usd_month_high - one.usd_month_low)

    return tuple(sorted(plan.levers, key=span)[:LEVERS_MAX])


def baseline(plan: Plan) -> float:
    """Give the cost a month that levers move."""
    way = main_way(plan)
    return way.usd_month if way else 0.0


def _spread(room: Room) -> float:
    return room.width - room.label - 2 * room.ends


def _lever(lever: Lever, base: float, place: tuple[float, Scale], room: Room) -> str:
    top, scale = place
    y, thick = (top + 6, 20.0) if room.is_wide else (top + 26, 18.0)
    zero, inner = room.label + room.ends, _spread(room)
    signs = int((room.label or room.width) / SIGN_WIDTH) - 1
    content = text(
        0, y + 14 if room.is_wide else top + 18, cut(words.plain(lever.what), signs), "row"
    )
    ends = sorted(
        ((lever.usd_month_low, lever.low, "low"), (lever.usd_month_high, lever.high, "high"))
    )
    for (usd, input_, tone), is_left in zip(ends, (True, False), strict=True):
        one, other = sorted((zero + scale.part(usd) * inner, zero + scale.part(base) * inner))
        said = f"{words.plain(lever.what)} {words.plain(input_)}: {words.usd(usd)} a month"
        rect = tag("rect", x=one, y=y, width=max(other - one, 0.6), height=thick)
        content += tag("g", title(said) + rect, class_=f"swing {tone}")
        x = zero + scale.part(usd) * inner + (-6 if is_left else 6)
        anchor = "end" if is_left else None
        content += text(x, y + thick - 5, _end_words(usd, input_, room), "total", anchor)
    return tag("g", content)


def _end_words(usd: float, input_: str, room: Room) -> str:
    if not room.is_wide:
        return words.short_usd(usd)
    return f"{cut(words.plain(input_), 12)}: {words.short_usd(usd)}"
