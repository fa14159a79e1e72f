"""How is it shown that broken promises are told, each over its own windows?

Three quiet days are planted, some hours of trouble, and an hour in which all is well again. How bad
and how long trouble is makes another pair of windows fire; which ones must is reckoned here by hand
from the shares that are planted, and held against what Prometheus says. Afterwards no page may be
left: its short window has forgotten. The last test has the same trouble among so few calls that
nobody may be told.

Not here: causes (`planted`).
"""

from typing import Any, Final

import msgspec

from baseload.render.monitoring import objectives
from baseload.render.monitoring.alerts import Rule, number, span
from baseload.render.monitoring.objectives import BURNS, Burn, Promise
from baseload.render.picture import Picture

DAYS_QUIET: Final = 3
STEP_MIN: Final = 2
"""Between samples."""
CALLS: Final = 2_000.0
"""Between two samples."""
CALLS_FEW: Final = objectives.FAILURES_MIN / 1_000
RESTING: Final = 0.2
"""Of the budget that is spent evenly, what goes wrong on quiet days."""
TROUBLES: Final = ((20.0, 1), (10.0, 4), (5.0, 18), (2.0, 48))
"""How many times too fast the budget is spent, and for how many hours."""
CEILING: Final = 0.95
"""No share of calls that is planted is above it."""

Parts = list[tuple[int, float]]
"""So many samples, one after the other, with such a share of bad calls."""


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """Trouble with one promise."""

    promise: Promise
    rest: float
    share: float
    """Of calls that go wrong, on quiet days and in trouble."""
    hours: int

    @property
    def firing(self) -> list[Burn]:
        """What must fire at the end of it."""
        return [burn for burn in BURNS if self._fires(burn)]

    def _fires(self, burn: Burn) -> bool:
        threshold = burn.threshold(self.promise.budget)
        return all(self._mean(each / 3600) > threshold for each in (burn.long_s, burn.short_s))

    def _mean(self, hours: float) -> float:
        bad = min(hours, self.hours)
        return (bad * self.share + (hours - bad) * self.rest) / hours

    @property
    def parts(self) -> Parts:
        """Give it as shares, sample by sample."""
        quiet, long, well = (_samples(each) for each in (DAYS_QUIET * 24, self.hours, 1))
        return [(quiet, self.rest), (long, self.share), (well, self.rest)]


def _samples(hours: float) -> int:
    return round(hours * 60 / STEP_MIN)


def suite(picture: Picture) -> Rule:
    """Give the file of tests for the rules about promises."""
    edge = str(objectives.edge_s(picture.deploy.monitoring.first_token_s))
    troubles = [(*trouble, CALLS) for trouble in TROUBLES] + [(*TROUBLES[0], CALLS_FEW)]
    return {
        "rule_files": ["../rules/objectives.yml"],
        "evaluation_interval": "1h",
        "tests": [
            _group([_burst(promise, times, hours) for promise in objectives.promises(picture)],
                   calls, edge)
            for times, hours, calls in troubles
        ],
    }  # fmt: skip


def _burst(promise: Promise, times: float, hours: int) -> Burst:
    share = min(times * promise.budget, CEILING)
    return Burst(promise=promise, rest=RESTING * promise.budget, share=share, hours=hours)


def _group(bursts: list[Burst], calls: float, edge: str) -> Rule:
    failed, late = bursts
    is_few = calls < CALLS
    quiet_s, trouble_s = DAYS_QUIET * 86_400, failed.hours * 3_600
    planted = _calls(failed.parts, calls) | _first_tokens(late.parts, calls, edge)
    return {
        "name": f"{number(failed.share * 100)} % of calls fail and {number(late.share * 100)} % "
        f"of first tokens are late for {failed.hours} h" + (", of few calls" if is_few else ""),
        "interval": span(STEP_MIN * 60),
        "input_series": [
            {"series": series, "values": values} for series, values in planted.items()
        ],
        "promql_expr_test": [
            _firing(quiet_s, []),
            _firing(quiet_s + trouble_s, [] if is_few else bursts),
            _no_page(quiet_s + trouble_s + 3_600),
        ],
    }


def _calls(parts: Parts, calls: float) -> dict[str, str]:
    head = 'baseload_calls_total{model="m", backend="b", outcome='
    return {
        f'{head}"done"}}': _counter([(count, calls * (1 - share)) for count, share in parts]),
        f'{head}"slow"}}': _counter([(count, calls * share) for count, share in parts]),
        # What is the caller's own doing counts neither way, however much of it there is.
        f'{head}"rejected"}}': _counter([(count, calls * 5) for count, _ in parts]),
        f'{head}"gone"}}': _counter([(count, calls) for count, _ in parts]),
    }


def _first_tokens(parts: Parts, calls: float, edge: str) -> dict[str, str]:
    head, labels = "baseload_first_token_seconds", 'model="m", backend="b"'
    in_time = [(count, calls * (1 - share)) for count, share in parts]
    return {
        f"{head}_count{{{labels}}}": _counter([(count, calls) for count, _ in parts]),
        f'{head}_bucket{{{labels}, le="{edge}"}}': _counter(in_time),
    }


def _counter(parts: Parts) -> str:
    """Give a counter that gains so much at each of so many samples, part after part."""
    runs, reached = ["0"], 0.0
    for count, gain in parts:
        runs.append(f"{reached + gain:.12g}+{gain:.12g}x{count - 1}")
        reached += gain * count
    return " ".join(runs)


def _firing(at_s: float, bursts: list[Burst]) -> dict[str, Any]:
    return {
        "expr": 'count by (alertname, severity, window) (ALERTS{alertstate="firing"})',
        "eval_time": span(at_s),
        "exp_samples": [
            {
                "labels": f'{{alertname="{burst.promise.alert}", severity="{burn.severity}", '
                f'window="{span(burn.long_s)}"}}',
                "value": 1,
            }
            for burst in bursts
            for burn in burst.firing
        ],
    }


def _no_page(at_s: float) -> dict[str, Any]:
    return {
        "expr": 'count(ALERTS{alertstate="firing", severity="page"})',
        "eval_time": span(at_s),
        "exp_samples": [],
    }
