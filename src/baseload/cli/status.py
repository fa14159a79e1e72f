"""`baseload status`: what is served, and what is wrong, as the running gateway sees it."""

from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from baseload.cli.admin_client import AdminClient, Token, Url
from baseload.cli.common import Config

_COLOURS = {
    "up": "green", "probing": "yellow", "asleep": "yellow", "open": "red", "down": "red",
    "draining": "yellow", "drained": "yellow", "disabled": "yellow",
    "green": "green", "yellow": "yellow", "red": "red",
}  # fmt: skip


def status(
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the data as it comes.")] = False,
) -> None:
    """Show a running gateway's backends and models.

    Exits with 0 if it serves, with 1 if it does not or cannot be asked.

    Example: baseload status --json
    """
    body = AdminClient(config, url, token).get("/status")
    now = msgspec.json.decode(body)
    if as_json:
        typer.echo(body)
    else:
        _draw(now)
    raise typer.Exit(0 if now["state"] == "serving" else 1)


def _draw(now: dict[str, Any]) -> None:
    console = Console()
    console.print(
        f"[bold]{now['state']}[/] at {escape(now['listen'])}, {now['uptime_s']:.0f} s up, "
        f"{now['in_flight']} calls in flight, {now['waiting']} waiting, "
        f"{now['connections']} connections (baseload {now['version']})",
        highlight=False,
    )
    for alarm in now.get("alarms", ()):
        console.print(f"[red]{escape(alarm)}[/]", highlight=False, soft_wrap=True)
    console.print(backends_table(now["backends"]))
    models = Table("model", "served", "tiers", box=None, pad_edge=False)
    for item in now["models"]:
        served = "[green]yes[/]" if item["is_served"] else "[red]no[/]"
        models.add_row(item["name"], served, " → ".join(" | ".join(t) for t in item["tiers"]))
    console.print(models)


def backends_table(items: list[dict[str, Any]]) -> Table:
    """Draw backends as they stand."""
    backends = Table(
        "backend", "state", "load", "calls", "share", "where", "last failure",
        box=None, pad_edge=False,
    )  # fmt: skip
    for item in items:
        failure = item["failure"] or {}
        backends.add_row(
            item["name"],
            f"[{_COLOURS[item['state']]}]{item['state']}[/]",
            f"[{_COLOURS[item['level']]}]{item['level']}[/]"
            + (f" ({item['why']})" if item["why"] else ""),
            f"{item['in_flight']}/{item['limit']}"
            + (f", {item['parked']} queued there" if item["parked"] else ""),
            f"{item['portion']:.0%}",
            escape(item["where"]),
            escape(
                item["order"]
                or (item["engine"] or "" if item["state"] == "down" else failure.get("reason", ""))
            ),
        )
    return backends
