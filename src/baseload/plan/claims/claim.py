"""What is a claim, worked out?

A sentence with a figure in it, what it is given, the steps by the planner's own functions, and
whether the figure follows. Nothing in a step is written by hand but its words.

Not here: the claims (`examples` names them), how a terminal shows them (`cli`).
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from baseload.plan.catalog.rows import Instance, Row
from baseload.plan.result import Formula

Verdict = Literal["follows", "follows if", "does not follow"]


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A number that is not worked out here."""

    what: str
    value: str
    """With its unit."""
    source: str
    """Where it was read, or `assumption`."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One claim and what became of it."""

    name: str
    says: str
    given: tuple[Given, ...]
    steps: tuple[Formula, ...]
    verdict: Verdict
    because: str
    """What it takes, or what is missing."""


def step(what: str, formula: str, numbers: str, result: str) -> Formula:
    """Give one step."""
    return Formula(what=what, formula=formula, numbers=numbers, result=result)


def usd(amount: float) -> str:
    """Write an amount as a person would: cents below $10, whole dollars above."""
    return f"${amount:,.2f}" if abs(amount) < 10.0 else f"${amount:,.0f}"


def percent(share: float) -> str:
    """Write a share."""
    return f"{share * 100.0:.1f} %"


def read_in(row: Row) -> str:
    """Give where and when a row of the catalogue was read."""
    return f"{row.source}, {row.seen}" + ("" if row.verified else "; not verified")


def usd_hour_of(row: Instance) -> float:
    """Give what an hour of an instance costs today, on demand; the row must have a price."""
    assert row.on_demand_usd_hour is not None, f"{row.name} has no price"
    return row.on_demand_usd_hour


def text_of(claims: Iterable[Claim]) -> str:
    """Give claims as Markdown."""
    return "\n".join(_text(claim) for claim in claims)


def _text(claim: Claim) -> str:
    lines = [f"### {claim.name}", "", f"> {claim.says}", ""]
    lines += [f"**{claim.verdict.capitalize()}**: {claim.because}", ""]
    lines += ["| given | value | source |", "| --- | --- | --- |"]
    lines += [f"| {given.what} | {given.value} | {given.source} |" for given in claim.given]
    lines += ["", "| step | formula | numbers | result |", "| --- | --- | --- | --- |"]
    lines += [f"| {s.what} | `{s.formula}` | {s.numbers} | {s.result} |" for s in claim.steps]
    return "\n".join((*lines, ""))
