"""What can go wrong between callers and answers: backends, the line, refusals, repetition.

Most of it is a ticket, because the gateway goes round it: what callers feel of it is measured by
`objectives`, which wakes somebody. The one page here is a model that nobody can serve.

With `--workers` every metric carries the label `worker`: counters and calls are added up, of
states the worst worker speaks for all. A breaker that is open counts as up while it tries one
call, so whether a backend is asked is averaged over minutes.

Not here: the gateway's own machinery (`machinery`), engines (`enginerules`).
"""

from typing import Final

from baseload.render.monitoring import enginerules
from baseload.render.monitoring.alerts import (
    Alert,
    Rule,
    gained,
    group,
    number,
    one_of,
    quoted,
    untemplated,
)
from baseload.render.picture import Picture

QUEUED_SHARE_MAX: Final = 0.2
"""Of a backend's calls in flight, that may be queued at the provider."""
CALLS_MIN: Final = 5
"""Of what is counted, so many make a trend."""
REFUSED_SHARE_MAX: Final = 0.01
LIMITED_SHARE_MAX: Final = 0.2
ATTEMPTS_MAX: Final = 1.2
"""Attempts for each call."""
BROKEN_SHARE_MAX: Final = 0.01
ATTEMPTS_MIN: Final = 10 * CALLS_MIN
MINUTE_S: Final = 60
WAIT_S: Final = 5.0 * MINUTE_S
"""How long there may be a line without a break."""


def alerts(picture: Picture) -> list[Alert]:
    """Give the alerts about service."""
    return [
        *_unserved(picture), *_backends(), *_queued(picture), *_waiting(picture), *_refused(),
        *_repeated(),
    ]  # fmt: skip


def groups(picture: Picture) -> list[Rule]:
    """Give them as rules."""
    return [group("baseload-service", (alert.rule for alert in alerts(picture)))]


def backends_of(picture: Picture) -> dict[str, tuple[str, ...]]:
    """Give each model's backends. One that is asleep, at zero replicas, counts as up."""
    return {
        model.name: tuple(dict.fromkeys(name for tier in model.tiers for name in tier))
        for model in picture.fleet.models.values()
    }


def _unserved(picture: Picture) -> list[Alert]:
    return [
        Alert(
            name="ModelHasNoBackend",
            expr=f"max(avg_over_time(baseload_backend_up{{backend=~{one_of(names)}}}[2m])) < 0.5",
            severity="page",
            for_s=MINUTE_S,
            labels={"model": untemplated(model)},
            summary=f"Nobody can serve {untemplated(model)}",
            description="For most of two minutes every backend of this model has been down, "
            f"closed by an operator or left alone after failures ({', '.join(names)}). Its callers "
            "are told 503.",
        )
        for model, names in backends_of(picture).items()
    ]


def _backends() -> list[Alert]:
    return [
        Alert(
            name="BackendIsRed",
            expr="max by (backend) (baseload_backend_level) == 2",
            severity="ticket",
            for_s=5 * MINUTE_S,
            summary="Backend {{ $labels.backend }} is red",
            description="It has been overloaded for five minutes, so its calls go elsewhere as "
            "far as there is room.",
        ),
        Alert(
            name="BackendIsOut",
            expr="max by (backend) (avg_over_time(baseload_backend_up[5m])) < 0.5",
            severity="ticket",
            for_s=2 * MINUTE_S,
            summary="Backend {{ $labels.backend }} is out",
            description="For most of five minutes no gateway has asked it: it is down, closed by "
            "an operator, or its breaker opens again and again.",
        ),
        Alert(
            name="BackendRefusesOurKey",
            expr=gained('baseload_failed_attempts_total{fact="denied"}', "backend", "10m"),
            severity="ticket",
            summary="Backend {{ $labels.backend }} refuses our key",
            description='{{ $value | printf "%.0f" }} attempts in ten minutes were refused with '
            "401 or 402: the key is dead, or the account has no balance.",
        ),
        Alert(
            name="StreamsBreak",
            expr="sum by (backend) (rate(baseload_failed_attempts_total"
            '{fact=~"cut|broken"}[15m]))\n'
            "/ sum by (backend) (rate(baseload_attempts_total[15m])) "
            f"> {number(BROKEN_SHARE_MAX)}\n"
            "and sum by (backend) (increase(baseload_failed_attempts_total"
            f'{{fact=~"cut|broken"}}[15m])) >= {CALLS_MIN}',
            severity="ticket",
            for_s=5 * MINUTE_S,
            summary="Streams of backend {{ $labels.backend }} break off",
            description="{{ $value | humanizePercentage }} of its answers broke off after their "
            "first token. They are resumed elsewhere where that can be done; the others end "
            "with an error.",
        ),
    ]


