"""Is what callers were promised kept, and how fast is the room for failure used up?

Two promises, for each model: calls do not fail (`availability`), and first tokens come in time
(`first_token_s`, for `first_token_share` of calls). What may go wrong in a month is a budget. An
alert looks at how many times faster than evenly it is spent, over a long window, so that a blip
wakes nobody, and over a short one, so that it is over soon after the trouble is.

| window | spent so many times too fast | so a month's budget lasts | who is told |
| --- | --- | --- | --- |
| 1 h and 5 min | 14.4 | 2 days | page |
| 6 h and 30 min | 6 | 5 days | page |
| 1 d and 2 h | 3 | 10 days | ticket |
| 3 d and 6 h | 1 | 30 days | ticket |

A model whose engines may all be at zero promises nothing about first tokens: its callers wait for
one to come up, and that shall wake nobody.

A call that its caller gave up, that was the caller's own mistake or reached a limit of its key
counts neither way. A few failures among few calls are no trend: FAILURES_MIN must fail in the long
window.

Not here: alerts that name a cause (`service`, `machinery`, `enginerules`).
"""

from typing import Final

import msgspec

from baseload.render.monitoring.alerts import Alert, Rule, Severity, group, number, one_of, span
from baseload.render.picture import Picture

CALLERS: Final = "gone|rejected|limited|postponed"
"""Outcomes that are the caller's own doing, or of batch work that comes back when there is room."""
FAILURES_MIN: Final = 10
"""Calls that must have failed in the long window."""
SHARE_MAX: Final = 0.9
"""No threshold is above it: a lenient promise, times 14.4, would be more than all calls."""
EDGE_FIRST_S: Final = 0.001
EDGES: Final = 20
"""The gateway counts seconds in buckets whose upper edges are EDGE_FIRST_S doubled so often."""
EDGE_SLACK: Final = 1.05
"""An edge that is so little above the promise stands for it; else the next lower one does."""


class Burn(msgspec.Struct, frozen=True, kw_only=True):
    """Two windows, and how fast the budget is spent over both."""

    long_s: int
    short_s: int
    factor: float
    severity: Severity

    def threshold(self, budget: float) -> float:
        """Give the part of calls above which it is."""
        return min(self.factor * budget, SHARE_MAX)


BURNS: Final = (
    Burn(long_s=3_600, short_s=300, factor=14.4, severity="page"),
    Burn(long_s=6 * 3_600, short_s=1_800, factor=6, severity="page"),
    Burn(long_s=86_400, short_s=2 * 3_600, factor=3, severity="ticket"),
    Burn(long_s=3 * 86_400, short_s=6 * 3_600, factor=1, severity="ticket"),
)
WINDOWS_S: Final = tuple(sorted({s for burn in BURNS for s in (burn.long_s, burn.short_s)}))


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What is promised, and the recorded series that say whether it is kept."""

    alert: str
    bad: str
    """`model:BAD:rate5m` is recorded, `model:BAD:ratio_rate5m` too."""
    share: float
    """Of calls for which it is promised."""
    summary: str
    but: str = ""
    """Models for which it is not promised, as a selector of series."""
    what: str
    """What goes wrong with calls, for a sentence that begins with their share."""

    @property
    def budget(self) -> float:
        """The part of calls for which it need not be kept."""
        return 1 - self.share


def edge_s(promised_s: float) -> float:
    """Give the bucket's edge at which a promise about seconds is judged."""
    edges = [EDGE_FIRST_S * 2**power for power in range(EDGES)]
    return max((e for e in edges if e <= promised_s * EDGE_SLACK), default=EDGE_FIRST_S)


def promises(picture: Picture) -> tuple[Promise, Promise]:
    """Give what this fleet promises."""
    said = picture.deploy.monitoring
    return (
        Promise(
            alert="CallersGetErrors", bad="baseload_calls_failed", share=said.availability,
            summary="Callers of {{ $labels.model }} get errors",
            what="of calls fail",
        ),
        Promise(
            alert="FirstTokensAreLate", bad="baseload_first_tokens_late",
            share=said.first_token_share,
            summary="First tokens of {{ $labels.model }} are late",
            but=f"{{model!~{one_of(cold)}}}" if (cold := _cold(picture)) else "",
            what=f"of calls wait longer than {number(edge_s(said.first_token_s))} s "
            "for their first token",
        ),
    )  # fmt: skip


def _cold(picture: Picture) -> list[str]:
    """Give the models that may find all their backends at zero: first tokens then wait for one."""
    zero = {engine.name for engine in picture.engines if engine.said.to_zero}
    return [
        model.name for model in picture.fleet.models.values()
        if all(name in zero for tier in model.tiers for name in tier)
    ]  # fmt: skip


def recorded(picture: Picture) -> list[Rule]:
    """Give the rules that record, for each window, rates and the share that went wrong."""
    edge = str(edge_s(picture.deploy.monitoring.first_token_s))
    return [rule for window_s in WINDOWS_S for rule in _recorded(span(window_s), edge)]


def _recorded(window: str, edge: str) -> list[Rule]:
    calls = "sum by (model) (rate(baseload_calls_total"
    first = "sum by (model) (rate(baseload_first_token_seconds"
    counted = f"model:baseload_calls:rate{window}"
    tokens = f"model:baseload_first_tokens:rate{window}"
    failed, late = "model:baseload_calls_failed", "model:baseload_first_tokens_late"
    rules = {
        counted: f'{calls}{{outcome!~"{CALLERS}"}}[{window}]))',
        f"{failed}:rate{window}": f'{calls}{{outcome!~"done|{CALLERS}"}}[{window}]))\n'
        f"  or 0 * {counted}",
        f"{failed}:ratio_rate{window}": f"{failed}:rate{window} / ({counted} > 0)",
        tokens: f"{first}_count[{window}]))",
        f"{late}:rate{window}": f"clamp_min(\n  {tokens}\n"
        f'  - {first}_bucket{{le="{edge}"}}[{window}])), 0)',
        f"{late}:ratio_rate{window}": f"{late}:rate{window} / ({tokens} > 0)",
    }
    return [{"record": name, "expr": expr} for name, expr in rules.items()]


def alerts(picture: Picture) -> list[Alert]:
    """Give an alert for each promise and pair of windows."""
    return [_alert(promise, burn) for promise in promises(picture) for burn in BURNS]


def _alert(promise: Promise, burn: Burn) -> Alert:
    long, short = span(burn.long_s), span(burn.short_s)
    threshold = number(burn.threshold(promise.budget))
    bad, but = f"model:{promise.bad}", promise.but
    return Alert(
        name=promise.alert,
        expr=f"{bad}:ratio_rate{long}{but} > {threshold}\n"
        f"and {bad}:ratio_rate{short} > {threshold}\n"
        f"and {bad}:rate{long} * {burn.long_s} >= {FAILURES_MIN}",
        severity=burn.severity,
        labels={"window": long},
        summary=promise.summary,
        description=f"{{{{ $value | humanizePercentage }}}} {promise.what}, over the last {long}; "
        f"promised are at most {number(promise.budget * 100)} %. At this pace, what may go wrong "
        f"in 30 days is used up within {number(round(30 / burn.factor, 1))} days.",
    )


def groups(picture: Picture) -> list[Rule]:
    """Give what is recorded and what is told."""
    rules = (alert.rule for alert in alerts(picture))
    return [group("baseload-objectives", [*recorded(picture), *rules])]
