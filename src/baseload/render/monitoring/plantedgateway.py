"""What is planted for alerts about the gateway and engines (the others: `planted`)?

Not here: how trials become tests (`trials`).
"""

from baseload.render.monitoring import enginerules, machinery
from baseload.render.monitoring.trials import Planted, Trial, counter, events, stepwise, ticket
from baseload.render.picture import Engine, Picture

PAGE, TICKET = "page", "ticket"
DAY_S = machinery.DAY_S
HERE = {"job": "baseload", "instance": "gateway-0"}


def around(picture: Picture) -> tuple[Planted, ...]:
    """Give what is there in every trial: gateways that answer, and what is none of ours."""
    others = Planted('up{job="others", instance="node-0"}', 1, 1)
    return (*(Planted(up, 1, 1) for up in _ups(picture)), others)


def _ups(picture: Picture) -> list[str]:
    return [_gateway("up", number) for number in range(machinery.gateways(picture))]


def _gateway(metric: str, number: int = 0, more: str = "") -> str:
    return f'{metric}{{job="baseload", instance="gateway-{number}"{more}}}'


def gateway_trials(picture: Picture) -> list[Trial]:
    """Give trials of the alerts about the gateway and its watchers."""
    ups, lag = _ups(picture), "baseload_loop_lag_seconds"
    down = Trial(
        alert="GatewaysAreDown", severity=PAGE, planted=tuple(Planted(up, 1, 0) for up in ups)
    )
    gone = Trial(
        alert="GatewaysAreDown", severity=PAGE,
        planted=tuple(Planted(up, 1, 0, "last") for up in ups),
    )  # fmt: skip
    fewer = ticket("GatewaysAreMissing", Planted(ups[0], 1, 0))
    return [
        down, gone, *([fewer] if len(ups) > 1 else []), *_ledger(), *_shared(picture),
        ticket(
            "EventLoopIsLate",
            Planted(_gateway(lag, more=', which="max", worker="0"'), 0.09, 0.11),
            Planted(_gateway(lag, more=', which="max", worker="1"'), 0.05, 0.05),
            Planted(_gateway(lag, more=', which="last"'), 9, 9), **HERE,
        ),
        *_connections(picture), *_certificates(picture),
        ticket(
            "BudgetIsNearItsEnd",
            Planted('baseload_budget_used_ratio{limit="usd_month", worker="0"}', 0.79, 0.81),
            Planted('baseload_budget_used_ratio{limit="usd_month", worker="1"}', 0.3, 0.3),
            limit="usd_month",
        ),
        _backup(picture), *_watchers(),
    ]  # fmt: skip


def _ledger() -> list[Trial]:
    rows = "baseload_ledger_waiting_rows"
    most = machinery.WAITING_ROWS_MAX
    return [
        ticket(
            "LedgerCannotBeWritten",
            Planted(_gateway("baseload_ledger_failing", more=', worker="0"'), 0, 0),
            Planted(_gateway("baseload_ledger_failing", more=', worker="1"'), 0, 1),
            **HERE,
        ),
        ticket(
            "LedgerIsBehind",
            Planted(_gateway(rows, more=', worker="0"'), most * 0.49, most * 0.51),
            Planted(_gateway(rows, more=', worker="1"'), most * 0.5, most * 0.5), **HERE,
        ),
        Trial(
            alert="LedgerLosesRows", severity=PAGE, labels=HERE, lasts_min=7,
            planted=(
                Planted(_gateway("baseload_ledger_lost_rows_total", more=', worker="0"'),
                        1, 1, "event"),
                Planted(_gateway("baseload_ledger_lost_rows_total", more=', worker="1"'),
                        1, 0, "event"),
            ),
        ),
    ]  # fmt: skip


def _shared(picture: Picture) -> list[Trial]:
    if picture.fleet.store.counters.startswith("memory:"):
        return []
    shared = "baseload_limits_shared"
    return [
        ticket(
            "LimitsAreNotShared",
            Planted(_gateway(shared, more=', worker="0"'), 1, 1),
            Planted(_gateway(shared, more=', worker="1"'), 1, 0), **HERE,
        )
    ]  # fmt: skip


def _connections(picture: Picture) -> list[Trial]:
    most = picture.fleet.inbound.connections
    low, high = (share * most for _, share in machinery.CONNECTIONS)
    series = [
        (_gateway("baseload_connections", more=f', worker="{number}"'), part)
        for number, part in enumerate((1.0, 0.5))
    ]
    alert = "ConnectionsAreNearTheirEnd"
    return [
        *stepwise(
            alert, series, rest=low * 0.99, ticket_at=low * 1.02, page_at=high * 1.01, **HERE
        ),
        ticket(alert, Planted(series[0][0], low * 0.99, high * 0.99), **HERE),
    ]


