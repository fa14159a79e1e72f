"""How full are the engines? By what they say themselves, whichever kind they are.

The gateway reads each engine's own page, vLLM's, SGLang's or llama.cpp's, and shows it under one
name; tokens a second come from the engines' pages as Prometheus reads them.
"""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.panels import board, choice, line, number, row

HERE = 'backend=~"$backend"'
WRITTEN = (
    "vllm:generation_tokens_total", "sglang:generation_tokens_total",
    "llamacpp:tokens_predicted_total",
)  # fmt: skip
READ = ("vllm:prompt_tokens_total", "sglang:prompt_tokens_total", "llamacpp:prompt_tokens_total")


def engines() -> Dashboard:
    """Give the board."""
    made = board(
        "baseload-engines", "Baseload: engines",
        "Model servers that the fleet has itself: how full, how much, how quick.",
        [choice("backend", "Backend", "label_values(baseload_engine_running_calls, backend)",
                is_multi=True)],
    )  # fmt: skip
    for panel in (
        number("Fullest KV cache", "1: no room for another token; calls are put off.",
               "percentunit", (f"max(baseload_engine_kv_used_ratio{{{HERE}}})", "used"),
               steps=[(None, "green"), (0.8, "orange"), (0.95, "red")], span=8),
        number("Running", "Calls that engines work on.", "short",
               (f"sum(baseload_engine_running_calls{{{HERE}}})", "calls"),
               steps=[(None, "blue")], span=8),
        number("Waiting inside", "Calls that wait in engines: more than a few for long is "
               "too little hardware.", "short",
               (f"sum(baseload_engine_waiting_calls{{{HERE}}})", "calls"),
               steps=[(None, "green"), (1, "orange"), (20, "red")], span=8),
    ):  # fmt: skip
        made.with_panel(panel)
    made.with_row(row("How full"))
    for title, about, unit, metric in (
        ("KV cache used", "Used share, by backend.", "percentunit",
         "baseload_engine_kv_used_ratio"),
        ("Running calls", "That an engine works on, by backend.", "short",
         "baseload_engine_running_calls"),
        ("Waiting calls", "Inside engines, by backend.", "short",
         "baseload_engine_waiting_calls"),
    ):  # fmt: skip
        query = f"max by (backend) ({metric}{{{HERE}}})"
        made.with_panel(line(title, about, unit, (query, "{{backend}}")))
    made.with_row(row("How much"))
    for title, about, metrics in (
        ("Tokens written a second", "Of answers, by engine.", WRITTEN),
        ("Prompt tokens read a second", "By engine, without what a prefix cache had.", READ),
    ):  # fmt: skip
        made.with_panel(line(title, about, "short", (_rate(metrics), "{{backend}}"), span=12))
    return made


def _rate(metrics: tuple[str, ...]) -> str:
    rates = (f"rate({metric}{{{HERE}}}[$__rate_interval])" for metric in metrics)
    return f"sum by (backend) ({' or '.join(rates)})"
