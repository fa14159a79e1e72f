"""How full are the engines? By what they say themselves, whichever kind they are.

The series are those that rules record: all engines of a backend as Prometheus reads their pages,
and where it reads none, what the gateway saw of one.
"""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.panels import board, choice, line, number, row

HERE = 'backend=~"$backend"'
KV_USED = "backend:engine_kv_used_ratio:max"
RUNNING = "backend:engine_running_calls:sum"
WAITING = "backend:engine_waiting_calls:sum"
WATTS = "sum by (backend) (baseload_engine_watts{%s})"
BUSY = "avg by (backend) (baseload_engine_gpu_busy_ratio{%s})"
JOULES = "max by (backend) (baseload_engine_joules_per_token{%s})"
READ = ("vllm:prompt_tokens_total", "sglang:prompt_tokens_total", "llamacpp:prompt_tokens_total")


def engines() -> Dashboard:
    """Give the board."""
    made = board(
        "baseload-engines", "Baseload: engines",
        "Model servers that the fleet has itself: how full, how much, how quick.",
        [choice("backend", "Backend", "label_values(backend:engine_running_calls:sum, backend)",
                is_multi=True)],
    )  # fmt: skip
    for panel in (
        number("Fullest KV cache", "1: no room for another token; calls are put off.",
               "percentunit", (f"max({KV_USED}{{{HERE}}})", "used"),
               steps=[(None, "green"), (0.8, "orange"), (0.95, "red")], span=8),
        number("Running", "Calls that engines work on.", "short",
               (f"sum({RUNNING}{{{HERE}}})", "calls"),
               steps=[(None, "blue")], span=8),
        number("Waiting inside", "Calls that wait in engines: more than a few for long is "
               "too little hardware.", "short",
               (f"sum({WAITING}{{{HERE}}})", "calls"),
               steps=[(None, "green"), (1, "orange"), (20, "red")], span=8),
    ):  # fmt: skip
        made.with_panel(panel)
    made.with_row(row("How full"))
    for title, about, unit, metric in (
        ("KV cache used", "Of the fullest engine, by backend.", "percentunit", KV_USED),
        ("Running calls", "That engines work on, by backend.", "short", RUNNING),
        ("Waiting calls", "Inside engines, by backend.", "short", WAITING),
    ):  # fmt: skip
        made.with_panel(line(title, about, unit, (f"{metric}{{{HERE}}}", "{{backend}}")))
    made.with_row(row("How much"))
    rates = (f"rate({metric}{{{HERE}}}[$__rate_interval])" for metric in READ)
    for title, about, query in (
        ("Tokens written a second", "Of answers, by backend, mean of five minutes.",
         f"backend:engine_tokens:rate5m{{{HERE}}}"),
        ("Prompt tokens read a second", "By backend.", f"sum by (backend) ({' or '.join(rates)})"),
    ):  # fmt: skip
        made.with_panel(line(title, about, "short", (query, "{{backend}}"), span=12))
    made.with_row(row("Power"))
    for title, about, unit, query in (
        ("Watts", "That engines draw, where a sensor tells: their GPUs, or the whole processor.",
         "watt", WATTS),
        ("Joules a token", "Of answers, idle time included, in five minutes.", "joule", JOULES),
        ("GPUs at work", "Part of the time, mean of a backend's GPUs; nothing without a GPU.",
         "percentunit", BUSY),
    ):  # fmt: skip
        made.with_panel(line(title, about, unit, (query % HERE, "{{backend}}")))
    return made
