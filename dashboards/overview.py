"""How is it going? The first look: what callers feel, and which backend is the reason."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.panels import board, choice, line, number, quantile, row, states

HERE = 'model=~"$model"'
BAD = 'outcome!~"done|gone|rejected|limited|postponed"'
"""What is nobody's fault but ours or a backend's: as the alerts count."""
COUNTED = 'outcome!~"gone|rejected|limited|postponed"'
GOOD_STEPS = [(None, "red"), (0.99, "orange"), (0.999, "green")]
LEVELS = {"0": ("green", "green"), "1": ("yellow", "yellow"), "2": ("red", "red")}


def overview() -> Dashboard:
    """Give the board."""
    made = board(
        "baseload-overview", "Baseload: overview",
        "What callers feel, which backends serve them, and what is done when one fails.",
        [choice("model", "Model", "label_values(baseload_calls_total, model)", is_multi=True)],
    )  # fmt: skip
    _numbers(made)
    _alerts(made)
    _callers(made)
    _backends(made)
    _efforts(made)
    return made


def _numbers(made: Dashboard) -> None:
    calls = f"sum(increase(baseload_calls_total{{{HERE}, {COUNTED}}}[$__range]))"
    bad = f"(sum(increase(baseload_calls_total{{{HERE}, {BAD}}}[$__range])) or vector(0))"
    late = f"max(model:baseload_first_tokens_late:ratio_rate1h{{{HERE}}})"
    for panel in (
        number(
            "Calls that did not fail", "In the time that is shown. Refusals by a key's own limit, "
            "callers' own mistakes and callers that left do not count.", "percentunit",
            (f"1 - {bad} / ({calls} > 0)", "calls"), steps=GOOD_STEPS, decimals=3,
        ),
        number(
            "First tokens in time", "Part of calls of the last hour, by the model that does worst, "
            "whose first token came as the fleet file promises (`first_token_s`).",
            "percentunit", (f"1 - {late}", "calls"),
            steps=[(None, "red"), (0.9, "orange"), (0.95, "green")], decimals=2,
        ),
        number("Calls a second", "Calls that ended.", "reqps",
               (f"sum(rate(baseload_calls_total{{{HERE}}}[$__rate_interval]))", "calls"),
               steps=[(None, "blue")], decimals=2),
        number("In flight", "Calls at backends now.", "short",
               ("sum(baseload_in_flight)", "calls"), steps=[(None, "blue")]),
        number("Waiting", "Calls in the line for a permit, of all models.", "short",
               ("sum(baseload_queue_waiting)", "calls"),
               steps=[(None, "green"), (1, "orange"), (50, "red")]),
        number("Backends that are out", "Down, closed by an operator, or breaker open.", "short",
               ("sum(1 - max by (backend) (baseload_backend_up))", "backends"),
               steps=[(None, "green"), (1, "orange")]),
    ):  # fmt: skip
        made.with_panel(panel)


def _alerts(made: Dashboard) -> None:
    made.with_panel(states(
        "Alerts", "Those that fire, and those that will if it goes on. Runbooks say what to do.",
        ('max by (alertname, alertstate) (ALERTS{severity=~"page|ticket"})',
         "{{alertname}} {{alertstate}}"), {"1": ("so", "orange")},
    ))  # fmt: skip
    made.with_panel(line(
        "Calls that fail, against the promise", "Part of the calls of an hour and of five minutes, "
        "by model, as alerts see it: at 14.4 times what was promised somebody is paged.",
        "percentunit",
        *((f"model:baseload_calls_failed:ratio_rate{window}{{{HERE}}}", f"{{{{model}}}} {window}")
          for window in ("1h", "5m")), span=12,
    ))  # fmt: skip


def _callers(made: Dashboard) -> None:
    made.with_row(row("What callers feel"))
    first = "baseload_first_token_seconds"
    made.with_panel(line(
        "First token", "From arrival, queue and failed attempts included. The edges of the "
        "histogram double, so a quantile is right within a factor of two.", "s",
        *((quantile(share, first, "", HERE), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)),
    ))  # fmt: skip
    made.with_panel(line(
        "Between tokens", "Mean of each streamed call; above 0.1 s people notice.", "s",
        *((quantile(share, "baseload_token_gap_seconds", "", HERE), f"p{share * 100:g}")
          for share in (0.5, 0.95)),
    ))  # fmt: skip
    made.with_panel(line(
        "How calls ended", "Calls a second by outcome.", "reqps",
        (f"sum by (outcome) (rate(baseload_calls_total{{{HERE}}}[$__rate_interval]))",
         "{{outcome}}"), is_stacked=True,
    ))  # fmt: skip
    made.with_panel(line(
        "Waiting, by model", "Calls in the line.", "short",
        (f"sum by (model) (baseload_waiting_calls{{{HERE}}})", "{{model}}"), is_stacked=True,
    ))  # fmt: skip
    made.with_panel(line(
        "Refused before they were calls", "Requests a second by HTTP status.", "reqps",
        ("sum by (status) (rate(baseload_bad_requests_total[$__rate_interval]))", "{{status}}"),
        is_stacked=True,
    ))  # fmt: skip
    made.with_panel(line(
        "Refused by a limit", "Calls a second by the limit of their key or model.", "reqps",
        ("sum by (limit) (rate(baseload_limited_calls_total[$__rate_interval]))", "{{limit}}"),
        is_stacked=True,
    ))  # fmt: skip


def _backends(made: Dashboard) -> None:
    made.with_row(row("Backends"))
    made.with_panel(states(
        "Level", "Red: more than 5 % errors, or slow, or full, by the fleet file's thresholds.",
        ("max by (backend) (baseload_backend_level)", "{{backend}}"), LEVELS,
    ))  # fmt: skip
    made.with_panel(line(
        "In flight", "Permits out, by backend.", "short",
        ("sum by (backend) (baseload_in_flight)", "{{backend}}"), span=12, is_stacked=True,
    ))  # fmt: skip
    made.with_panel(line(
        "Tokens a second", "As backends report them in answers that ended.", "short",
        ("sum by (backend) (rate(baseload_tokens_total[$__rate_interval]))", "{{backend}}"),
        is_stacked=True,
    ))  # fmt: skip
    made.with_panel(line(
        "Failed attempts", "A second, by backend and reason. Callers need not have noticed.",
        "reqps",
        ("sum by (backend, fact) (rate(baseload_failed_attempts_total[$__rate_interval]))",
         "{{backend}} {{fact}}"),
    ))  # fmt: skip
    made.with_panel(line(
        "Part of its share", "What each backend gets now of the share in the fleet file.",
        "percentunit",
        ("min by (backend) (baseload_backend_portion)", "{{backend}}"),
    ))  # fmt: skip


def _efforts(made: Dashboard) -> None:
    made.with_row(row("What it takes, and the gateway itself"))
    efforts = (
        ("baseload_attempts_total", "attempts"), ("baseload_hedges_total", "second attempts"),
        ("baseload_resumes_total", "answers resumed"), ("baseload_shared_calls_total", "shared"),
    )  # fmt: skip
    made.with_panel(line(
        "Efforts", "A second. Attempts above 1.2 for each call: something is wrong.", "reqps",
        *((f"sum(rate({metric}[$__rate_interval]))", name) for metric, name in efforts),
    ))  # fmt: skip
    made.with_panel(line(
        "Event loop", "How late it is; above 0.1 s one process is too few.", "s",
        ("max by (which) (baseload_loop_lag_seconds)", "{{which}}"),
    ))  # fmt: skip
    made.with_panel(line(
        "Connections", "Open connections of callers.", "short",
        ("sum(baseload_connections)", "open"),
    ))  # fmt: skip
