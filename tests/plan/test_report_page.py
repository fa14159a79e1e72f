"""The page: one file, safe, complete, always the same."""

import hashlib
import itertools
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from baseload.plan.report import page
from baseload.plan.report.draw import NARROW, WIDE, lines
from baseload.plan.report.plots import cost, latency, shown
from baseload.plan.report.scale import Scale
from baseload.plan.result import Crossing, Figure
from tests.plan import sample
from tests.plan.golden import golden

PLANS = {
    "plan": sample.plan, "nothing": sample.nothing, "wide": sample.wide, "hostile": sample.hostile,
    "no_mix": lambda: sample.plan(mix=None),
}  # fmt: skip
VOID = {"meta", "br", "link", "img", "input", "hr"}
LOADING = {"src", "href", "srcset", "data", "action", "poster", "xlink:href", "background"}


class Reader(HTMLParser):
    """Reads a page, checks that what opens is closed, and keeps what it finds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.wrong: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data)


@pytest.fixture(params=sorted(PLANS))
def text(request) -> str:
    """Give the page of each plan."""
    return page.html(PLANS[request.param]())


def test_elements_are_closed_in_order(text):
    """Every element of the page is closed where it should be."""
    read = Reader(text)

    assert ([], []) == (read.wrong, read.open)


def test_pictures_are_well_formed(text):
    """Every picture is XML on its own, so that it can be taken out and used elsewhere."""
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)

    assert pictures
    for picture in pictures:
        ET.fromstring(picture)


def test_nothing_is_fetched(text):
    """No element loads anything; only links in text lead out, and those only on a click."""
    tags = Reader(text).tags
    leading = [(tag, name) for tag, attrs in tags for name in attrs if name in LOADING]

    assert {("a", "href")} >= set(leading)
    assert not {"link", "iframe", "object", "img", "base", "form"} & {tag for tag, _ in tags}
    assert not re.search(r"@import|url\((?!#)", text)
    assert all(
        re.match(r"https?://", attrs["href"]) and attrs["rel"] == "noopener noreferrer"
        for tag, attrs in tags
        if tag == "a"
    )


def test_style_and_script_are_all_that_the_policy_allows(text):
    """The policy allows the page's own style and script by their digests, and nothing else."""
    tags = Reader(text).tags
    policy = next(
        a["content"] for tag, a in tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    for kind in ("style", "script"):
        (inner,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        assert page._digest(inner) in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert not [a for _, a in tags if any(name == "style" or name.startswith("on") for name in a)]


def test_ids_are_unique_and_names_lead_to_them(text):
    """No two elements share an id, and whatever is referred to is there."""
    tags = Reader(text).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    named = [
        one for _, a in tags for name in ("aria-labelledby", "aria-describedby") for one in a.get(name, "").split()
    ]  # fmt: skip

    assert len(ids) == len(set(ids))
    assert set(named) <= set(ids)


def test_pictures_can_be_heard(text):
    """Every picture has a title and a description, or is there for the eye alone."""
    for picture in re.findall(r"<svg[^>]*>.*?</svg>", text, re.DOTALL):
        root = ET.fromstring(picture)
        if root.get("aria-hidden") == "true":
            continue
        assert ["title", "desc"] == [child.tag for child in root][:2]
        assert all(child.text for child in list(root)[:2])
        assert "img" == root.get("role")


def test_hostile_names_stay_text():
    """A name with tags, quotes and escapes is shown, never obeyed."""
    made = page.html(sample.hostile())
    read = Reader(made)

    assert 1 == sum(tag == "script" for tag, _ in read.tags)
    assert not [a for _, a in read.tags if "javascript:" in a.get("href", "")]
    assert any('<script>alert("x")</script>' in words for words in read.words)
    assert "\x1b" not in made
    assert "\u202e" not in made


def test_every_figure_is_there_with_its_source():
    """What a way rests on stands on the page: figure, value, source, day."""
    plan = sample.plan()
    words = " ".join(Reader(page.html(plan)).words)
    figures = {figure for way in plan.ways for figure in way.figures}

    assert len(figures) > 5
    for figure in figures:
        shown = figure.source.partition("://")[2] or figure.source
        assert [] == [
            one for one in (figure.what, figure.value, shown, figure.seen) if one not in words
        ]


def test_links_are_only_made_of_web_addresses():
    """A source that is no web address is text."""
    (way, *_) = sample.plan().ways
    odd = Figure(
        what="a", value="1", source="javascript:alert(1)", seen="2026-01-01", is_verified=True,
        is_stale=False,
    )  # fmt: skip
    changed = sample.way("a", way.tenure, "h", 5.0, figures=(odd,))
    made = Reader(page.html(sample.plan(ways=(changed,), mix=None, crossings=())))

    assert [] == [tag for tag, _ in made.tags if tag == "a"]
    assert "javascript:alert(1)" in made.words


def test_marks_stand_where_they_belong():
    """Stale and unverified figures are marked as such, in words."""
    text = page.html(sample.plan())
    figures = text[text.index('id="figures"') :]
    rows = re.findall(r"<tr>.*?</tr>", figures, re.DOTALL)
    (spot,) = [row for row in rows if "p5.48xlarge spot" in row]
    (price,) = [row for row in rows if "h100 price" in row]

    assert ("verified" in spot, "stale" in spot, "unverified" in spot) == (True, True, False)
    assert ("unverified" in price, "stale" in price) == (True, False)


def test_the_same_plan_gives_the_same_page():
    """The page depends on the plan alone, and golden files say how it looks."""
    made = page.html(sample.plan())

    assert made == page.html(sample.plan())
    assert golden("page.html", made) == made
    digest = hashlib.sha256(page.html(sample.wide()).encode()).hexdigest() + "\n"
    assert golden("page_wide.sha256", digest) == digest


def test_break_evens_and_the_load_are_flagged():
    """Each break-even between named ways has a letter, a circle and a sentence; so has the load."""
    plot = cost(sample.plan())

    assert ["A", "B", "C", "D", "planned"] == [flag.short for flag in plot.flags]
    assert [40_865.0, 75_808.0, 86_335.0, 158_395.0, 207_360.0] == [
        round(flag.x) for flag in plot.flags
    ]
    assert plot.flags[0].title == (
        "Below 40,865 requests a day 4 deepseek-v4-flash, API is cheaper, above it 1 p5.48xlarge,"
        " spot; there both cost $5,183 a month."
    )
    assert plot.x.is_log
    assert 4 == lines(plot, WIDE).count("<circle")


def test_break_evens_without_a_letter_are_told_too():
    """More break-evens than a plot can bear are folded away, none is lost."""
    plan = sample.plan()
    api, *others = (way.name for way in plan.ways)
    many = tuple(
        Crossing(cheaper_below=api, cheaper_above=other, requests_day=day, usd_month=1e6)
        for other in others for day in (11_111.0, 22_222.0, 33_333.0)
    )  # fmt: skip
    text = page.html(sample.plan(crossings=many))

    assert 6 == len(
        [flag for flag in cost(sample.plan(crossings=many)).flags if flag.tone == "cross"]
    )
    assert "6 more break-evens" in text
    assert all(
        text.count(f'<td class="number">{day}</td>') == 4 for day in ("11,111", "22,222", "33,333")
    )


def test_latency_has_its_objective_and_knees():
    """The objective is a line, a knee lies on its curve, and past it the curve is dashed."""
    plot = latency(sample.plan(), "ttft")
    picture = lines(plot, WIDE)

    assert (1.0, "objective 1 s") == plot.limit
    assert [1.9, 3.1] == sorted(flag.x for flag in plot.flags)
    assert 2 == picture.count('class="past"')
    assert "objective 1 s" in picture


def test_ways_with_one_curve_share_a_line():
    """Spot, owned and on demand of the same hardware are one line with three numbers."""
    plot = latency(sample.plan(), "ttft")

    assert ["1,3,5", "2"] == sorted(line.short for line in plot.lines)


def test_of_many_ways_a_handful_is_named():
    """Forty ways are drawn, six of them in colour, each with another one."""
    named = [line for line in cost(sample.wide()).lines if line.label]

    assert 40 == len(cost(sample.wide()).lines)
    assert 6 == len({line.tone for line in named}) == len(named)
    assert "faint" not in {line.tone for line in named}


def test_of_many_ways_the_cheapest_of_each_kind_is_named():
    """Two layouts of one machine are named after another machine is, and then by their layout."""
    plan = sample.wide()
    names = [one.name for one in shown(plan).values() if one.tone != "faint"]

    assert {"p5.48xlarge", "p4de.24xlarge", "h100", "deepseek-v4-flash"} == {
        name.partition(",")[0] for name in names
    }
    assert "p5.48xlarge, spot, fp8 tp2" in names
    assert "deepseek-v4-flash, API" in names


def test_labels_in_the_picture_lie_apart():
    """At the right end no label lies on another, wide or narrow."""
    for size in (WIDE, NARROW):
        root = ET.fromstring(lines(cost(sample.wide()), size))
        ys = sorted(float(one.get("y")) for one in root.iter("text") if one.get("class") == "end")
        assert 6 == len(ys)
        assert all(b - a >= 14.9 for a, b in itertools.pairwise(ys))


def test_a_plan_without_curves_has_no_empty_pictures():
    """What a plan does not have is left out, and the page still says what it says."""
    text = page.html(sample.nothing())

    assert [] == [name for name in ("cost", "latency", "levers", "ways") if f'id="{name}"' in text]
    assert 'id="refused"' in text
    assert "1.31 s (31 % over)" in text


def test_curves_that_make_no_sense_do_no_harm():
    """Zeros, one point, and values that are none give a page all the same."""
    way = sample.plan().ways[0]
    bent = tuple(
        sample.Curve(way=way.name, x=x, y=y)
        for x, y in (((), ()), ((1.0,), (0.0,)), ((0.0, 1e3), (float("inf"), float("nan"))))
    )
    text = page.html(sample.plan(cost_curves=bent, ttft_curves=bent, tpot_curves=bent))

    assert ([], []) == (Reader(text).wrong, Reader(text).open)
    assert "nan" not in "".join(re.findall(r' (?:x|y|d|x1|y1|x2|y2|cx|cy|width)="[^"]*"', text))
    assert Scale(0.0, 1.0) == cost(sample.plan(cost_curves=())).x


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_its_ground(scheme):
    """Every colour of text has a contrast of 4.5 to 1 with what it stands on."""
    style = page._file("page.css")
    first, second = re.findall(r":root \{(.*?)\n *\}", style, re.DOTALL)[:2]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", first))
    if scheme == "dark":
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", second))
    inks = [
        "ink",
        "muted",
        "accent",
        "bad",
        *(f"c{n}" for n in range(1, 7)),
        *(f"k{n}" for n in range(1, 8)),
    ]
    pairs = [(ink, "surface") for ink in inks] + [
        ("muted", "ground"), ("ink", "sunken"), ("good", "good-soft"), ("warn", "warn-soft"), ("ink", "bad-soft"),
        ("ink", "note-soft"),
    ]  # fmt: skip

    low = {pair: _contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {} == {pair: ratio for pair, ratio in low.items() if ratio < 4.5}


def _contrast(one: str, other: str) -> float:
    """Give the ratio of luminances as WCAG 2 defines it."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
