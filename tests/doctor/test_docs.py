"""The guide's table of rules is the table in the code."""

import re
from pathlib import Path

from baseload.doctor.examining import SCHEMA
from baseload.doctor.table import RULES

GUIDE = Path(__file__).parents[2] / "docs" / "doctor.md"


def rows():
    """Give the table as the code has it."""
    return [
        f"| `{rule.id}` | {rule.severity} | {rule.about} | {rule.fixed} |"
        for rule in sorted(
            (*RULES, SCHEMA), key=lambda rule: ("refused", "harmful", "advice").index(rule.severity)
        )
    ]


def test_the_guide_lists_the_rules():
    """Every rule is in the guide, with how bad it is and whether it is mended, and no other is."""
    table = GUIDE.read_text().partition("## Rules")[2]

    assert rows() == re.findall(r"^\| `[a-z-]+` \|.*\|$", table, re.MULTILINE)
