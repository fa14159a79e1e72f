"""What can go wrong with the gateway itself, with what it writes, and with who watches it.

Callers notice little of a ledger that cannot be written or of limits that are not shared; the
people who run the fleet do, later. So these are tickets, until something is lost for good.

Not here: backends and refusals (`service`), engines (`enginerules`).
"""

from typing import Final

from baseload.render.monitoring.alerts import Alert, Rule, Severity, group, number
from baseload.render.picture import Picture

Steps = tuple[tuple[Severity, float], ...]
"""From which value on who is told."""

MINUTE_S: Final = 60
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
LAG_MAX_S: Final = 0.1
WAITING_ROWS_MAX: Final = 10_000
"""Of the ledger; 200,000 are kept before the first is lost."""
CONNECTIONS: Final[Steps] = (("ticket", 0.8), ("page", 0.95))
CERTIFICATE_DAYS: Final[Steps] = (("ticket", 14), ("page", 3))
BUDGET_USED_MAX: Final = 0.8
OURS: Final = '{rule_group=~".*;baseload-.*"}'
"""Groups of these files, in a Prometheus that has other people's, too."""
REMEMBERED_DAYS: Final = 7
"""How long the last backup is remembered, once nobody tells of it any more."""


def gateways(picture: Picture) -> int:
    """Give how many gateways there are at least, in every cluster."""
    usual = picture.deploy.gateway.replicas
    return min([usual, *(site.replicas or usual for site in picture.deploy.sites.values())])


def alerts(picture: Picture) -> list[Alert]:
    """Give the alerts about the gateway."""
    return [
        *_presence(gateways(picture)), *_ledger(), *_shared(picture), *_busy(picture),
        *_certificate(picture), *_budgets(), *_backups(picture),
    ]  # fmt: skip


def groups(picture: Picture) -> list[Rule]:
    """Give them as rules."""
    rules = (alert.rule for alert in alerts(picture))
    watch = (alert.rule for alert in watchers())
    return [group("baseload-gateway", rules), group("baseload-watchers", watch)]


def _presence(replicas: int) -> list[Alert]:
    # The stack on somebody's desk has one gateway, whatever the fleet has.
    there = 'sum(up{job="baseload", stack!="local"})'
    down = Alert(
        name="GatewaysAreDown",
        expr='(sum(up{job="baseload"}) or vector(0)) == 0',
        severity="page",
        for_s=MINUTE_S,
        summary="No gateway answers",
        description="Prometheus has reached no gateway for a minute. Callers most likely reach "
        "none either.",
    )
    fewer = Alert(
        name="GatewaysAreMissing",
        expr=f"{there} < {replicas} and {there} > 0",
        severity="ticket",
        for_s=10 * MINUTE_S,
        summary="Fewer gateways run than should",
        description=f'{{{{ $value | printf "%.0f" }}}} of {replicas} gateways have answered for '
        "ten minutes. The others carry their calls.",
    )
    return [down, fewer] if replicas > 1 else [down]


def _ledger() -> list[Alert]:
    return [
        Alert(
            name="LedgerCannotBeWritten",
            expr="max without (worker) (baseload_ledger_failing) == 1",
            severity="ticket",
            for_s=MINUTE_S,
            summary="The ledger of {{ $labels.instance }} cannot be written",
            description="Calls go on, and their rows wait in memory, up to 200,000 of them. They "
            "are lost if the process ends before the database is back.",
        ),
        Alert(
            name="LedgerIsBehind",
            expr="sum without (worker) (baseload_ledger_waiting_rows) "
            f"> {WAITING_ROWS_MAX}",
            severity="ticket",
            for_s=5 * MINUTE_S,
            summary="The ledger of {{ $labels.instance }} is behind",
            description='{{ $value | printf "%.0f" }} calls wait to be written: the database is '
            "too slow.",
        ),
        Alert(
            name="LedgerLosesRows",
            expr="sum without (worker) (increase(baseload_ledger_lost_rows_total[15m])) > 0",
            severity="page",
            summary="The ledger of {{ $labels.instance }} loses calls",
            description='{{ $value | printf "%.0f" }} calls of the last quarter of an hour will '
            "never be in the ledger: what they cost is in no bill and no budget.",
        ),
    ]  # fmt: skip


def _shared(picture: Picture) -> list[Alert]:
    if picture.fleet.store.counters.startswith("memory:"):
        return []
    return [
        Alert(
            name="LimitsAreNotShared",
            expr="min without (worker) (baseload_limits_shared) == 0",
            severity="ticket",
            for_s=5 * MINUTE_S,
            summary="{{ $labels.instance }} counts limits alone",
            description="Redis has been late or away for five minutes, so each gateway goes by "
            "its share of every limit, and may refuse a key early.",
        )
    ]


