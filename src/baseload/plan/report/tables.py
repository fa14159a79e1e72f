"""Which tables does the page have, as HTML?

A table scrolls in its own frame on a narrow screen while its first column stays. All text is
escaped here, in `cell` and nowhere else.

Not here: the order of the page (`page`), pictures (`plots`, `bars`).
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from baseload.plan.report import words
from baseload.plan.report.bars import kinds, ordered, parts
from baseload.plan.report.plots import LETTERS, Shown, at, crossings, shown
from baseload.plan.result import Crossing, Curve, Figure, Formula, Plan, Refused

ROUND_LOADS = (1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7)
LINKED = ("https://", "http://")
OPEN_MAX = 12
"""Refused ways that are listed before the reader asks for more."""


class Column(NamedTuple):
    """A column's head, and whether it holds numbers."""

    name: str
    is_number: bool = True
    hint: str = ""


def words_column(name: str) -> Column:
    """Give a column of text."""
    return Column(name, is_number=False)


class Cell(NamedTuple):
    """HTML that is safe as it stands."""

    html: str


def cell(value: str | Cell) -> str:
    """Give a value as HTML: text is escaped, and freed of signs that steer what shows it."""
    return value.html if isinstance(value, Cell) else escape(words.plain(value))


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]]) -> str:
    """Give a table whose first column names the rows."""
    heads = "".join(_head(column) for column in columns)
    body = "".join(f"<tr>{_row(columns, row)}</tr>" for row in rows)
    name = escape(caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table>'
        f'<caption class="unseen">{name}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _head(column: Column) -> str:
    kind = ' class="number"' if column.is_number else ""
    hint = f' title="{escape(column.hint)}"' if column.hint else ""
    return f'<th scope="col"{kind}{hint}>{escape(column.name)}</th>'


def _row(columns: Sequence[Column], row: Sequence[str | Cell]) -> str:
    first = f'<th scope="row">{cell(row[0])}</th>'
    return first + "".join(
        f'<td class="number">{cell(value)}</td>' if column.is_number else f"<td>{cell(value)}</td>"
        for column, value in zip(columns[1:], row[1:], strict=True)
    )


def named(one: Shown, *, has_marks: bool = False) -> Cell:
    """Give a way with its number in its colour; with its marks it stands where all of it does."""
    number = f'<span class="rank {one.tone}">{one.rank}</span>'
    name = cell(words.label(one.way)) + marks(one) if has_marks else cell(one.name)
    return Cell(f'<span class="way">{number}<span>{name}</span></span>')


def marks(one: Shown) -> str:
    """Give a way's marks as HTML."""
    stale = mark("stale") if words.is_stale(one.way) else ""
    return stale + (mark("unverified") if words.is_unverified(one.way) else "")


MARKS = {
    "stale": ("!", "warn", "rests on a figure that is older than such figures keep"),
    "unverified": ("?", "note", "rests on a figure that was read at second hand only"),
    "verified": ("✓", "good", "a first-hand source was read"),
}


def mark(kind: str) -> str:
    """Give a mark: a sign and a word."""
    sign, tone, hint = MARKS[kind]
    return f' <span class="mark {tone}" title="{hint}">{sign} {kind}</span>'


def mix(plan: Plan) -> str:
    """Give the mix, a row a share."""
    names = shown(plan)
    columns = (
        words_column("Way"), words_column("Role"), words_column("Hardware"),
        Column("Replicas"), Column("Of all calls"), Column("A month"),
    )  # fmt: skip
    rows: list[Sequence[str | Cell]] = []
    for share in plan.mix.shares if plan.mix else ():
        one = names.get(share.way)
        role = f"{words.ROLES[share.role]}: {words.ROLES_MEAN[share.role]}"
        rows.append((
            named(one, has_marks=True) if one else share.way, role,
            words.machines(one.way, share.replicas) if one and share.replicas else words.NONE,
            str(share.replicas) if share.replicas else words.NONE,
            words.percent(share.share), words.usd(share.usd_month),
        ))  # fmt: skip
    return table("The recommended mix", columns, rows)


def ways(plan: Plan) -> str:
    """Give all ways that keep the objectives, cheapest first."""
    columns = (
        words_column("Way"),
        Column("A month"),
        Column(f"{plan.months} months"),
        Column("$/Mtok", hint="for a million tokens, prompts' and answers'"),
        Column("Replica", is_number=False, hint="precision, and how it is spread"),
        Column("Replicas", hint="that the load needs + standby"),
        Column("Batch", hint="calls that a replica works on at once, mean"),
        Column("First token p95"),
        Column("Between tokens p95"),
        Column("Used", hint="load of a replica over its knee"),
        Column("Availability"),
        Column("J/token", hint="energy of an answer token at the wall"),
        Column("Start", hint="from nothing to the first token"),
    )
    rows = [_way(one) for one in shown(plan).values()]
    return table("Ways that keep the objectives", columns, rows)


def _way(one: Shown) -> Sequence[str | Cell]:
    way, speed = one.way, one.way.speed
    said = [words.NONE] * 4
    if speed is not None:
        said = [
            words.three(speed.batch), words.seconds(speed.ttft_p95_s),
            words.seconds(speed.tpot_p95_s), words.percent(speed.utilisation),
        ]  # fmt: skip
    joules = speed.joules_token if speed else None
    return (
        named(one, has_marks=True), words.usd(way.usd_month), words.usd(way.usd_horizon),
        words.usd(way.usd_mtok),
        words.replica(way), words.replicas(way), *said,
        words.availability(way.availability),
        words.NONE if joules is None else words.three(joules), words.seconds(way.start_s),
    )  # fmt: skip


def refused(some: Sequence[Refused]) -> str:
    """Give ways that do not do, and why."""
    columns = [words_column(name) for name in ("Way", "Fails on", "Found", "Wanted", "Nearest")]
    rows = [
        (one.name, words.objective(one), _found(one), one.wanted, one.nearest or words.NONE)
        for one in some
    ]
    return table("Ways that do not keep the objectives", columns, rows)


def _found(one: Refused) -> str:
    by = words.excess(one)
    return f"{one.found} ({by})" if by else one.found


def break_evens(plan: Plan) -> str:
    """Give the break-evens that have letters in the plot, with those."""
    found = crossings(plan, shown(plan))
    return _break_evens(plan, list(zip(LETTERS, found, strict=False)), "Break-evens")


def more_break_evens(plan: Plan) -> tuple[int, str]:
    """Give how many break-evens have no letter, and their table."""
    lettered = crossings(plan, shown(plan))
    rest = [(words.NONE, one) for one in plan.crossings if one not in lettered]
    return len(rest), _break_evens(plan, rest, "More break-evens")


def _break_evens(plan: Plan, some: Sequence[tuple[str, Crossing]], caption: str) -> str:
    names = shown(plan)
    columns = (
        words_column("Break-even"), Column("Requests a day"), words_column("Cheaper below"),
        words_column("Cheaper above"), Column("Both cost a month"),
    )  # fmt: skip
    rows = [
        (
            letter, words.count(one.requests_day), _named(names, one.cheaper_below),
            _named(names, one.cheaper_above), words.usd(one.usd_month),
        )
        for letter, one in some
    ]  # fmt: skip
    return table(caption, columns, rows)


def _named(names: dict[str, Shown], name: str) -> str | Cell:
    return named(names[name]) if name in names else name


def costs_at_loads(plan: Plan) -> str:
    """Give the plot of costs in numbers."""
    xs = [x for curve in plan.cost_curves for x in curve.x]
    loads = [load for load in ROUND_LOADS if xs and min(xs) <= load <= max(xs)]
    columns = [words_column("Way"), *(Column(f"{words.short(x)} a day") for x in loads)]
    return table("Cost a month against load", columns, _at(plan, plan.cost_curves, loads))


def _at(plan: Plan, curves: Iterable[Curve], xs: Sequence[float]) -> list[Sequence[str | Cell]]:
    names = shown(plan)
    rows: list[Sequence[str | Cell]] = []
    for curve in curves:
        found = [at(curve, x) for x in xs]
        shown_ = [words.NONE if usd is None else words.usd(usd) for usd in found]
        rows.append((_named(names, curve.way), *shown_))
    return rows


def knees(plan: Plan) -> str:
    """Give the plots of latency in numbers: as planned, and where each replica's knee is."""
    columns = (
        words_column("Way"), Column("Knee, requests/s"), Column("Planned, requests/s"),
        Column("First token p50"), Column("First token p95"), Column("Between tokens p50"),
        Column("Between tokens p95"),
    )  # fmt: skip
    rows = [
        (
            named(one), words.three(speed.knee_rps),
            words.three(speed.knee_rps * speed.utilisation),
            words.seconds(speed.ttft_p50_s), words.seconds(speed.ttft_p95_s),
            words.seconds(speed.tpot_p50_s), words.seconds(speed.tpot_p95_s),
        )
        for one in shown(plan).values()
        if (speed := one.way.speed) is not None
    ]  # fmt: skip
    return table("Latency as planned, and knees", columns, rows)


def costs_by_kind(plan: Plan) -> str:
    """Give costs a month by kind, for all ways."""
    order = kinds(plan)
    columns = [words_column("Way"), *(Column(words.plain(kind)) for kind in order)]
    rows: list[Sequence[str | Cell]] = []
    for one in shown(plan).values():
        costs = dict(parts(one, order))
        amounts = [words.usd(costs[kind]) if kind in costs else words.NONE for kind in order]
        rows.append((named(one), *amounts))
    return table("Costs a month by kind", columns, rows)


def levers(plan: Plan) -> str:
    """Give what moves the cost, in numbers."""
    columns = (
        words_column("Input"), Column("Low"), Column("A month"), Column("High"),
        Column("A month"),
    )  # fmt: skip
    rows = [
        (one.what, one.low, words.usd(one.usd_month_low), one.high, words.usd(one.usd_month_high))
        for one in ordered(plan)
    ]
    return table("What moves the cost", columns, rows)


def figures(plan: Plan) -> str:
    """Give every figure that a way rests on once, with its source and the ways that need it."""
    users: dict[Figure, list[int]] = {}
    for one in shown(plan).values():
        for figure in one.way.figures:
            users.setdefault(figure, []).append(one.rank)
    columns = (
        words_column("Figure"), Column("Value"), words_column("Source"),
        words_column("Read on"), words_column("State"), words_column("Ways"),
    )  # fmt: skip
    rows = [
        (
            figure.what, figure.value, source(figure.source), day(figure.seen),
            Cell(_state(figure)), ranks(numbers),
        )
        for figure, numbers in users.items()
    ]  # fmt: skip
    return table("Figures and where they were read", columns, rows)


def ranks(numbers: Sequence[int]) -> str:
    """Give ways' numbers, those in a row as `1-4`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )


def day(text: str) -> Cell:
    """Give a day that does not break over lines."""
    return Cell(f"<time>{cell(text)}</time>")


def source(text: str) -> Cell:
    """Give a source; a web address is a link that is followed only on a click."""
    said = cell(text)
    if not text.startswith(LINKED):
        return Cell(said)
    shorter = cell(text.partition("://")[2])
    return Cell(f'<a href="{said}" rel="noopener noreferrer">{shorter}</a>')


def _state(figure: Figure) -> str:
    first = mark("verified" if figure.is_verified else "unverified")
    return (first + (mark("stale") if figure.is_stale else "")).strip()


def formulas(some: Sequence[Formula]) -> str:
    """Give how figures came about: each formula, the same with numbers, and the result."""
    return "".join(
        f"<div><dt>{cell(one.what)}</dt><dd><code>{cell(one.formula)}</code></dd>"
        f"<dd><code>{cell(one.numbers)}</code></dd><dd><b>{cell(one.result)}</b></dd></div>"
        for one in some
    )
