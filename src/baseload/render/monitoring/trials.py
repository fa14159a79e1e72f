"""How is it shown that each alert fires when it should, and stays silent when it should not?

By tests for `promtool test rules` that go out with the rules. A trial plants series that are just
within bounds and then, at TURN_MIN, out of them: until then nothing fires, afterwards that alert
and no other. The objectives' trials plant three quiet days first, and reckon from the shares they
plant which windows must fire.

Alerts are looked up as Prometheus keeps them (`ALERTS`), so that a test needs no copy of the texts.

Not here: running them (`promtool test rules prometheus/tests/*.test.yml`).
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal

import msgspec

from baseload.render.monitoring import objectives
from baseload.render.monitoring.alerts import Rule, number, span
from baseload.render.monitoring.objectives import BURNS, Burn, Promise
from baseload.render.picture import Picture

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


DAYS_QUIET: Final = 3
STEP_MIN: Final = 2
CALLS: Final = 2_000.0
"""Calls between two samples."""
RESTING: Final = 0.2
"""Of the budget that is spent evenly, what goes wrong on quiet days."""
BURSTS: Final = ((20.0, 1.0), (10.0, 4.0), (5.0, 18.0), (2.0, 48.0))
"""How many times too fast, and for how many hours: each makes another pair of windows fire."""
CEILING: Final = 0.95
"""No share of calls that is planted is above it."""


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """Three quiet days, some hours of trouble, and an hour in which all is well again."""

    promise: Promise
    rest: float
    share: float
    """Of calls that go wrong, on quiet days and in the burst."""
    hours: float

    def fires(self, burn: Burn) -> bool:
        """Say whether an alert must fire at the end of the burst, reckoned by hand."""
        threshold = burn.threshold(self.promise.budget)
        return all(self._mean(s / 3600) > threshold for s in (burn.long_s, burn.short_s))

    def _mean(self, hours: float) -> float:
        bad = min(hours, self.hours)
        return (bad * self.share + (hours - bad) * self.rest) / hours

    @property
    def firing(self) -> list[Burn]:
        """What must fire."""
        return [burn for burn in BURNS if self.fires(burn)]


def bursts(promise: Promise) -> Iterator[Burst]:
    """Give the bursts for a promise."""
    for times, hours in BURSTS:
        share = min(times * promise.budget, CEILING)
        yield Burst(promise=promise, rest=RESTING * promise.budget, share=share, hours=hours)


def objective_suite(picture: Picture) -> Rule:
    """Give the tests of the promises."""
    edge = str(objectives.edge_s(picture.deploy.monitoring.first_token_s))
    failed, late = objectives.promises(picture)
    groups = [
        *(_burst_group(burst, CALLS, edge) for burst in bursts(failed)),
        *(_burst_group(burst, CALLS, edge) for burst in bursts(late)),
        _burst_group(next(bursts(failed)), objectives.FAILURES_MIN / 100, edge),
    ]
    return {
        "rule_files": ["../rules/objectives.yml"],
        "evaluation_interval": "1h",
        "tests": groups,
    }


def _burst_group(burst: Burst, calls: float, edge: str) -> Rule:
    """Plant a burst; with few calls, nothing may fire."""
    quiet = round(DAYS_QUIET * 24 * 60 / STEP_MIN)
    long = round(burst.hours * 60 / STEP_MIN)
    well = round(60 / STEP_MIN)
    name, few = burst.promise.alert, calls < CALLS
    firing = [] if few else burst.firing
    planted = _calls if burst.promise.bad == "baseload_calls_failed" else _first_tokens
    parts = [(quiet, burst.rest), (long, burst.share), (well, burst.rest)]
    end_s = (quiet + long) * STEP_MIN * 60
    return {
        "name": f"{name}, {number(burst.share * 100)} % for {number(burst.hours)} h"
        + (", of few calls" if few else ""),
        "interval": span(STEP_MIN * 60),
        "input_series": [
            {"series": series, "values": values}
            for series, values in planted(parts, calls, edge).items()
        ],
        "promql_expr_test": [
            _windows(quiet * STEP_MIN * 60, name, []),
            _windows(end_s, name, firing),
            # The short window of a page is over by then: nobody is woken any more.
            _pages(end_s + well * STEP_MIN * 60),
        ],
    }  # fmt: skip


def _calls(parts: list[tuple[int, float]], calls: float, _edge: str) -> dict[str, str]:
    head = 'baseload_calls_total{model="m", backend="b", outcome='
    return {
        f'{head}"done"}}': _steps([(count, calls * (1 - share)) for count, share in parts]),
        f'{head}"slow"}}': _steps([(count, calls * share) for count, share in parts]),
        # What is the caller's own doing counts neither way, however much of it there is.
        f'{head}"rejected"}}': _steps([(count, calls * 5) for count, _ in parts]),
        f'{head}"gone"}}': _steps([(count, calls) for count, _ in parts]),
    }


def _first_tokens(parts: list[tuple[int, float]], calls: float, edge: str) -> dict[str, str]:
    head, labels = "baseload_first_token_seconds", 'model="m", backend="b"'
    return {
        f"{head}_count{{{labels}}}": _steps([(count, calls) for count, _ in parts]),
        f'{head}_bucket{{{labels}, le="{edge}"}}': _steps(
            [(count, calls * (1 - share)) for count, share in parts]
        ),
    }


def _steps(parts: list[tuple[int, float]]) -> str:
    """Give a counter that gains so much at each of so many samples, part after part."""
    runs, reached = ["0"], 0.0
    for count, gain in parts:
        runs.append(f"{reached + gain:.9g}+{gain:.9g}x{count - 1}")
        reached += gain * count
    return " ".join(runs)


def _windows(at_s: float, name: str, firing: list[Burn]) -> dict[str, Any]:
    return {
        "expr": 'count by (alertname, severity, window) (ALERTS{alertstate="firing"})',
        "eval_time": span(at_s),
        "exp_samples": [
            {
                "labels": f'{{alertname="{name}", severity="{burn.severity}", '
                f'window="{span(burn.long_s)}"}}',
                "value": 1,
            }
            for burn in firing
        ],
    }


def _pages(at_s: float) -> dict[str, Any]:
    return {
        "expr": 'count(ALERTS{alertstate="firing", severity="page"})',
        "eval_time": span(at_s),
        "exp_samples": [],
    }
