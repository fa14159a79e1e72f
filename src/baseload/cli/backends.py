"""`baseload backends`: how do the backends stand, and which of them is to be left alone?"""

from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

import msgspec
import typer
from rich.console import Console

from baseload.cli.admin_client import AdminClient, Token, Url
from baseload.cli.common import Config, fail
from baseload.cli.status import backends_table


class Action(StrEnum):
    """What can be done to a backend."""

    DRAIN = "drain"
    DISABLE = "disable"
    ENABLE = "enable"


def backends(
    action: Annotated[
        Action | None,
        typer.Argument(
            help="drain: no new calls; disable: none at all; enable: calls again.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str | None, typer.Argument(help="The backend.", show_default=False)] = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the data as it comes.")] = False,
) -> None:
    """Show a running gateway's backends, or drain, disable or enable one.

    Exits with 0 if that was done, with 1 if it was refused or nobody answers.

    Example: baseload backends drain edge
    """
    client = AdminClient(config, url, token)
    if action is None:
        body = client.get("/api/v1/backends")
        if as_json:
            typer.echo(body)
        else:
            Console().print(backends_table(msgspec.json.decode(body)["backends"]))
        return
    if name is None:
        fail(f"which backend? baseload backends {action} NAME")
    moved = client.post(f"/api/v1/backends/{quote(name, safe='')}/{action}")
    if as_json:
        typer.echo(msgspec.json.encode(moved))
    else:
        typer.echo(f"{moved['backend']}: {moved['is_now']} (it was {moved['was']})")
