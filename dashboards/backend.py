"""What is the matter with one backend? Its health, its limit, its times, how its attempts end."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.overview import LEVELS
from dashboards.panels import board, choice, line, number, quantile, row, states

HERE = 'backend="$backend"'


def backend() -> Dashboard:
    """Give the board."""
    made = board(
        "baseload-backend", "Baseload: one backend",
        "One backend: whether it may be asked, how much it carries, how quick it is.",
        [choice("backend", "Backend", "label_values(baseload_backend_up, backend)",
                is_multi=False)],
    )  # fmt: skip
    _numbers(made)
    made.with_row(row("How much"))
    made.with_panel(states(
        "Level", "As the gateway sees it.",
        (f"max by (backend) (baseload_backend_level{{{HERE}}})", "{{backend}}"), LEVELS, span=8,
    ))  # fmt: skip
    made.with_panel(line(
        "Calls at once, and the learnt limit", "The limit is learnt from first tokens and "
        "refusals. Far below `concurrency` for an hour: the account allows less.", "short",
        (f"sum(baseload_in_flight{{{HERE}}})", "in flight"),
        (f"sum(baseload_limit{{{HERE}}})", "limit"),
        (f"sum(baseload_provider_queued{{{HERE}}})", "queued at the provider"),
    ))  # fmt: skip
    made.with_panel(line(
        "Outstanding tokens", "What calls in flight are expected to take.", "short",
        (f"sum(baseload_outstanding_tokens{{{HERE}}})", "tokens"),
    ))  # fmt: skip
    _times(made)
    made.with_row(row("How attempts and calls end"))
    made.with_panel(line(
        "Attempts", "A second, and those that were no answer, by reason.", "reqps",
        (f"sum(rate(baseload_attempts_total{{{HERE}}}[$__rate_interval]))", "attempts"),
        (f"sum by (fact) (rate(baseload_failed_attempts_total{{{HERE}}}[$__rate_interval]))",
         "{{fact}}"), span=12,
    ))  # fmt: skip
    made.with_panel(line(
        "Calls that ended here", "A second, by outcome.", "reqps",
        (f"sum by (outcome) (rate(baseload_calls_total{{{HERE}}}[$__rate_interval]))",
         "{{outcome}}"), span=12, is_stacked=True,
    ))  # fmt: skip
    return made


def _numbers(made: Dashboard) -> None:
    good = [(None, "red"), (1, "green")]
    for panel in (
        number("May be asked", "1: up, not closed by an operator, breaker not open.", "short",
               (f"max(baseload_backend_up{{{HERE}}})", "up"), steps=good),
        number("Part of its share", "What it gets of it now.", "percentunit",
               (f"min(baseload_backend_portion{{{HERE}}})", "part"),
               steps=[(None, "red"), (0.5, "orange"), (1, "green")]),
        number("Tokens a second", "Prompts' and answers', of answers that ended.", "short",
               (f"sum(rate(baseload_tokens_total{{{HERE}}}[$__rate_interval]))", "tokens"),
               steps=[(None, "blue")], decimals=0),
        number("Attempts that failed", "Part of attempts, in the time that is shown.",
               "percentunit",
               ((f"(sum(increase(baseload_failed_attempts_total{{{HERE}}}[$__range])) or vector(0))"
                f" / (sum(increase(baseload_attempts_total{{{HERE}}}[$__range])) > 0)"), "part"),
               steps=[(None, "green"), (0.01, "orange"), (0.05, "red")], decimals=2),
        number("First token, p95", "In the last interval.", "s",
               (quantile(0.95, "baseload_first_token_seconds", "", HERE), "p95"),
               steps=[(None, "green"), (4, "orange"), (10, "red")], decimals=2),
        number("Calls a second", "That ended here.", "reqps",
               (f"sum(rate(baseload_calls_total{{{HERE}}}[$__rate_interval]))", "calls"),
               steps=[(None, "blue")], decimals=2),
    ):  # fmt: skip
        made.with_panel(panel)


def _times(made: Dashboard) -> None:
    made.with_row(row("How quick"))
    for title, about, metric in (
        ("First token", "From arrival, of calls that this backend answered.",
         "baseload_first_token_seconds"),
        ("Between tokens", "Mean of each streamed call.", "baseload_token_gap_seconds"),
        ("Whole answers", "It mostly measures how long answers are.", "baseload_call_seconds"),
    ):  # fmt: skip
        made.with_panel(line(title, about, "s", *(
            (quantile(share, metric, "", HERE), f"p{share * 100:g}") for share in (0.5, 0.95)
        )))  # fmt: skip
