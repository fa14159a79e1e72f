"""How is a plot of lines drawn as SVG?

A picture is text made of its values alone: no clock, no chance, no library. Colours are classes
(`c1` to `c6`, `faint`), so that the page's style sheet decides on light and dark. Every line ends
in its own label; labels are pushed apart until none lies on another, and a hair joins a label that
had to move to its line. What is to be noted on the x axis (a break-even, a knee, the planned load)
is a flag at the top, on as many rows as it takes.

Not here: which lines and flags there are (`plots`), bars (`bars`), axes (`scale`).
"""

from collections.abc import Callable, Sequence
from html import escape
from math import isfinite
from typing import NamedTuple

from baseload.plan.report.scale import Scale

SIGN_WIDTH = 6.7
"""Width of a sign of 12-pixel text, in pixels, a little too large on purpose."""
LABEL_GAP = 15.0
FLAG_HEIGHT = 17.0
FLAGS_MAX = 8
ELLIPSIS = "…"


class Size(NamedTuple):
    """A picture's size in pixels, and the room that it leaves at its sides."""

    width: float
    height: float
    left: float
    right: float
    label_signs: int
    """The longest label of a line."""
    is_wide: bool

    @property
    def inner(self) -> float:
        """Width between the axes' ends."""
        return self.width - self.left - self.right


WIDE = Size(1080, 390, 58, 226, 29, is_wide=True)
NARROW = Size(344, 300, 44, 34, 5, is_wide=False)


class Line(NamedTuple):
    """One line, with what stands at its end."""

    tone: str
    short: str
    label: str
    title: str
    points: tuple[tuple[float, float], ...]
    solid_to: float | None = None
    """From this x on it is dashed: it is not where one should be."""


class Flag(NamedTuple):
    """Something noted at one place of the x axis, with a dot on the line it belongs to."""

    x: float
    y: float | None
    short: str
    label: str
    title: str
    tone: str = "note"


class Plot(NamedTuple):
    """All that is drawn."""

    name: str
    title: str
    desc: str
    x: Scale
    y: Scale
    x_name: str
    y_name: str
    x_words: Callable[[float], str]
    y_words: Callable[[float], str]
    unit: str
    """Of y: `usd` or `s`."""
    lines: tuple[Line, ...]
    flags: tuple[Flag, ...] = ()
    limit: tuple[float, str] | None = None
    """A value of y not to be passed, with its words."""


def tag(name: str, content: str = "", **attributes: object) -> str:
    """Give an element; attributes are escaped, content is not. `_` in a name stands for `-`."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{words}>{content}</{name}>" if content else f"<{name}{words}/>"


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return escape(str(value))


def text(x: float, y: float, words: str, kind: str = "", anchor: str | None = None) -> str:
    """Give a line of text, escaped."""
    return tag("text", escape(words), x=x, y=y, class_=kind or None, text_anchor=anchor)


def title(words: str) -> str:
    """Give what is shown on hovering, escaped."""
    return tag("title", escape(words))


def cut(words: str, signs: int) -> str:
    """Cut text to so many signs, with an ellipsis for what is missing."""
    return words if len(words) <= signs else words[: max(1, signs - 1)].rstrip(", ") + ELLIPSIS


def svg(
    name: str, size: tuple[float, float], words: tuple[str, str], content: str, **more: str
) -> str:
    """Give a picture with its title and description, for those who hear it."""
    return tag(
        "svg",
        tag("title", escape(words[0]), id=f"{name}-t")
        + tag("desc", escape(words[1]), id=f"{name}-d")
        + content,
        viewBox=f"0 0 {size[0]:.0f} {size[1]:.0f}",
        role="img",
        aria_labelledby=f"{name}-t {name}-d",
        **more,
    )


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places apart until neighbours are `gap` from each other, as near as can be to `wanted`.

    Order is kept. Where there is no room for all, they stand evenly from `low` on.
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / len(wanted))
    order = sorted(range(len(wanted)), key=lambda index: (wanted[index], index))
    groups: list[tuple[float, int]] = []
    for index in order:
        groups.append((min(max(wanted[index], low), high), 1))
        while len(groups) > 1 and _is_near(groups[-2], groups[-1], gap):
            (one, n), (other, m) = groups[-2:]
            half = (n + m - 1) * gap / 2
            middle = (one * n + other * m) / (n + m)
            groups[-2:] = [(min(max(middle, low + half), high - half), n + m)]
    places = [0.0] * len(wanted)
    flat = [middle + (k - (n - 1) / 2) * gap for middle, n in groups for k in range(n)]
    for index, place in zip(order, flat, strict=True):
        places[index] = place
    return places


def _is_near(one: tuple[float, int], other: tuple[float, int], gap: float) -> bool:
    room = (one[1] + other[1]) / 2 * gap
    return other[0] - one[0] < room - 1e-9


def rows(flags: Sequence[Flag], places: Sequence[float], size: Size) -> list[tuple[float, int]]:
    """Give each flag where its words begin, and a row on which they lie on no other's."""
    ends: list[float] = []
    found: dict[int, tuple[float, int]] = {}
    for index in sorted(range(len(flags)), key=lambda index: (places[index], index)):
        wide = (len(_flag_words(flags[index], size)) + 1) * SIGN_WIDTH
        start = min(places[index] - 4, size.width - wide)
        row = next((row for row, end in enumerate(ends) if end <= start), len(ends))
        ends[row : row + 1] = [start + wide]
        found[index] = (start, row)
    return [found[index] for index in range(len(flags))]