def _certificates(picture: Picture) -> list[Trial]:
    """Give trials of a certificate's end; the tests' time begins at 0."""
    if picture.fleet.tls is None:
        return []
    series = [
        (_gateway("baseload_certificate_expires_seconds", more=f', worker="{number}"'), part)
        for number, part in enumerate((1.0, 9.0))
    ]
    low, high = (days * DAY_S for _, days in machinery.CERTIFICATE_DAYS)
    hour_s = machinery.HOUR_S
    return stepwise(
        "CertificateEnds", series, rest=low + 2 * hour_s, ticket_at=high + 2 * hour_s,
        page_at=high - 2 * hour_s, **HERE,
    )  # fmt: skip


def _backup(picture: Picture) -> Trial:
    """Give a backup that is just young enough until the turn.

    It was made before 1970, as the tests' time begins at 0.
    """
    oldest_s = picture.deploy.monitoring.backup_max_h * machinery.HOUR_S
    begun = -oldest_s + 45 * 60
    last = "baseload_backup_last_success_seconds"
    return Trial(
        alert="BackupIsTooOld", severity=TICKET, crosses_min=6,
        planted=(
            Planted(f'{last}{{job="a"}}', begun, begun),
            Planted(f'{last}{{job="b"}}', begun - DAY_S, begun - DAY_S),
        ),
    )  # fmt: skip


def _watchers() -> list[Trial]:
    job, own = 'job="prometheus"', {"job": "prometheus", "instance": "gateway-0"}
    rules = "prometheus_rule_evaluation_failures_total"
    read = "_config_last_reload_successful"
    there = 'job="alertmanager", instance='
    return [
        events(
            "RulesFail", f'{rules}{{{job}, rule_group="/a.yml;baseload-x"}}',
            counter(f'{rules}{{{job}, rule_group="/a.yml;others"}}', 1, 1), window_min=15, **own,
        ),
        ticket(
            "ConfigurationIsOld", Planted(f"prometheus{read}{{{job}}}", 1, 0), job="prometheus"
        ),
        ticket(
            "ConfigurationIsOld", Planted(f'alertmanager{read}{{{there}"a"}}', 1, 0),
            Planted(f'alertmanager{read}{{{there}"b"}}', 1, 1), job="alertmanager",
        ),
        events(
            "AlertsAreNotSent", f"prometheus_notifications_dropped_total{{{job}}}", window_min=15,
            **own,
        ),
        events(
            "AlertsAreNotSent", 'alertmanager_notifications_failed_total{integration="email"}',
            window_min=15, integration="email",
        ),
    ]  # fmt: skip


def engine_trials(picture: Picture) -> list[Trial]:
    """Give trials of the alerts about engines; the names are vLLM's and SGLang's by turns."""
    if not picture.engines:
        return []
    here = ['job="engines", backend="b", instance="engine-0"',
            'job="engines", backend="b", instance="engine-1"']  # fmt: skip
    rate = 60 * enginerules.PREEMPTIONS_MAX
    found = [
        ticket("EngineIsDown", Planted(f"up{{{here[0]}}}", 1, 0), Planted(f"up{{{here[1]}}}", 1, 1),
               Planted(_gateway("up"), 1, 0),
                instance="engine-0", backend="b", job="engines"),
        ticket("EngineCacheIsFull", Planted(f"vllm:kv_cache_usage_perc{{{here[0]}}}", 0.94, 0.96),
                Planted(f"vllm:kv_cache_usage_perc{{{here[1]}}}", 0.1, 0.1), backend="b"),
        ticket("EngineCacheIsFull", Planted(f"sglang:token_usage{{{here[0]}}}", 0.94, 0.96),
                Planted('baseload_engine_kv_used_ratio{backend="b"}', 1, 1), backend="b"),
        ticket("EngineCacheIsFull",
                Planted('baseload_engine_kv_used_ratio{backend="b"}', 0.94, 0.96), backend="b"),
        *(
            Trial(
                alert="EnginePreempts", severity=TICKET, labels={"backend": "b"}, crosses_min=3,
                planted=tuple(
                    counter(f"{name}{{{each}}}", 0.45 * rate, 0.55 * rate) for each in here
                ),
            )
            for name in enginerules.PREEMPTIONS
        ),
    ]  # fmt: skip
    zero = next((engine for engine in picture.engines if engine.said.to_zero), None)
    return [*found, *(_at_zero(picture, zero) if zero else ())]


def _at_zero(picture: Picture, engine: Engine) -> list[Trial]:
    """Of calls that wait all the time, and of some that give up while others come."""
    up = f'up{{job="engines", backend="{engine.name}", instance="engine-0"}}'
    down = {"alertname": "EngineIsDown", "severity": TICKET, "job": "engines",
            "backend": engine.name, "instance": "engine-0"}  # fmt: skip
    waiting = f'baseload_waiting_calls{{model="{enginerules.models_of(picture, engine)[0]}"}}'
    others = Planted('baseload_waiting_calls{model="another"}', 1, 1)
    return [
        Trial(
            alert="EngineStaysAtZero", severity=PAGE, labels={"backend": engine.name},
            planted=planted, lasts_min=3, also=also,
        )
        for planted, also in (
            ((Planted(waiting, 3, 3), Planted(up, 1, 0)), (down,)),
            ((Planted(waiting, 0, 1, "visit"), others), ()),
        )
    ]  # fmt: skip