def _queued(picture: Picture) -> list[Alert]:
    longest_s = number(picture.fleet.overload.queued_s)
    return [
        Alert(
            name="CallsQueueAtProvider",
            expr="sum by (backend) (baseload_provider_queued)\n"
            f"/ sum by (backend) (baseload_in_flight) > {number(QUEUED_SHARE_MAX)}\n"
            f"and sum by (backend) (baseload_provider_queued) >= {CALLS_MIN}",
            severity="ticket",
            for_s=5 * MINUTE_S,
            summary="Calls queue at backend {{ $labels.backend }}",
            description="{{ $value | humanizePercentage }} of its calls in flight get signs of "
            "life and no token. This grows before errors come.",
        ),
        Alert(
            name="ProviderQueueIsLong",
            expr="histogram_quantile(0.95, sum by (backend, le) "
            f"(rate(baseload_provider_queue_seconds_bucket[10m]))) > {longest_s}\n"
            "and sum by (backend) (increase(baseload_provider_queue_seconds_count[10m])) "
            f">= {CALLS_MIN}",
            severity="ticket",
            for_s=5 * MINUTE_S,
            summary="The queue at backend {{ $labels.backend }} is long",
            description="Of calls that it queued, one in twenty waited longer than "
            '{{ $value | printf "%.1f" }} s for a token; red is above '
            f"{longest_s} s.",
        ),
    ]


def _waiting(picture: Picture) -> list[Alert]:
    held = held_s(picture)
    but = f"{{model!~{one_of(held)}}}" if held else ""
    waits: list[tuple[str, float, dict[str, str]]] = [
        (but, WAIT_S, {}),
        *(
            (f"{{model={quoted(model)}}}", held[model], {"model": untemplated(model)})
            for model in held
        ),
    ]
    return [
        Alert(
            name="CallsWaitInLine",
            expr=f"sum by (model) (baseload_waiting_calls{chosen}) > 0",
            severity="ticket",
            for_s=for_s,
            labels=labels,
            summary="Calls of {{ $labels.model }} wait in line",
            description='{{ $value | printf "%.0f" }} calls wait for a free backend. At every look '
            f"of {number(for_s / MINUTE_S)} min some did: there is too little capacity.",
        )
        for chosen, for_s, labels in waits
    ]


def held_s(picture: Picture) -> dict[str, float]:
    """Give how long calls may wait of models that may have to wait for an engine to come up."""
    held: dict[str, float] = {}
    for engine in (each for each in picture.engines if each.said.to_zero):
        for model in enginerules.models_of(picture, engine):
            held[model] = max(held.get(model, 0.0), WAIT_S + enginerules.start_max_s(engine))
    return held


def _refused() -> list[Alert]:
    return [
        Alert(
            name="CallsAreShed",
            expr='sum by (model) (rate(baseload_calls_total{outcome=~"shed|expired"}[15m]))\n'
            f"/ sum by (model) (rate(baseload_calls_total[15m])) > {number(REFUSED_SHARE_MAX)}\n"
            'and sum by (model) (increase(baseload_calls_total{outcome=~"shed|expired"}[15m])) '
            f">= {CALLS_MIN}",
            severity="ticket",
            for_s=5 * MINUTE_S,
            summary="Calls of {{ $labels.model }} are refused for want of room",
            description="{{ $value | humanizePercentage }} of calls found the line full or waited "
            "in it too long.",
        ),
        Alert(
            name="KeysReachTheirLimits",
            expr='sum(rate(baseload_limited_calls_total{limit!~"usd_.*"}[30m]))\n'
            f"/ sum(rate(baseload_calls_total[30m])) > {number(LIMITED_SHARE_MAX)}\n"
            'and sum(increase(baseload_limited_calls_total{limit!~"usd_.*"}[30m])) '
            f">= {CALLS_MIN}",
            severity="ticket",
            for_s=15 * MINUTE_S,
            summary="Many calls are refused by limits",
            description="{{ $value | humanizePercentage }} as many calls as were ended reached a "
            "limit of their key or model: somebody sends too much, or a limit is too low.",
        ),
        Alert(
            name="BudgetStopsCallers",
            expr=gained('baseload_limited_calls_total{limit=~"usd_.*"}', "limit", "15m"),
            severity="ticket",
            summary="A budget ({{ $labels.limit }}) is used up",
            description='{{ $value | printf "%.0f" }} calls in a quarter of an hour were refused: '
            "somebody cannot work until the day or month is over.",
        ),
    ]


def _repeated() -> list[Alert]:
    calls = 'sum(rate(baseload_calls_total{backend!=""}[15m]))'
    return [
        Alert(
            name="CallsNeedManyAttempts",
            expr=f"sum(rate(baseload_attempts_total[15m]))\n/ ({calls} > 0) "
            f"> {number(ATTEMPTS_MAX)}\n"
            f"and sum(increase(baseload_attempts_total[15m])) >= {ATTEMPTS_MIN}",
            severity="ticket",
            for_s=10 * MINUTE_S,
            summary="Calls need many attempts",
            description='{{ $value | printf "%.2f" }} requests are sent for each call, so '
            "backends carry that much more than their callers ask for.",
        )
    ]
