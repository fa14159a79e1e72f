"""What is an alert, and how does it become a rule of Prometheus?

An alert has a name that is a sentence, a severity that says who is told (`page` wakes somebody,
`ticket` is read in the morning, `none` is for machines), and an entry in the runbooks.

Not here: which alerts there are (`objectives`, `service`, `machinery`, `enginerules`).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

RUNBOOKS: Final = "docs/runbooks.md"
"""Where runbooks are, as a link in an alert has it; below it, an anchor for each alert."""

Rule = dict[str, Any]
Severity = Literal["page", "ticket", "none"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert; texts may hold Prometheus' templates (`shown` says how a number reads)."""

    name: str
    expr: str
    severity: Severity
    for_s: float = 0
    """How long it must be so, before anybody is told."""
    summary: str
    description: str
    labels: Mapping[str, str] = {}

    @property
    def rule(self) -> Rule:
        """Give it as a rule."""
        return {
            "alert": self.name,
            "expr": self.expr,
            **({"for": span(self.for_s)} if self.for_s else {}),
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOKS}#{self.name.lower()}",
            },
        }


def group(name: str, rules: Iterable[Rule]) -> Rule:
    """Give a rule group; where it has no rules, one without them."""
    return {"name": name, "rules": list(rules)}


def span(seconds: float) -> str:
    """Give a duration as Prometheus writes it, in its largest whole unit."""
    whole = round(seconds)
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def number(value: float) -> str:
    """Give a number for an expression, without the noise of binary fractions."""
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def quoted(text: str) -> str:
    """Give a text as a string of PromQL."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def one_of(names: Iterable[str]) -> str:
    """Give a string of PromQL that matches exactly these names."""
    plain = ("".join(f"[{s}]" if s in ".+*?(){}|$" else _escaped(s) for s in n) for n in names)
    return quoted("|".join(plain))


def _escaped(sign: str) -> str:
    return "\\" + sign if sign in "[]\\^" else sign


def gained(series: str, by: str, window: str) -> str:
    """Give an expression for whatever a counter gained; one that came with a first value did.

    A counter with labels is shown from its first event on, so its increase lacks that one.
    """
    new = f"{series} unless {series} offset {window}"
    return f"sum by ({by}) (increase({series}[{window}])) > 0\nor sum by ({by}) ({new}) > 0"


def untemplated(text: str) -> str:
    """Give a text so that Prometheus' templates leave it as it is."""
    return text.replace("{{", '{{ "{{" }}')
