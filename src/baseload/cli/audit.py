"""`baseload audit`: who changed what on the operator's port?"""

import time
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from baseload.cli.admin_client import AdminClient, Token, Url
from baseload.cli.common import Config


def audit(
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1000, help="Rows at most, newest first.")
    ] = 20,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the data as it comes.")] = False,
) -> None:
    """Show the newest changes that operators made, refused ones included.

    Exits with 0, or with 1 if nobody answers.

    Example: baseload audit -n 50
    """
    body = AdminClient(config, url, token).get(f"/api/v1/audit?limit={limit}")
    if as_json:
        typer.echo(body)
        return
    table = Table(
        "when (UTC)", "who", "action", "on", "change", "result",
        box=None, pad_edge=False,
    )  # fmt: skip
    for row in msgspec.json.decode(body)["changes"]:
        table.add_row(*(escape(cell) for cell in _cells(row)))
    Console().print(table)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row["at"]))
    change = " → ".join(part for part in (row["was"], row["became"]) if part)
    return (
        when,
        f"{row['who']} {row['address']}",
        row["action"],
        row["target"],
        change,
        row["result"],
    )
