"""How does a plan look as one HTML page that can be mailed, printed and opened without a network?

The answer comes first, then what was asked, the mix, the ways, why the others are not, the
pictures, and at last every figure with its source and every formula with its numbers. Style and
script stand in the page and are allowed by their digests; nothing is fetched. The same plan gives
the same bytes.

Each plot is drawn twice, for wide and for narrow screens, and the style sheet shows one: a picture
that is only made smaller has text that nobody can read.

Not here: tables (`tables`), pictures (`draw`, `bars`), what the pictures show (`plots`).
"""

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from html import escape
from importlib import resources

from baseload.plan.report import answer, bars, draw, plots, tables, words
from baseload.plan.report.plots import Shown, shown
from baseload.plan.report.tables import cell
from baseload.plan.result import Plan

FILES = "baseload.plan.report"


def html(plan: Plan) -> str:
    """Give the page."""
    style, script = _file("page.css"), _file("page.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    name = f"Plan for {cell(plan.model)}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{name}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"{_bar(plan)}\n<main>\n{''.join(_parts(plan))}</main>\n<script>{script}</script>\n"
        "</body>\n</html>\n"
    )


@cache
def _file(name: str) -> str:
    return resources.files(FILES).joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


LOGO = (
    '<svg viewBox="0 0 32 32" width="20" height="20" aria-hidden="true">'
    '<rect width="32" height="32" rx="7" class="logo"/>'
    '<path d="M6 21.5h20" class="stroke" stroke-width="4" stroke-linecap="round"/>'
    '<path d="M6 14c3.5 0 3.500-5 7-5s3.500 5 6.500 5 3.500-3 6.500-3" class="stroke" '
    'stroke-opacity=".75" stroke-width="2.500" stroke-linecap="round" fill="none"/></svg>'
)


def _bar(plan: Plan) -> str:
    return (
        f'<header class="bar"><span class="brand">{LOGO} Baseload</span><span class="about">'
        f"Plan for {cell(plan.model)}, made on {cell(plan.today)}</span></header>"
    )


def _parts(plan: Plan) -> Iterable[str]:
    """Give the page's parts in their order; what a plan does not have is left out."""
    yield _headline(plan)
    yield _asked(plan)
    sections = (
        (plan.mix is not None, _mix),
        (plan.ways, _ways),
        (plan.refused, _refused),
        (plan.cost_curves, _cost),
        (plan.ttft_curves or plan.tpot_curves, _latency),
        (any(way.costs for way in plan.ways), _costs),
        (plan.levers, _levers),
        (any(way.figures for way in plan.ways), _figures),
        (any(way.formulas for way in plan.ways), _formulas),
        (plan.notes, _notes),
    )
    for is_there, section in sections:
        if is_there:
            yield section(plan)


_MARKS_HINT = (
    "Verified: a first-hand source was read. Stale: older than such figures keep, so look it up "
    "before you sign anything."
)


def _section(name: str, head: str, content: str, hint: str = "", number: int | None = None) -> str:
    count = f' <span class="count">{number:,}</span>' if number is not None else ""
    below = f'<p class="hint">{escape(hint)}</p>' if hint else ""
    return (
        f'<section class="panel" id="{name}" aria-labelledby="{name}-h">'
        f'<h2 id="{name}-h">{escape(head)}{count}</h2>{below}{content}</section>\n'
    )


def _details(name: str, content: str, *, is_open: bool = False) -> str:
    opened = " open" if is_open else ""
    return f"<details{opened}><summary>{cell(name)}</summary>{content}</details>"


def _headline(plan: Plan) -> str:
    tone, sign = ("good", "✓") if plan.ways else ("bad", "✕")
    tiles = "".join(
        f"<div><dt>{cell(key.name)}</dt><dd>{cell(key.value)}</dd>"
        f'<dd class="beside">{cell(key.beside)}</dd></div>'
        for key in answer.keys(plan)
    )
    why = f'<p class="why">{cell(plan.mix.why)}</p>' if plan.mix and plan.mix.why else ""
    return (
        f'<section class="headline {tone}" aria-label="The answer">'
        f'<div class="said"><span class="sign" aria-hidden="true">{sign}</span>'
        f"<div><h1>{cell(answer.headline(plan))}</h1>{why}</div></div>"
        + (f'<dl class="tiles">{tiles}</dl>' if tiles else "")
        + "</section>\n"
    )


def _asked(plan: Plan) -> str:
    pairs = "".join(
        f"<div><dt>{cell(key.name)}</dt><dd>{cell(key.value)}</dd></div>"
        for key in answer.asked(plan)
    )
    return _section("asked", "What was asked", f'<dl class="pairs">{pairs}</dl>')


