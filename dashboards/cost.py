"""Who uses how much, what does it cost, is it written down? Keys are named in the ledger only."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.panels import board, choice, line, number, row

HERE = 'model=~"$model"'


def cost() -> Dashboard:
    """Give the board."""
    made = board(
        "baseload-cost", "Baseload: tenants and cost",
        "Tokens, money and limits. No metric has a key's name: `baseload usage` tells who it was.",
        [choice("model", "Model", "label_values(baseload_calls_total, model)", is_multi=True)],
    )  # fmt: skip
    _numbers(made)
    made.with_row(row("Money and tokens"))
    made.with_panel(line(
        "US dollars an hour", "At the prices that the gateway knows; calls without a known price "
        "cost nothing here.", "currencyUSD",
        ((f"sum by (model, backend) (rate(baseload_cost_usd_total{{{HERE}}}[$__rate_interval]))"
         " * 3600"), "{{model}} at {{backend}}"), is_stacked=True,
    ))  # fmt: skip
    made.with_panel(line(
        "Tokens a second", "Prompts' and answers', in answers that ended.", "short",
        (f"sum by (kind) (rate(baseload_tokens_total{{{HERE}}}[$__rate_interval]))", "{{kind}}"),
        is_stacked=True,
    ))  # fmt: skip
    made.with_panel(line(
        "Calls a second", "That ended, by model.", "reqps",
        (f"sum by (model) (rate(baseload_calls_total{{{HERE}}}[$__rate_interval]))", "{{model}}"),
        is_stacked=True,
    ))  # fmt: skip
    made.with_row(row("Limits"))
    made.with_panel(line(
        "The budget that is used most", "Of any key or model, by kind of budget: 1 is all of it.",
        "percentunit", ("max by (limit) (baseload_budget_used_ratio)", "{{limit}}"),
    ))  # fmt: skip
    made.with_panel(line(
        "Refused by a limit", "Calls a second by the limit of their key or model.", "reqps",
        ("sum by (limit) (rate(baseload_limited_calls_total[$__rate_interval]))", "{{limit}}"),
        is_stacked=True,
    ))  # fmt: skip
    made.with_panel(line(
        "Keys and names that are wrong", "401: a key that is over; 404: a model spelt wrong.",
        "reqps", ("sum by (status) (rate(baseload_bad_requests_total[$__rate_interval]))",
                  "{{status}}"), is_stacked=True,
    ))  # fmt: skip
    _ledger(made)
    return made


def _numbers(made: Dashboard) -> None:
    spent = f"sum(increase(baseload_cost_usd_total{{{HERE}}}[$__range]))"
    tokens = f"sum(increase(baseload_tokens_total{{{HERE}}}[$__range]))"
    for panel in (
        number("Cost", "In the time that is shown.", "currencyUSD", (spent, "cost"),
               steps=[(None, "blue")], decimals=4, span=6),
        number("Cost of a million tokens", "In the time that is shown.", "currencyUSD",
               (f"{spent} / ({tokens} > 0) * 1e6", "cost"), steps=[(None, "blue")], decimals=3,
               span=6),
        number("Tokens", "In the time that is shown.", "short", (tokens, "tokens"),
               steps=[(None, "blue")], span=6),
        number("Budget used, worst", "Of any key or model.", "percentunit",
               ("max(baseload_budget_used_ratio)", "used"),
               steps=[(None, "green"), (0.8, "orange"), (0.95, "red")], span=6),
    ):  # fmt: skip
        made.with_panel(panel)


def _ledger(made: Dashboard) -> None:
    made.with_row(row("Is it written down"))
    made.with_panel(line(
        "Ledger", "Rows a second. Lost rows are calls that nobody will be billed for.", "cps",
        ("sum(rate(baseload_ledger_written_rows_total[$__rate_interval]))", "written"),
        ("sum(rate(baseload_ledger_lost_rows_total[$__rate_interval]))", "lost"),
    ))  # fmt: skip
    made.with_panel(line(
        "Rows that wait", "If it grows, the database is too slow.", "short",
        ("sum(baseload_ledger_waiting_rows)", "waiting"),
        ("max(baseload_ledger_failing)", "1 while it cannot be written"),
    ))  # fmt: skip
    made.with_panel(line(
        "Batches", "Requests of batches that are out, and how many may be.", "short",
        ("sum(baseload_batches_running)", "running"),
        ("sum(baseload_batch_lines_in_flight)", "requests out"),
        ("sum(baseload_batch_room)", "room"),
    ))  # fmt: skip