def _busy(picture: Picture) -> list[Alert]:
    most = picture.fleet.inbound.connections
    late = Alert(
        name="EventLoopIsLate",
        expr='max without (worker) (baseload_loop_lag_seconds{which="max"}) '
        f"> {number(LAG_MAX_S)}",
        severity="ticket",
        for_s=10 * MINUTE_S,
        summary="The gateway {{ $labels.instance }} is too busy",
        description="Its event loop is up to {{ $value | humanizeDuration }} late, which every "
        "token waits for: one process is too few.",
    )  # fmt: skip
    near = [
        Alert(
            name="ConnectionsAreNearTheirEnd",
            # Each worker has as many of its own.
            expr=f"max without (worker) (baseload_connections) > {number(share * most)}",
            severity=severity,
            for_s=5 * MINUTE_S,
            summary="The gateway {{ $labels.instance }} has few connections left",
            description=f'{{{{ $value | printf "%.0f" }}}} of {most} connections are open. Above '
            "that, new callers are turned away.",
        )
        for severity, share in CONNECTIONS
    ]
    return [late, *near]


def _certificate(picture: Picture) -> list[Alert]:
    if picture.fleet.tls is None:
        return []
    return [
        Alert(
            name="CertificateEnds",
            expr="min without (worker) (baseload_certificate_expires_seconds) - time() "
            f"< {number(days * DAY_S)}",
            severity=severity,
            for_s=10 * MINUTE_S,
            summary="The certificate of {{ $labels.instance }} ends soon",
            description="It ends in {{ $value | humanizeDuration }}; then callers refuse to "
            "connect. A new one is shown after a reload.",
        )
        for severity, days in CERTIFICATE_DAYS
    ]


def _budgets() -> list[Alert]:
    """Always there: most keys are in the database, and the fleet file does not show theirs.

    Nobody is woken: that a budget ends is what it is for.
    """
    return [
        Alert(
            name="BudgetIsNearItsEnd",
            expr=f"max by (limit) (baseload_budget_used_ratio) > {number(BUDGET_USED_MAX)}",
            severity="ticket",
            for_s=5 * MINUTE_S,
            summary="A budget ({{ $labels.limit }}) is nearly used up",
            description="{{ $value | humanizePercentage }} of a key's or model's budget is used. "
            "At 100 % its calls are refused until the day or month is over.",
        )
    ]


def _backups(picture: Picture) -> list[Alert]:
    """Give an alert that is heard only once a backup was seen.

    A fleet without backups has nothing that grows old. The last one is remembered, so that a job
    that vanishes does not take its alert along.
    """
    oldest_h = picture.deploy.monitoring.backup_max_h
    days = max(REMEMBERED_DAYS, round(oldest_h / 24 * 4))
    last = f"max(max_over_time(baseload_backup_last_success_seconds[{days}d]))"
    return [
        Alert(
            name="BackupIsTooOld",
            expr=f"time() - {last} > {number(oldest_h * HOUR_S)}",
            severity="ticket",
            for_s=10 * MINUTE_S,
            summary="The last backup is too old",
            description="It was made {{ $value | humanizeDuration }} ago; at most "
            f"{number(oldest_h)} h are meant.",
        )
    ]


def watchers() -> list[Alert]:
    """Give the alerts about who watches, and the one that always fires."""
    return [
        Alert(
            name="Watchdog",
            expr="vector(1)",
            severity="none",
            summary="Alerting works",
            description="This always fires. Whoever expects it and hears nothing knows that "
            "Prometheus, Alertmanager or the way between them is broken.",
        ),
        Alert(
            name="RulesFail",
            expr="sum without (rule_group) "
            f"(increase(prometheus_rule_evaluation_failures_total{OURS}[15m])) > 0",
            severity="ticket",
            for_s=5 * MINUTE_S,
            summary="Prometheus cannot work out its rules",
            description='{{ $value | printf "%.0f" }} evaluations failed in a quarter of an hour, '
            "so alerts may be silent.",
        ),
        Alert(
            name="ConfigurationIsOld",
            expr="min by (job) (prometheus_config_last_reload_successful or "
            "alertmanager_config_last_reload_successful) == 0",
            severity="ticket",
            for_s=10 * MINUTE_S,
            summary="{{ $labels.job }} could not read its configuration again",
            description="It goes on with the old one, and with the old rules.",
        ),
        Alert(
            name="AlertsAreNotSent",
            expr="increase(prometheus_notifications_dropped_total[15m]) > 0\n"
            "or sum by (integration) "
            "(increase(alertmanager_notifications_failed_total[15m])) > 0",
            severity="ticket",
            for_s=5 * MINUTE_S,
            summary="Alerts do not reach anybody",
            description='{{ $value | printf "%.0f" }} notifications were lost in a quarter of an '
            "hour, on the way to Alertmanager or from there to a receiver.",
        ),
    ]