def _flag_words(flag: Flag, size: Size) -> str:
    return flag.label if size.is_wide else flag.short


def lines(plot: Plot, size: Size) -> str:
    """Draw a plot of lines."""
    flags = [flag for flag in plot.flags if plot.x.holds(flag.x)][:FLAGS_MAX]
    places = [size.left + plot.x.part(flag.x) * size.inner for flag in flags]
    tops = rows(flags, places, size)
    top = 26 + FLAG_HEIGHT * (1 + max((row for _, row in tops), default=-1)) + 8
    bottom = size.height - 40
    name = f"{plot.name}-{'w' if size.is_wide else 'n'}"

    def y_at(value: float) -> float:
        return bottom - plot.y.part(value) * (bottom - top)

    box = tag("rect", x=size.left, y=top, width=size.inner, height=bottom - top)
    content = tag("clipPath", box, id=f"{name}-c") + _axes(plot, size, y_at)
    content += _limit(plot, size, y_at) + _poles(flags, places, tops, (top, bottom, y_at))
    curves = "".join(_line(line, plot, size, y_at) for line in plot.lines)
    content += tag("g", curves, clip_path=f"url(#{name}-c)")
    content += _dots(flags, places, y_at, (top, bottom)) + _ends(plot, size, (top, bottom), y_at)
    content += _flags(flags, tops, size)
    content += tag("path", class_="aim", d=f"M0 {top:.1f}V{bottom:.1f}")
    axis = f"{plot.x.low:.6g} {plot.x.high:.6g} {int(plot.x.is_log)} {size.left} {size.inner}"
    words = (plot.title, plot.desc)
    more = {"data_x": axis, "data_name": plot.x_name, "data_unit": plot.unit}
    return svg(name, (size.width, size.height), words, content, **more)


def _axes(plot: Plot, size: Size, y_at: Callable[[float], float]) -> str:
    bottom, right = size.height - 40, size.left + size.inner
    content = text(0, 12, plot.y_name, "about")
    content += text(right, size.height - 4, plot.x_name, "about", "end")
    for tick in plot.y.ticks(7 if size.is_wide else 5):
        y = y_at(tick)
        content += tag("line", x1=size.left, x2=right, y1=y, y2=y, class_="grid")
        content += text(size.left - 7, y + 4, plot.y_words(tick), "tick", "end")
    for tick in plot.x.ticks(12 if size.is_wide else 5):
        x = size.left + plot.x.part(tick) * size.inner
        content += tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 5, class_="axis")
        content += text(x, bottom + 18, plot.x_words(tick), "tick", "middle")
    return content + tag("line", x1=size.left, x2=right, y1=bottom, y2=bottom, class_="axis")


def _limit(plot: Plot, size: Size, y_at: Callable[[float], float]) -> str:
    if plot.limit is None or not plot.y.holds(plot.limit[0]):
        return ""
    y = y_at(plot.limit[0])
    line = tag("line", x1=size.left, x2=size.left + size.inner, y1=y, y2=y, class_="limit")
    return line + text(size.left + 6, y - 5, plot.limit[1], "limit halo")


