"""What is planted for each alert: values that are just within bounds, and values that are not.

The numbers are derived from the same fleet as the rules. A threshold that moved without its trial
would be noticed, since both sides of it are planted; so would a label that alerts are grouped by.

Not here: the gateway and engines (`plantedgateway`), how trials become tests (`trials`), tests of
what is promised (`bursts`).
"""

from baseload.render.monitoring import bursts, enginerules, machinery, service
from baseload.render.monitoring.alerts import Rule
from baseload.render.monitoring.plantedgateway import around, engine_trials, gateway_trials
from baseload.render.monitoring.trials import (
    Planted,
    Trial,
    born,
    counter,
    events,
    shares,
    suite,
    ticket,
)
from baseload.render.picture import Picture

OTHER = 'baseload_bad_requests_total{status="404"}'
PAGE, TICKET = "page", "ticket"


def service_trials(picture: Picture) -> list[Trial]:
    """Give trials of the alerts about service."""
    return [
        *_unserved(picture), *_backends(), *_queues(picture), *_waiting(picture), *_refusals()
    ]  # fmt: skip


def _backends() -> list[Trial]:
    failed = 'baseload_failed_attempts_total{backend="b", fact='
    attempts = 'baseload_attempts_total{backend="b", instance='
    up = 'baseload_backend_up{backend="b", worker='
    out = Trial(
        alert="BackendIsOut", severity=TICKET, labels={"backend": "b"}, crosses_min=4,
        planted=(Planted(f'{up}"0"}}', 0, 0), Planted(f'{up}"1"}}', 1, 0)),
    )  # fmt: skip
    return [
        ticket(
            "BackendIsRed",
            Planted('baseload_backend_level{backend="b", worker="0"}', 1, 1),
            Planted('baseload_backend_level{backend="b", worker="1"}', 1, 2),
            backend="b",
        ),
        out,
        events("BackendRefusesOurKey", f'{failed}"denied"}}', window_min=10, backend="b"),
        born("BackendRefusesOurKey", f'{failed}"denied"}}', backend="b"),
        *shares(
            "StreamsBreak", (f'{failed}"cut"}}', f'{failed}"broken"}}'),
            (f'{attempts}"gateway-0"}}', f'{attempts}"gateway-1"}}'),
            share=service.BROKEN_SHARE_MAX, count=service.CALLS_MIN,
            besides=f'{failed}"busy"}}', window_min=15, backend="b",
        ),
    ]  # fmt: skip


def _queues(picture: Picture) -> list[Trial]:
    queued_s = picture.fleet.overload.queued_s
    few = service.CALLS_MIN / 10
    name, labels = "baseload_provider_queue_seconds", 'model="m", backend="b"'

    def queued(flight: float, before: float, after: float) -> Trial:
        here = [f'{{backend="b", instance="gateway-{number}"}}' for number in (0, 1)]
        return ticket(
            "CallsQueueAtProvider",
            *(Planted(f"baseload_in_flight{each}", flight / 2, flight / 2) for each in here),
            *(Planted(f"baseload_provider_queued{each}", before / 2, after / 2) for each in here),
            backend="b",
        )

    def slow(quick_min: float, before_min: float, after_min: float, crosses_min: int = 1) -> Trial:
        """Give calls a minute whose wait is just below what makes red, and others just above it."""
        ends = (quick_min + before_min, after_min)
        return Trial(
            alert="ProviderQueueIsLong", severity=TICKET, labels={"backend": "b"},
            crosses_min=crosses_min, planted=(
            counter(f'{name}_bucket{{{labels}, le="{queued_s * 0.98}"}}', quick_min, 0),
            counter(f'{name}_bucket{{{labels}, le="{queued_s * 1.05}"}}', *ends),
            counter(f'{name}_bucket{{{labels}, le="+Inf"}}', *ends),
            counter(f"{name}_count{{{labels}}}", *ends),
            ),
        )  # fmt: skip

    return [
        queued(100, 19, 21),
        # Where there are few calls, all of them may queue.
        queued(6, service.CALLS_MIN - 0.5, service.CALLS_MIN + 0.5),
        slow(10, 0, 10),
        slow(0, 0.9 * few, 1.1 * few, crosses_min=6),
    ]


