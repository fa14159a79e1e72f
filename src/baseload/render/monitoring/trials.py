"""How is it shown that each alert fires when it should, and stays silent when it should not?

By tests for `promtool test rules` that go out with the rules. A trial plants series that are just
within bounds and then, at TURN_MIN, out of them: until then nothing fires, afterwards that alert
and no other.

Alerts are looked up as Prometheus keeps them (`ALERTS`), so that a test needs no copy of the texts.

Not here: what is planted (`planted`), tests of what is promised (`bursts`).
"""

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from baseload.render.monitoring.alerts import Rule, number, span

TURN_MIN: Final = 40
"""When trouble begins."""
Kind = Literal["gauge", "counter"]
FIRING: Final = 'count by (alertname, severity) (ALERTS{alertstate="firing", severity!="none"})'


class Planted(msgspec.Struct, frozen=True):
    """A series: a gauge's value, or what a counter gains in a minute, before and after the turn."""

    series: str
    before: float
    after: float
    kind: Kind = "gauge"

    def values(self, until_min: int) -> str:
        """Give it in the notation of the tests, a sample a minute."""
        rest = until_min - TURN_MIN
        if self.kind == "gauge":
            return _run(self.before, 0, TURN_MIN) + " " + _run(self.after, 0, rest)
        reached = self.before * TURN_MIN
        begun = reached + self.after
        return _run(0, self.before, TURN_MIN) + " " + _run(begun, self.after, rest)


def _run(first: float, step: float, more: int) -> str:
    return f"{number(first)}{'-' if step < 0 else '+'}{number(abs(step))}x{more}"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What must fire once trouble has begun, and the series that make it so."""

    alert: str
    severity: str
    planted: tuple[Planted, ...]
    loud_min: int = 30
    """After the turn, when it must fire."""
    also: tuple[tuple[str, str], ...] = ()
    """Other alerts that rightly fire then, with their severities."""

    def group(self, around: Iterable[Planted]) -> Rule:
        """Give it as a group of tests; `around` is planted, too, where the trial does not."""
        own = {each.series for each in self.planted}
        planted = [*self.planted, *(each for each in around if each.series not in own)]
        until_min = TURN_MIN + self.loud_min
        return {
            "name": f"{self.alert}, {self.severity}",
            "interval": "1m",
            "input_series": [
                {"series": each.series, "values": each.values(until_min)} for each in planted
            ],
            "promql_expr_test": [
                _firing(TURN_MIN, []),
                _firing(until_min, [(self.alert, self.severity), *self.also]),
            ],
        }


def _firing(minute: int, wanted: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "expr": FIRING,
        "eval_time": span(minute * 60),
        "exp_samples": [
            {"labels": f'{{alertname="{name}", severity="{severity}"}}', "value": 1}
            for name, severity in wanted
        ],
    }


def suite(rules: str, trials: Iterable[Trial], around: Iterable[Planted]) -> Rule:
    """Give a file of tests for one file of rules."""
    around = tuple(around)
    return {
        "rule_files": [f"../rules/{rules}.yml"],
        "evaluation_interval": "1m",
        "tests": [trial.group(around) for trial in trials],
    }