def _line(line: Line, plot: Plot, size: Size, y_at: Callable[[float], float]) -> str:
    points = [(size.left + plot.x.part(x) * size.inner, y_at(y), x) for x, y in line.points]
    end = line.solid_to
    solid = [(x, y) for x, y, value in points if end is None or value <= end]
    content = _path(solid, line.tone)
    if end is not None:
        content += _path([*solid[-1:], *((x, y) for x, y, value in points if value > end)], "past")
    said = " ".join(f"{x:.5g},{y:.5g}" for x, y in line.points if isfinite(y))
    named = {"data_label": line.label, "data_points": said} if line.label else {}
    return tag("g", title(line.title) + content, class_=f"line {line.tone}", **named)


def _path(points: Sequence[tuple[float, float]], kind: str) -> str:
    if len(points) < 2:
        return ""
    steps = "L".join(f"{x:.1f} {min(max(y, -999), 9999):.1f}" for x, y in points)
    return tag("path", d=f"M{steps}", class_="past" if kind == "past" else None)


def _poles(
    flags: Sequence[Flag],
    places: Sequence[float],
    tops: Sequence[tuple[float, int]],
    room: tuple[float, float, Callable[[float], float]],
) -> str:
    return "".join(
        tag("line", x1=x, x2=x, y1=23 + FLAG_HEIGHT * (row + 1), y2=room[1],
            class_=f"pole {flag.tone}")
        for flag, x, (_, row) in zip(flags, places, tops, strict=True)
    )  # fmt: skip


def _dots(
    flags: Sequence[Flag],
    places: Sequence[float],
    y_at: Callable[[float], float],
    room: tuple[float, float],
) -> str:
    content = ""
    for flag, x in zip(flags, places, strict=True):
        if flag.y is not None and room[0] <= (y := y_at(flag.y)) <= room[1]:
            dot = title(flag.title)
            content += tag("circle", dot, cx=x, cy=y, r=4.5, class_=f"dot {flag.tone}")
    return content


def _flags(flags: Sequence[Flag], tops: Sequence[tuple[float, int]], size: Size) -> str:
    return "".join(
        tag("g", title(flag.title)
            + text(start, 34 + FLAG_HEIGHT * row, _flag_words(flag, size), f"flag {flag.tone}"))
        for flag, (start, row) in zip(flags, tops, strict=True)
    )  # fmt: skip


def _ends(plot: Plot, size: Size, room: tuple[float, float], y_at: Callable[[float], float]) -> str:
    named = [line for line in plot.lines if line.label and line.points]
    ends = [_end(line, plot, y_at, room) for line in named]
    # Of lines that end at one height the left one has the upper label: no hair crosses a line.
    places = spread([y + x / 100 for x, y in ends], LABEL_GAP, room[0], room[1] - 4)
    right, content = size.left + size.inner, ""
    for line, (x, y), place in zip(named, ends, places, strict=True):
        start = size.left + x * size.inner
        hair = f"M{start:.1f} {y:.1f}L{right + 4:.1f} {place:.1f}L{right + 9:.1f} {place:.1f}"
        words = cut(line.label if size.is_wide else line.short, size.label_signs)
        content += tag("g", title(line.title) + tag("path", d=hair, class_="hair")
                       + text(right + 12, place + 4, words, "end"), class_=line.tone)  # fmt: skip
    return content


def _end(
    line: Line, plot: Plot, y_at: Callable[[float], float], room: tuple[float, float]
) -> tuple[float, float]:
    """Give where a line leaves the plot: its last point, or where it goes off the top."""
    inside = [n for n, (x, y) in enumerate(line.points) if plot.y.holds(y) and plot.x.holds(x)]
    last = inside[-1] if inside else len(line.points) - 1
    x, y = line.points[last]
    if inside and last + 1 < len(line.points) and plot.y.high < (over := line.points[last + 1])[1]:
        share = (plot.y.high - y) / (over[1] - y) if isfinite(over[1]) else 0.0
        x, y = x + (over[0] - x) * share, plot.y.high
    return plot.x.part(x), min(max(y_at(y), room[0]), room[1])
