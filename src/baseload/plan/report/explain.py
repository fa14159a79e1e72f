"""How did each way's figures come about? Every formula, the same with its numbers, its result.

Ways that rest on the very same formulas are told once. After the formulas come the catalogue's
figures that went into them, each with its source and day.

Not here: making formulas (`planning` and the rooms below it).
"""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from baseload.plan.report import words
from baseload.plan.result import Figure, Formula, Plan, Way

INDENT = (0, 0, 0, 2)


def render(plan: Plan) -> RenderableType:
    """Give all formulas and figures as something that rich prints."""
    groups: dict[tuple[Formula, ...], list[tuple[int, Way]]] = {}
    for rank, way in enumerate(plan.ways, 1):
        groups.setdefault(way.formulas, []).append((rank, way))
    parts: list[RenderableType] = []
    for formulas, ways in groups.items():
        names = "; ".join(_name(rank, way) for rank, way in ways)
        figures = dict.fromkeys(figure for _, way in ways for figure in way.figures)
        parts.append(Text(f"\n{names}", "bold"))
        parts += [Padding(_formula(one), INDENT, expand=False) for one in formulas]
        parts += [Padding(_figure(one), INDENT, expand=False) for one in figures]
    return Group(*parts)


def _name(rank: int, way: Way) -> str:
    return f"{rank}. {words.plain(way.name)}"


def _formula(one: Formula) -> Text:
    what, formula, numbers, result = (
        words.plain(text) for text in (one.what, one.formula, one.numbers, one.result)
    )
    text = Text(f"{what} = {formula}")
    text.append(f"\n  = {numbers}", "dim")
    return text.append(f"\n  = {result}", "bold")


def _figure(one: Figure) -> Text:
    state = "" if one.is_verified else ", unverified"
    state += ", stale" if one.is_stale else ""
    return Text(
        f"{words.plain(one.what)}: {words.plain(one.value)} "
        f"({words.plain(one.source)}, {words.plain(one.seen)}{state})",
        overflow="fold",
    )
