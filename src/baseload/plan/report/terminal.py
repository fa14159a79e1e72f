"""How does a plan look in a terminal?

The answer first, then the mix, the ways ranked by cost, why others are not, and notes. A table
keeps as many columns as the width has room for, the most needed ones longest. Marks are signs as
well as colours (`*` stale, `?` unverified), so it can be read without colour and through a pipe.

All text becomes `Text`, never markup: a name may hold `[bold]`, or signs that steer a terminal.

Not here: the page (`page`), formulas (`explain`).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from baseload.plan.report import answer, words
from baseload.plan.result import Plan, Refused

WIDTH = 100
"""Signs in a line where no terminal says how many there may be."""
REFUSED_MAX = 12
MARKED_MAX = 6
"""Stale or unverified figures that are named."""
NAME_MIN = 16
NAME_MAX = 30
GAPS = (2, 1)
"""Signs between columns: one where two leave too little room."""
SHORT = 12
"""A column of refused ways that has no longer words is not folded."""


class Column(NamedTuple):
    """A column: its head in two lines, how long it is kept, and its cells."""

    head: str
    need: int
    """The least is dropped first; 0 is never."""
    cells: Sequence[str]
    is_left: bool = False

    @property
    def width(self) -> int:
        """Signs that it takes."""
        return max(len(line) for text in (*self.cells, self.head) for line in text.split("\n"))

    @property
    def folded(self) -> int:
        """Signs that it takes when it is folded between words, if they are not too long."""
        longest = max(len(word) for cell in (*self.cells, "") for word in (*cell.split(), ""))
        return min(self.width, max(NAME_MIN, min(longest, NAME_MAX)))


def render(plan: Plan, width: int = WIDTH) -> RenderableType:
    """Give the plan as something that rich prints in lines of so many signs."""
    parts: list[RenderableType] = [_headline(plan), _asked(plan)]
    if plan.mix is not None and plan.mix.shares:
        parts += [_head("The recommended mix"), _mix(plan, width), *_why(plan)]
    if plan.ways:
        parts += [_head("Ways, cheapest first"), _ways(plan, width)]
    if plan.refused:
        parts += [_head("Why the others are not"), _refused(plan.refused[:REFUSED_MAX])]
        if (rest := len(plan.refused) - REFUSED_MAX) > 0:
            parts.append(Text(f"… and {rest:,} more; --json has all.", "dim"))
    if notes := _notes(plan):
        parts += [_head("Notes"), *notes]
    return Group(*parts)


def _head(text: str) -> Text:
    return Text(f"\n{text}", "bold")


def _headline(plan: Plan) -> Text:
    return Text(answer.headline(plan), "bold green" if plan.ways else "bold red")


def _asked(plan: Plan) -> Text:
    load, goal = plan.load, plan.objectives
    cached = f" ({words.percent(load.cached)} cached)" if load.cached else ""
    return Text(
        f"{words.plain(plan.model)}: {words.count(load.rps)} requests/s in the busiest hour, "
        f"{words.count(load.requests_day)} a day, {words.count(load.prompt)} tokens in{cached}, "
        f"{words.count(load.answer)} out; first token within {words.seconds(goal.ttft_p95_s)}, "
        f"then {words.seconds(goal.tpot_p95_s)} a token, for 95 of 100; {goal.survive} may fail; "
        f"{plan.months} months from {words.plain(plan.today)}.",
        "dim",
    )


def _mix(plan: Plan, width: int) -> Table:
    assert plan.mix is not None
    shares, ways = plan.mix.shares, answer.by_name(plan)
    total = [words.usd(share.usd_month) for share in shares]
    hardware = []
    for share in shares:
        way = ways.get(share.way)
        hardware.append(
            words.machines(way, share.replicas) if way and share.replicas else words.NONE
        )
    names = [words.label(ways[share.way]) if share.way in ways else share.way for share in shares]
    columns = (
        Column("role", 0, [words.ROLES[share.role] for share in shares], is_left=True),
        Column("way", 0, names, is_left=True),
        Column("on", 1, hardware, is_left=True),
        Column("replicas", 3, [str(share.replicas or words.NONE) for share in shares]),
        Column("of calls", 4, [words.percent(share.share) for share in shares]),
        Column("a month", 5, total),
    )
    return _table(columns, width, flexible=1)


def _why(plan: Plan) -> Iterable[Text]:
    assert plan.mix is not None
    proof = "Proved: nothing is cheaper." if plan.mix.is_optimal else "Not proved to be cheapest."
    sums = (
        f"In all {words.usd(plan.mix.usd_month)} a month, {words.usd(plan.mix.usd_horizon)} over "
        f"{plan.months} months, {words.availability(plan.mix.availability)} available. {proof}"
    )
    yield Text(sums)
    if plan.mix.why:
        yield Text(words.plain(plan.mix.why), "dim")


def _ways(plan: Plan, width: int) -> Table:
    ways = plan.ways
    speeds = [way.speed for way in ways]

    def known(values: Iterable[str | None]) -> list[str]:
        return [words.NONE if value is None else value for value in values]

    columns = (
        Column("", 0, [f"{n}{words.marks(way)}" for n, way in enumerate(ways, 1)], is_left=True),
        Column("way", 0, [words.label(way) for way in ways], is_left=True),
        Column("bits", 5, [way.precision or words.NONE for way in ways], is_left=True),
        Column("layout", 6, [words.layout(way) for way in ways], is_left=True),
        Column("repl-\nicas", 8, [words.replicas(way) for way in ways]),
        Column("batch", 2, known(words.three(s.batch) if s else None for s in speeds)),
        Column("TTFT\np95", 10, known(_brief(s.ttft_p95_s) if s else None for s in speeds)),
        Column("TPOT\np95", 9, known(_brief(s.tpot_p95_s) if s else None for s in speeds)),
        Column("used", 4, known(_brief_part(s.utilisation) if s else None for s in speeds)),
        Column("a\nmonth", 12, [words.short_usd(way.usd_month) for way in ways]),
        Column(f"{plan.months}\nmonths", 3, [words.short_usd(way.usd_horizon) for way in ways]),
        Column("$ a\nMtok", 6, [words.three(way.usd_mtok) for way in ways]),
        Column("avail-\nable", 7, [_brief_availability(way.availability) for way in ways]),
        Column("J a\ntoken", 1, known(
            words.three(s.joules_token) if s and s.joules_token is not None else None
            for s in speeds
        )),
    )  # fmt: skip
    return _table(columns, width, flexible=1)


def _brief(value: float) -> str:
    return words.seconds(value).replace(" ", "")


def _brief_availability(value: float) -> str:
    return words.availability(value).replace(" ", "")


def _brief_part(value: float) -> str:
    return words.percent(value).replace(" ", "")


def _refused(some: Sequence[Refused]) -> Table:
    found = []
    for one in some:
        by = words.excess(one)
        found.append(f"{words.plain(one.found)} ({by})" if by else words.plain(one.found))
    columns = (
        Column("way", 0, [words.plain(one.name) for one in some], is_left=True),
        Column("fails on", 0, [words.objective(one) for one in some], is_left=True),
        Column("found", 0, found, is_left=True),
        Column("wanted", 0, [words.plain(one.wanted) for one in some], is_left=True),
        Column("nearest", 0, [words.plain(one.nearest) for one in some], is_left=True),
    )
    table = _bare(GAPS[0])
    for column in columns:
        is_short = column.width <= SHORT
        table.add_column(column.head, overflow="fold", no_wrap=is_short)
    _fill(table, columns)
    return table


def _table(columns: Sequence[Column], width: int, flexible: int) -> Table:
    """Give a table of the columns for which there is room; the flexible one may fold."""
    kept, gap = fitting(columns, width, flexible)
    table = _bare(gap)
    for column in kept:
        is_flexible = column is columns[flexible]
        table.add_column(
            column.head,
            justify="left" if column.is_left else "right",
            no_wrap=not is_flexible,
            overflow="fold",
        )
    _fill(table, kept)
    return table


def fitting(columns: Sequence[Column], width: int, flexible: int) -> tuple[list[Column], int]:
    """Give the columns that fit, in their order, after the least needed were dropped, and the gap.

    Before a column is dropped, the gap is made smaller and the flexible column folded.
    """
    kept = [column for column in columns if any(column.cells)]

    def taken(gap: int) -> int:
        widths = [column.folded if column is columns[flexible] else column.width for column in kept]
        return sum(widths) + gap * (len(widths) - 1)

    while taken(GAPS[-1]) > width and any(column.need for column in kept):
        kept.remove(min((column for column in kept if column.need), key=lambda one: one.need))
    return kept, next((gap for gap in GAPS if taken(gap) <= width), GAPS[-1])


def _bare(gap: int) -> Table:
    return Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")


def _fill(table: Table, columns: Sequence[Column]) -> None:
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(words.plain(cell)) for cell in cells))


def _notes(plan: Plan) -> list[Text]:
    said = [f"- {words.plain(note)}" for note in plan.notes]
    figures = list(dict.fromkeys(figure for way in plan.ways for figure in way.figures))
    stale = [figure for figure in figures if figure.is_stale]
    unverified = [figure for figure in figures if not figure.is_verified]
    for sign, kind, some in (("*", "stale", stale), ("?", "unverified", unverified)):
        said.extend(
            f"{sign} {kind}: {words.plain(one.what)} {words.plain(one.value)}, "
            f"read on {words.plain(one.seen)} at {words.plain(one.source)}"
            for one in some[:MARKED_MAX]
        )
        if (rest := len(some) - MARKED_MAX) > 0:
            said.append(f"{sign} {kind}: {rest:,} more figures; --explain has all.")
    return [Text(line, overflow="fold") for line in said]
