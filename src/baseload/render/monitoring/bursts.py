"""How is it shown that broken promises are told, each over its own windows?

For each pair of windows time begins with quiet, goes on with the worst, and ends with something
between for a little longer than the short window. By turns the share of the long window is just too
low, that of the short one, the count of bad calls, or nothing is. Which alerts must fire at the end
is reckoned here from the shares that are planted, and held against what Prometheus says. So a bound
or a window that moved is noticed, and so is a condition that was lost.

Not here: causes (`planted`).
"""

from typing import Any, Final

import msgspec

from baseload.render.monitoring import objectives
from baseload.render.monitoring.alerts import Rule, span
from baseload.render.monitoring.objectives import BURNS, FAILURES_MIN, Burn, Promise
from baseload.render.picture import Picture

STEP_S: Final = 120
"""Between samples."""
MANY: Final = 100_000.0
"""Bad calls in the long window."""
BACKENDS: Final = ("a", "b")
"""Each has half of the calls."""
RESTING: Final = 0.2
"""Of the budget that is spent evenly, what goes wrong on quiet days."""
BELOW: Final = 0.92
ABOVE: Final = 1.08
"""Times a bound: on either side of it, further than samples make inexact."""
WORST: Final = 3.0
"""Times the bound of a share, as far as CEILING allows."""
CEILING: Final = 0.99
"""No share of calls that is planted is above it."""

Parts = list[tuple[int, float]]
"""So many samples, one after the other, with such a share of bad calls."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What the windows of one burn have in them at the end."""

    name: str
    long: float
    """Times the bound, the share of the long window."""
    short: float
    """The same, of the short one."""
    bad: float = MANY
    """Calls that went wrong in the long window."""


CASES: Final = (
    Case(name="all bounds are just crossed", long=ABOVE, short=ABOVE, bad=ABOVE * FAILURES_MIN),
    Case(name="the long window is just within bounds", long=BELOW, short=WORST),
    Case(name="the short window is just within bounds", long=ABOVE, short=BELOW),
    Case(name="too few calls", long=ABOVE, short=ABOVE, bad=BELOW * FAILURES_MIN),
)


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """Trouble with one promise, for the time of one long window."""

    promise: Promise
    burn: Burn
    case: Case

    @property
    def parts(self) -> Parts:
        """Give it as shares, sample by sample: quiet, the worst, and what stands at the end."""
        bound = self.burn.threshold(self.promise.budget)
        rest = RESTING * self.promise.budget
        worst = min(WORST * bound, CEILING)
        last = min(self.case.short * bound, CEILING)
        samples = self.burn.long_s // STEP_S
        ends = 2 + self.burn.short_s // STEP_S
        wanted = self.case.long * bound * samples - ends * last - (samples - ends) * rest
        bad = round(wanted / (worst - rest))
        return [(samples - ends - bad, rest), (bad, worst), (ends, last)]

    @property
    def calls(self) -> float:
        """Calls between two samples."""
        return self.case.bad / sum(count * share for count, share in self.parts)

    @property
    def firing(self) -> list[Burn]:
        """What must fire at the end of it."""
        return [burn for burn in BURNS if self._fires(burn)]

    def _fires(self, burn: Burn) -> bool:
        threshold = burn.threshold(self.promise.budget)
        (long, bad), (short, _) = self._last(burn.long_s), self._last(burn.short_s)
        return long > threshold and short > threshold and bad >= FAILURES_MIN

    def _last(self, seconds: float) -> tuple[float, float]:
        """Give the share, and the count, of what went wrong in the last seconds."""
        left, bad, seen = seconds / STEP_S, 0.0, 0.0
        for count, share in reversed(self.parts):
            taken = min(left, count)
            left, seen, bad = left - taken, seen + taken, bad + taken * share
        return bad / seen, bad * self.calls


def suite(picture: Picture) -> Rule:
    """Give the file of tests for the rules about promises."""
    edge = str(objectives.edge_s(picture.deploy.monitoring.first_token_s))
    promises = objectives.promises(picture)
    return {
        "rule_files": ["../rules/objectives.yml"],
        "evaluation_interval": "1h",
        "tests": [
            _group([Burst(promise=each, burn=burn, case=case) for each in promises], edge)
            for burn in BURNS
            for case in CASES
        ],
    }


def _group(bursts: list[Burst], edge: str) -> Rule:
    failed, late = bursts
    planted: dict[str, str] = {}
    for backend in BACKENDS:
        planted |= _calls(failed, backend) | _first_tokens(late, backend, edge)
    return {
        "name": f"{span(failed.burn.long_s)}: {failed.case.name}",
        "interval": span(STEP_S),
        "input_series": [
            {"series": series, "values": values} for series, values in planted.items()
        ],
        "promql_expr_test": [_firing(failed.burn.long_s, bursts)],
    }


def _calls(burst: Burst, backend: str) -> dict[str, str]:
    head = f'baseload_calls_total{{model="m", backend="{backend}", outcome='
    parts, calls = burst.parts, burst.calls / len(BACKENDS)
    return {
        f'{head}"done"}}': _counter([(count, calls * (1 - share)) for count, share in parts]),
        f'{head}"slow"}}': _counter([(count, calls * share) for count, share in parts]),
        # What is the caller's own doing counts neither way, however much of it there is.
        f'{head}"rejected"}}': _counter([(count, calls * 5) for count, _ in parts]),
        f'{head}"gone"}}': _counter([(count, calls) for count, _ in parts]),
    }


def _first_tokens(burst: Burst, backend: str, edge: str) -> dict[str, str]:
    head, labels = "baseload_first_token_seconds", f'model="m", backend="{backend}"'
    parts, calls = burst.parts, burst.calls / len(BACKENDS)
    all_of_them = _counter([(count, calls) for count, _ in parts])
    in_time = [(count, calls * (1 - share)) for count, share in parts]
    return {
        f"{head}_count{{{labels}}}": all_of_them,
        f'{head}_bucket{{{labels}, le="+Inf"}}': all_of_them,
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
    labels = "alertname, severity, window, model"
    return {
        "expr": f'count by ({labels}) (ALERTS{{alertstate="firing"}})',
        "eval_time": span(at_s),
        "exp_samples": [
            {
                "labels": f'{{alertname="{burst.promise.alert}", severity="{burn.severity}", '
                f'window="{span(burn.long_s)}", model="m"}}',
                "value": 1,
            }
            for burst in bursts
            for burn in burst.firing
        ],
    }
