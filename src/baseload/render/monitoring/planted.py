"""What is planted for each alert: values that are just within bounds, and values that are not.

The numbers are derived from the same fleet as the rules. A threshold that moved without its trial
would be noticed, since both sides of it are planted.

Not here: how trials become tests (`trials`), tests of what is promised (`bursts`).
"""

from baseload.render.monitoring import bursts, enginerules, machinery, service
from baseload.render.monitoring.alerts import Rule
from baseload.render.monitoring.trials import Planted, Trial, suite
from baseload.render.picture import Picture

PAGE, TICKET = "page", "ticket"
DAY_S = machinery.DAY_S


def around(picture: Picture) -> tuple[Planted, ...]:
    """Give what is there in every trial: gateways that answer."""
    return tuple(Planted(up, 1, 1) for up in _ups(picture))


def _ups(picture: Picture) -> list[str]:
    return [_gateway("up", number) for number in range(machinery.gateways(picture))]


def _gateway(metric: str, number: int = 0, more: str = "") -> str:
    return f'{metric}{{job="baseload", instance="gateway-{number}"{more}}}'


def _counter(series: str, before: float, after: float) -> Planted:
    return Planted(series, before, after, "counter")


def service_trials(picture: Picture) -> list[Trial]:
    """Give trials of the alerts about service."""
    return [*_unserved(picture), *_backends(), *_queues(picture), *_refusals()]


def _backends() -> list[Trial]:
    attempts = 'baseload_failed_attempts_total{backend="b", fact='
    return [
        _ticket(
            "BackendIsRed",
            Planted('baseload_backend_level{backend="b", worker="0"}', 1, 1),
            Planted('baseload_backend_level{backend="b", worker="1"}', 1, 2),
        ),
        _ticket(
            "BackendIsOut",
            Planted('baseload_backend_up{backend="b", worker="0"}', 0, 0),
            Planted('baseload_backend_up{backend="b", worker="1"}', 1, 0),
        ),
        _ticket(
            "BackendRefusesOurKey",
            _counter(f'{attempts}"busy"}}', 9, 9),
            _counter(f'{attempts}"denied"}}', 0, 1),
        ),
        _ticket(
            "StreamsBreak",
            _counter('baseload_attempts_total{backend="b"}', 100, 100),
            _counter(f'{attempts}"cut"}}', 0.4, 1),
            _counter(f'{attempts}"broken"}}', 0.4, 1),
        ),
    ]


def _queues(picture: Picture) -> list[Trial]:
    queued_s = picture.fleet.overload.queued_s
    name, labels = "baseload_provider_queue_seconds", 'model="m", backend="b"'
    return [
        _ticket(
            "CallsQueueAtProvider",
            Planted('baseload_in_flight{backend="b"}', 100, 100),
            Planted('baseload_provider_queued{backend="b"}', 20, 21),
            # Where there are few calls, all of them may queue.
            Planted('baseload_in_flight{backend="idle"}', 4, 4),
            Planted('baseload_provider_queued{backend="idle"}', 4, 4),
        ),
        _ticket(
            "ProviderQueueIsLong",
            _counter(f'{name}_bucket{{{labels}, le="{queued_s * 0.9}"}}', 10, 0),
            _counter(f'{name}_bucket{{{labels}, le="{queued_s * 2}"}}', 10, 10),
            _counter(f'{name}_bucket{{{labels}, le="+Inf"}}', 10, 10),
            _counter(f"{name}_count{{{labels}}}", 10, 10),
        ),
        _ticket("CallsWaitInLine", Planted('baseload_waiting_calls{model="m"}', 0, 1)),
    ]


def _ticket(alert: str, *planted: Planted) -> Trial:
    return Trial(alert=alert, severity=TICKET, planted=planted)


def _unserved(picture: Picture) -> list[Trial]:
    """Of the first model that has an alert: its backends all go, and others' stay."""
    for names in service.backends_of(picture).values():
        up = 'baseload_backend_up{backend="'
        gone = (Planted(f'{up}{name}", worker="0"}}', 1, 0) for name in names)
        stays = Planted(f'{up}another"}}', 1, 1)
        return [
            Trial(
                alert="ModelHasNoBackend", severity=PAGE, planted=(*gone, stays), loud_min=4
            )
        ]  # fmt: skip
    return []


def _refusals() -> list[Trial]:
    calls = 'baseload_calls_total{model="m", backend="", outcome='
    served = _counter('baseload_calls_total{model="m", backend="b", outcome="done"}', 100, 100)
    return [
        _ticket(
            "CallsAreShed", served,
            _counter(f'{calls}"shed"}}', 0.4, 1), _counter(f'{calls}"expired"}}', 0.4, 1),
        ),
        _ticket(
            "KeysReachTheirLimits", served,
            _counter('baseload_limited_calls_total{limit="rpm"}', 19, 30),
        ),
        _ticket(
            "BudgetStopsCallers",
            _counter('baseload_limited_calls_total{limit="usd_day"}', 0, 1),
        ),
        _ticket(
            "CallsNeedManyAttempts", served,
            _counter('baseload_attempts_total{backend="b"}', 119, 150),
        ),
    ]  # fmt: skip


