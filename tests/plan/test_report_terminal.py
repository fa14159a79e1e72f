"""A plan in a terminal."""

import io

import pytest
from rich.console import Console

from baseload.plan.report import explain, terminal
from tests.plan import sample
from tests.plan.golden import golden


def _text(what, width=100, **more) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, **more).print(what)
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


@pytest.mark.parametrize("width", [100, 80])
def test_it_looks_as_the_golden_file_says(width):
    """The whole answer at the usual widths, without colour."""
    text = _text(terminal.render(sample.plan(), width), width)

    assert golden(f"terminal_{width}.txt", text) == text


@pytest.mark.parametrize("make", [sample.plan, sample.nothing, sample.wide, sample.hostile])
@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_it_fits(make, width):
    """No line is wider than the terminal."""
    text = _text(terminal.render(make(), width), width)

    assert [] == [line for line in text.splitlines() if len(line) > width]


def test_all_columns_are_there_at_100():
    """At 100 columns nothing has to be left out."""
    text = _text(terminal.render(sample.plan(), 100))
    (row,) = [line for line in text.splitlines() if line.startswith("1* p5.48xlarge")]

    assert row.split()[1:] == [
        "p5.48xlarge,", "spot", "fp8", "tp2", "3+1", "14.2", "412ms", "12.1ms", "43%", "$10.4k",
        "$373k", "1.03", "99.12%", "2.1",
    ]  # fmt: skip


def test_what_matters_most_is_kept_longest():
    """At 60 columns the way, its cost and its latency are still there; energy is not."""
    text = _text(terminal.render(sample.plan(), 60), 60)
    (row,) = [line for line in text.splitlines() if line.startswith("1* p5.48xlarge")]

    assert {"$10.4k", "412ms", "12.1ms", "3+1"} <= set(row.split())
    assert {"2.1", "14.2"}.isdisjoint(row.split())


def test_a_name_cannot_steer_the_terminal():
    """Escape sequences are taken out and markup stays text."""
    text = _text(terminal.render(sample.hostile(), 160), 160, force_terminal=True, no_color=True)

    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    assert "[bold red]" in text


def test_nothing_that_does_is_said_first():
    """The first line says that nothing does, and the table why."""
    text = _text(terminal.render(sample.nothing(), 100))

    assert text.startswith("Nothing keeps the objectives.")
    assert "1.31 s (31 % over)" in text


def test_a_long_list_of_refusals_is_cut():
    """Twelve are shown, and it says how many more there are."""
    text = _text(terminal.render(sample.wide(), 100))

    assert f"… and {len(sample.REFUSED) * 30 - 12} more; --json has all." in text


def test_stale_and_unverified_figures_are_named_with_their_source():
    """Marks are explained: what is stale, when it was read, and where."""
    text = " ".join(_text(terminal.render(sample.plan(), 100)).split())

    assert (
        f"* stale: p5.48xlarge spot, us-east-1 $14.20/h, read on 2026-06-30 at {sample.AWS}" in text
    )
    assert "? unverified: h100 price $30,000, read on 2026-09-20 at a dealer's offer" in text


def test_explaining_tells_every_formula_and_figure():
    """Each formula stands with its numbers and its result, each figure with its source."""
    plan = sample.plan()
    text = " ".join(_text(explain.render(plan), 200).split())

    for formula in sample.FORMULAS:
        said = f"{formula.what} = {formula.formula} = {formula.numbers} = {formula.result}"
        assert said in text
    for way in plan.ways:
        assert way.name in text
        assert all(f"{one.what}: {one.value} ({one.source}" in text for one in way.figures)


def test_formulas_that_ways_share_are_told_once():
    """Five ways with the same formulas are one paragraph."""
    assert 1 == _text(explain.render(sample.plan()), 100).count("= 262,144 B")
