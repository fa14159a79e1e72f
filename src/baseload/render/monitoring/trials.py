"""How is it shown that each alert fires when it should, and stays silent when it should not?

By tests for `promtool test rules` that go out with the rules. A trial plants series that are just
within bounds and then, at TURN_MIN, out of them: nothing fires until the alert has waited for as
long as it should, then that alert and no other does.

Alerts are looked up as Prometheus keeps them (`ALERTS`), so that a test needs no copy of the texts.

Not here: what is planted (`planted`), tests of what is promised (`bursts`).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from baseload.render.monitoring.alerts import Alert, Rule, number, quoted, span

TURN_MIN: Final = 40
"""When trouble begins."""
Kind = Literal["gauge", "counter", "event", "visit", "last"]
LABELS: Final = "alertname, severity, model, backend, instance, limit, job, integration"
FIRING: Final = f'count by ({LABELS}) (ALERTS{{alertstate="firing", severity!="none"}})'
LONG_AGO_MIN: Final = 4
"""Before which an event happened that must be forgotten by TURN_MIN."""


class Planted(msgspec.Struct, frozen=True):
    """A series: a gauge's value, or what a counter gains in a minute, before and after the turn.

    An event is a counter that gains `before` long ago, and `after` once, at the turn. One that
    gained nothing before is not there before. Visits are a gauge's that has `after` every third
    minute only. A last value is followed by none.
    """

    series: str
    before: float
    after: float
    kind: Kind = "gauge"

    def values(self, until_min: int) -> str:
        """Give it in the notation of the tests, a sample a minute."""
        rest = until_min - TURN_MIN
        if self.kind == "event":
            after = _run(self.before + self.after, 0, rest - 1)
            if not self.before:
                return f"_x{TURN_MIN + 1} {after}"
            kept = _run(self.before, 0, TURN_MIN - LONG_AGO_MIN - 1)
            return f"{_run(0, 0, LONG_AGO_MIN)} {kept} {after}"
        if self.kind == "last":
            return f"{_run(self.before, 0, TURN_MIN)} stale"
        if self.kind == "visit":
            visits = " ".join(number(self.before if at % 3 else self.after) for at in range(rest))
            return f"{_run(self.before, 0, TURN_MIN)} {visits}"
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
    labels: Mapping[str, str] = {}
    """What else the alert has of LABELS."""
    crosses_min: int = 1
    """After the turn, when its bound is crossed; a minute more or less is not told apart."""
    lasts_min: int = 1
    """For how long it fires at least."""
    for_s: float | None = None
    """How long the alert waits, where others of its name and severity wait otherwise."""
    also: tuple[Mapping[str, str], ...] = ()
    """Other alerts that rightly fire then, as labels."""

    @property
    def name(self) -> str:
        """Give what people call it."""
        return f"{self.alert}, {self.severity}"

    def group(self, around: Iterable[Planted], for_s: float) -> Rule:
        """Give it as a group of tests; `around` is planted, too, where the trial does not."""
        own = {each.series for each in self.planted}
        planted = [*self.planted, *(each for each in around if each.series not in own)]
        waited_min = TURN_MIN + self.crosses_min + round(for_s / 60)
        until_min = waited_min + self.lasts_min
        alert = {"alertname": self.alert, "severity": self.severity, **self.labels}
        return {
            "name": self.name,
            "interval": "1m",
            "input_series": [
                {"series": each.series, "values": each.values(until_min)} for each in planted
            ],
            "promql_expr_test": [
                _firing(TURN_MIN, []),
                *([_firing(waited_min - 2, [])] if waited_min - 2 > TURN_MIN else []),
                _firing(until_min, [alert, *self.also]),
            ],
        }


def _firing(minute: int, wanted: list[Mapping[str, str]]) -> dict[str, Any]:
    return {
        "expr": FIRING,
        "eval_time": span(minute * 60),
        "exp_samples": [
            {
                "labels": "{" + ", ".join(f"{key}={quoted(each[key])}" for key in each) + "}",
                "value": 1,
            }
            for each in wanted
        ],
    }


def counter(series: str, before: float, after: float) -> Planted:
    """Give a counter, and what it gains in a minute."""
    return Planted(series, before, after, "counter")


def ticket(alert: str, *planted: Planted, **labels: str) -> Trial:
    """Give a trial of a ticket."""
    return Trial(alert=alert, severity="ticket", planted=planted, labels=labels)


def events(
    alert: str, series: str, *besides: Planted, window_min: int, **labels: str
) -> Trial:  # fmt: skip
    """Give a trial of what is told for a while after it happened once, and then no more."""
    metric, _, chosen = series.partition("{")
    own = [f'{metric}{{instance="gateway-{number}", {chosen}' for number in (0, 1)]
    return Trial(
        alert=alert, severity="ticket", lasts_min=window_min // 2, labels=labels,
        planted=(Planted(own[0], 1, 1, "event"), Planted(own[1], 1, 0, "event"), *besides),
    )  # fmt: skip


def born(alert: str, series: str, **labels: str) -> Trial:
    """Give a trial of a counter that comes with its first event."""
    return ticket(alert, Planted(series, 0, 1, "event"), **labels)


def shares(
    alert: str, parts: tuple[str, str], wholes: tuple[str, str], *,
    share: float, count: float, window_min: int, besides: str, **labels: str,
) -> list[Trial]:  # fmt: skip
    """Give trials of a share that must be crossed, and of a count that must be reached.

    Both cross their bound in the middle of the window; of two series each, none does alone.
    `besides` is a series that must count for neither.
    """

    def trial(parts_min: float, wholes_min: float) -> Trial:
        return Trial(
            alert=alert, severity="ticket", labels=labels, crosses_min=window_min // 2 + 1,
            planted=(
                *(counter(each, 0.45 * parts_min, 0.55 * parts_min) for each in parts),
                *(counter(each, wholes_min / 2, wholes_min / 2) for each in wholes),
                counter(besides, 100, 100),
            ),
        )  # fmt: skip

    few = count / window_min
    return [trial(100 * share, 100), trial(few, few / (3 * share))]


def stepwise(
    alert: str,
    series: Iterable[tuple[str, float]],
    *,
    rest: float,
    ticket_at: float,
    page_at: float,
    **labels: str,
) -> list[Trial]:
    """Give trials of an alert that is a ticket first, and further on a page, too.

    The first series takes the values, others a part of them.
    """

    def planted(after: float) -> tuple[Planted, ...]:
        return tuple(Planted(each, part * rest, part * after) for each, part in series)

    series = tuple(series)
    also = {"alertname": alert, "severity": "ticket", **labels}
    return [
        ticket(alert, *planted(ticket_at), **labels),
        Trial(
            alert=alert, severity="page", labels=labels, also=(also,),
            planted=planted(page_at),
        ),
    ]  # fmt: skip


def suite(
    rules: str, alerts: Iterable[Alert], trials: Iterable[Trial], around: Iterable[Planted]
) -> Rule:
    """Give a file of tests for one file of rules."""
    around = tuple(around)
    waits_s = {f"{alert.name}, {alert.severity}": alert.for_s for alert in alerts}
    return {
        "rule_files": [f"../rules/{rules}.yml"],
        "evaluation_interval": "1m",
        "tests": [
            trial.group(
                around,
                waits_s[trial.name] if trial.for_s is None else trial.for_s,
            )
            for trial in trials
        ],
    }