def gateway_trials(picture: Picture) -> list[Trial]:
    """Give trials of the alerts about the gateway and its watchers."""
    down = Trial(
        alert="GatewaysAreDown",
        severity=PAGE,
        planted=tuple(Planted(up, 1, 0) for up in _ups(picture)),
    )
    fewer = Trial(
        alert="GatewaysAreMissing", severity=TICKET, planted=(Planted(_gateway("up", 0), 1, 0),)
    )
    return [
        down, *([fewer] if machinery.gateways(picture) > 1 else []), *_ledger(), *_shared(picture),
        _ticket(
            "EventLoopIsLate",
            Planted(_gateway("baseload_loop_lag_seconds", more=', which="max"'), 0.09, 0.11),
            Planted(_gateway("baseload_loop_lag_seconds", more=', which="last"'), 9, 9),
        ),
        *_rising(
            "ConnectionsAreNearTheirEnd", _gateway("baseload_connections"),
            [share * picture.fleet.inbound.connections for _, share in machinery.CONNECTIONS],
        ),
        *_certificates(picture),
        *_rising(
            "BudgetIsNearItsEnd", 'baseload_budget_used_ratio{limit="usd_month"}',
            [share for _, share in machinery.BUDGETS],
        ),
        _backup(picture), *_watchers(),
    ]  # fmt: skip


def _ledger() -> list[Trial]:
    lost = Planted(_gateway("baseload_ledger_lost_rows_total"), 0, 1, "counter")
    return [
        _ticket(
            "LedgerCannotBeWritten",
            Planted(_gateway("baseload_ledger_failing", more=', worker="0"'), 0, 0),
            Planted(_gateway("baseload_ledger_failing", more=', worker="1"'), 0, 1),
        ),
        _ticket(
            "LedgerIsBehind", Planted(_gateway("baseload_ledger_waiting_rows"), 10_000, 10_001)
        ),
        Trial(alert="LedgerLosesRows", severity=PAGE, planted=(lost,)),
    ]


def _shared(picture: Picture) -> list[Trial]:
    if picture.fleet.store.counters.startswith("memory:"):
        return []
    return [_ticket("LimitsAreNotShared", Planted(_gateway("baseload_limits_shared"), 1, 0))]


def _rising(alert: str, series: str, thresholds: list[float]) -> list[Trial]:
    """Give trials of a gauge that has a threshold for a ticket, and a higher one for a page."""
    ticket, page = thresholds
    between = (ticket + page) / 2
    both = Trial(
        alert=alert, severity=PAGE, also=((alert, TICKET),),
        planted=(Planted(series, ticket * 0.99, page * 1.01),),
    )  # fmt: skip
    return [_ticket(alert, Planted(series, ticket * 0.99, between)), both]


def _certificates(picture: Picture) -> list[Trial]:
    """Give trials of a certificate's end; the tests' time begins at 0."""
    if picture.fleet.tls is None:
        return []
    series, alert = _gateway("baseload_certificate_expires_seconds"), "CertificateEnds"
    return [
        _ticket(alert, Planted(series, 15 * DAY_S, 13 * DAY_S)),
        Trial(
            alert=alert, severity=PAGE, also=((alert, TICKET),),
            planted=(Planted(series, 15 * DAY_S, 2 * DAY_S),),
        ),
    ]  # fmt: skip


def _backup(picture: Picture) -> Trial:
    """Give a backup that is just young enough until the turn.

    It was made before 1970, as the tests' time begins at 0.
    """
    oldest_s = picture.deploy.monitoring.backup_max_h * machinery.HOUR_S
    begun = -oldest_s + 45 * 60
    return Trial(
        alert="BackupIsTooOld", severity=TICKET, loud_min=30,
        planted=(Planted("baseload_backup_last_success_seconds", begun, begun),),
    )  # fmt: skip


def _watchers() -> list[Trial]:
    job = '{job="prometheus"}'
    return [
        _ticket("RulesFail", _counter(f"prometheus_rule_evaluation_failures_total{job}", 0, 1)),
        _ticket(
            "ConfigurationIsOld", Planted(f"prometheus_config_last_reload_successful{job}", 1, 0)
        ),
        _ticket("AlertsAreNotSent", _counter(f"prometheus_notifications_dropped_total{job}", 0, 1)),
    ]


def engine_trials(picture: Picture) -> list[Trial]:
    """Give trials of the alerts about engines; the names are vLLM's and SGLang's by turns."""
    if not picture.engines:
        return []
    longest_s = max(enginerules.start_max_s(engine) for engine in picture.engines)
    zero = next((engine for engine in picture.engines if engine.said.to_zero), None)
    here = 'job="engines", backend="b", instance="engine-b"'
    loud_min = round(longest_s / 60) + 20
    found = [
        Trial(
            alert="EngineIsDown", severity=TICKET, loud_min=loud_min,
            planted=(Planted(f"up{{{here}}}", 1, 0),),
        ),
        _ticket("EngineCacheIsFull", Planted(f"vllm:kv_cache_usage_perc{{{here}}}", 0.95, 0.96)),
        _ticket("EnginePreempts", _counter(f"vllm:num_preemptions_total{{{here}}}", 5, 7)),
    ]  # fmt: skip
    if zero is not None:
        model = next(m.name for m in picture.fleet.models.values()
                     if any(zero.name in tier for tier in m.tiers))  # fmt: skip
        up = f'up{{job="engines", backend="{zero.name}", instance="engine-0"}}'
        found.append(
            Trial(
                alert="EngineStaysAtZero", severity=PAGE, loud_min=loud_min,
                also=(("EngineIsDown", TICKET),),
                planted=(
                    Planted(f'baseload_waiting_calls{{model="{model}"}}', 3, 3), Planted(up, 1, 0),
                ),
            )
        )  # fmt: skip
    return found


def suites(picture: Picture) -> dict[str, Rule]:
    """Give the files of tests, by the name of the file of rules that each is for."""
    there = around(picture)
    return {
        "objectives": bursts.suite(picture),
        "service": suite("service", service_trials(picture), there),
        "gateway": suite("gateway", gateway_trials(picture), there),
        "engines": suite("engines", engine_trials(picture), there),
    }
