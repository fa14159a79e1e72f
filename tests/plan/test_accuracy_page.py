"""docs/accuracy.md says what is shipped: its tables are made by `bench/fit_report.py`."""

import re
from pathlib import Path

import pytest
from bench import fit_report

from baseload.plan.speed.fitted import fitted

PAGE = (Path(__file__).parent.parent.parent / "docs" / "accuracy.md").read_text()
TABLES = (
    "targets", "without", "rows", "constants", "own", "seen", "unseen", "system", "engine", "model", "group",
    "split",
)  # fmt: skip


def between(name):
    """Give what is between a pair of marks."""
    (found,) = re.findall(f"<!-- {name} -->\n(.*?)<!-- /{name} -->", PAGE, re.DOTALL)
    return found.strip()


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_filled(name):
    """No pair of marks is empty, and none is there twice."""
    assert len(between(name)) > 40


def test_the_constants_are_those_that_are_shipped():
    """A page that an earlier fit has filled would not have them."""
    assert fit_report.constants() == between("constants")
    assert f"{fitted().rows:,} are fitted to" in between("rows")


def test_every_constant_and_factor_is_listed():
    """Each name has a line with its base, and every tag is on it."""
    lines = between("constants").splitlines()[2:]
    factors = fitted().engine | fitted().harness

    assert len(factors) == len(lines)
    for line, (name, by_tag) in zip(lines, factors.items(), strict=True):
        assert line.startswith(f"| `{name}` | {by_tag['base']:.3g} |")
        assert all(f"{tag} {by_tag[tag]:.3g}" in line for tag in by_tag if tag != "base")


def test_what_is_missed_is_said():
    """A target that was not reached is marked, and only such a one."""
    lines = [line.split("|")[2:4] for line in between("targets").splitlines()[2:]]
    missed = [float(reached.split(",")[0]) > float(asked) for asked, reached in lines]

    assert missed == ["missed" in reached for _, reached in lines]


def test_marks_are_put_back():
    """Filling the page again changes what is between marks and nothing else."""
    page = "before\n<!-- own -->\nold\n<!-- /own -->\nafter\n"

    assert page.replace("old", "new") == fit_report.put(page, {"own": "new", "gone": "x"})