def _waiting(picture: Picture) -> list[Trial]:
    return [
        Trial(
            alert="CallsWaitInLine", severity=TICKET, labels={"model": model}, for_s=for_s,
            planted=(
                Planted(f'baseload_waiting_calls{{model="{model}", worker="0"}}', 0, 1),
                Planted(f'baseload_waiting_calls{{model="{model}", worker="1"}}', 0, 0),
            ),
        )
        for model, for_s in {"m": service.WAIT_S, **service.held_s(picture)}.items()
    ]  # fmt: skip


def _unserved(picture: Picture) -> list[Trial]:
    """Give for each model a trial in which all its backends go, and others' stay."""
    backends = service.backends_of(picture)
    up = 'baseload_backend_up{backend="'
    found = []
    for model, names in backends.items():
        also = tuple(
            {"alertname": "ModelHasNoBackend", "severity": PAGE, "model": other}
            for other, its in backends.items() if other != model and set(its) <= set(names)
        )  # fmt: skip
        others = {name for its in backends.values() for name in its} - set(names)
        # BackendIsOut comes for each of them, later.
        planted = (
            *(Planted(f'{up}{name}", worker="0"}}', 1, 0) for name in names),
            *(Planted(f'{up}{name}", worker="0"}}', 1, 1) for name in sorted(others)),
            Planted(f'{up}{names[0]}", worker="1"}}', 0.4, 0.4),
        )
        trial = Trial(
            alert="ModelHasNoBackend", severity=PAGE, labels={"model": model}, crosses_min=2,
            planted=planted, also=also,
        )  # fmt: skip
        found.append(trial)
    return found


def _refusals() -> list[Trial]:
    calls = 'baseload_calls_total{model="m", backend="", outcome='
    done = 'baseload_calls_total{model="m", backend="b", outcome="done", instance='
    served = (f'{done}"gateway-0"}}', f'{done}"gateway-1"}}')
    limited = 'baseload_limited_calls_total{limit="'
    attempts = 'baseload_attempts_total{backend="'
    budget = "BudgetStopsCallers"
    return [
        *shares(
            "CallsAreShed", (f'{calls}"shed"}}', f'{calls}"expired"}}'), served,
            share=service.REFUSED_SHARE_MAX, count=service.CALLS_MIN,
            besides=OTHER, window_min=15, model="m",
        ),
        *shares(
            "KeysReachTheirLimits", (f'{limited}rpm"}}', f'{limited}tpm"}}'), served,
            share=service.LIMITED_SHARE_MAX, count=service.CALLS_MIN,
            besides=OTHER, window_min=30,
        ),
        events(budget, f'{limited}usd_day"}}', window_min=15, limit="usd_day"),
        born(budget, f'{limited}usd_day"}}', limit="usd_day"),
        *shares(
            "CallsNeedManyAttempts", (f'{attempts}b"}}', f'{attempts}c"}}'), served,
            share=service.ATTEMPTS_MAX, count=service.ATTEMPTS_MIN,
            besides=f'{calls}"limited"}}', window_min=15,
        ),
    ]  # fmt: skip


def suites(picture: Picture) -> dict[str, Rule]:
    """Give the files of tests, by the name of the file of rules that each is for."""
    there = around(picture)
    gateway = [*machinery.alerts(picture), *machinery.watchers()]
    return {
        "objectives": bursts.suite(picture),
        "service": suite("service", service.alerts(picture), service_trials(picture), there),
        "gateway": suite("gateway", gateway, gateway_trials(picture), there),
        "engines": suite("engines", enginerules.alerts(picture), engine_trials(picture), there),
    }