def _mix(plan: Plan) -> str:
    assert plan.mix is not None
    proof = (
        "The solver proved that nothing is cheaper."
        if plan.mix.is_optimal
        else "The solver did not prove that nothing is cheaper."
    )
    return _section("mix", "The recommended mix", tables.mix(plan), proof)


def _ways(plan: Plan) -> str:
    hint = "Each keeps all objectives by itself. Numbers and colours are the same in all pictures."
    return _section("ways", "Ways, cheapest first", tables.ways(plan), hint, len(plan.ways))


def _refused(plan: Plan) -> str:
    first, rest = plan.refused[: tables.OPEN_MAX], plan.refused[tables.OPEN_MAX :]
    content = tables.refused(first)
    if rest:
        content += _details(f"{len(rest):,} more", tables.refused(rest))
    return _section("refused", "Why the others are not", content, number=len(plan.refused))


def _picture(wide: str, narrow: str, kind: str = "") -> str:
    return f'<div class="wide {kind}">{wide}</div><div class="narrow {kind}">{narrow}</div>'


def _legend(plan: Plan) -> str:
    """Name the numbers, for narrow screens where lines end in a number only."""
    items = "".join(
        f"<li>{tables.named(one).html}</li>" for one in shown(plan).values() if one.tone != "faint"
    )
    return f'<ul class="legend narrow">{items}</ul>'


def _lines(plot: draw.Plot) -> str:
    picture = _picture(draw.lines(plot, draw.WIDE), draw.lines(plot, draw.NARROW), "lines")
    return f"<figure>{picture}</figure>"


def _cost(plan: Plan) -> str:
    content = _lines(plots.cost(plan)) + _legend(plan)
    if plan.crossings:
        content += tables.break_evens(plan)
        count, rest = tables.more_break_evens(plan)
        content += _details(f"{count:,} more break-evens", rest) if count else ""
    content += _details("In numbers", tables.costs_at_loads(plan))
    hint = "A circle is a break-even: on its left one way is cheaper, on its right another."
    return _section("cost", "Cost against load", content, hint)


def _latency(plan: Plan) -> str:
    content = ""
    for kind, head, curves in (
        ("ttft", "First token", plan.ttft_curves),
        ("tpot", "Between tokens", plan.tpot_curves),
    ):
        if curves:
            content += f"<h3>{head}</h3>" + _lines(plots.latency(plan, kind))
    content += _legend(plan) + _details("In numbers", tables.knees(plan))
    hint = (
        "Past its knee, where the line is dashed, a replica no longer keeps an objective. Ways "
        "that share a curve share a line."
    )
    return _section("latency", "Latency against load of one replica", content, hint)


def _costs(plan: Plan) -> str:
    keys = "".join(
        f'<li><span class="swatch k{number}"></span>{cell(kind)}</li>'
        for number, kind in enumerate(bars.kinds(plan), 1)
    )
    picture = _picture(bars.breakdown(plan, bars.WIDE), bars.breakdown(plan, bars.NARROW))
    content = f'<figure><ul class="legend">{keys}</ul>{picture}</figure>'
    content += _details("In numbers", tables.costs_by_kind(plan))
    return _section("costs", "What the money goes to", content, "US dollars a month.")


def _levers(plan: Plan) -> str:
    picture = _picture(bars.tornado(plan, bars.SPREAD_WIDE), bars.tornado(plan, bars.SPREAD_NARROW))
    keys = (
        '<li><span class="swatch low"></span>input at its low end</li>'
        '<li><span class="swatch high"></span>input at its high end</li>'
    )
    content = f'<figure><ul class="legend">{keys}</ul>{picture}</figure>'
    content += _details("In numbers", tables.levers(plan))
    way = answer.main_way(plan)
    hint = (
        f"US dollars a month of {words.plain(way.name)}, one input moved at a time." if way else ""
    )
    return _section("levers", "What moves the cost", content, hint)


def _figures(plan: Plan) -> str:
    return _section("figures", "Figures and their sources", tables.figures(plan), _MARKS_HINT)


def _notes(plan: Plan) -> str:
    items = "".join(f"<li>{cell(note)}</li>" for note in plan.notes)
    return _section("notes", "Notes", f'<ul class="notes">{items}</ul>')


def _formulas(plan: Plan) -> str:
    groups: dict[tuple[object, ...], list[Shown]] = {}
    for one in shown(plan).values():
        if one.way.formulas:
            groups.setdefault(one.way.formulas, []).append(one)
    content = "".join(
        _details(
            "; ".join(one.title for one in ways),
            f'<dl class="formulas">{tables.formulas(ways[0].way.formulas)}</dl>',
            is_open=number == 0,
        )
        for number, ways in enumerate(groups.values())
    )
    return _section("formulas", "Formulas, with their numbers", content)
