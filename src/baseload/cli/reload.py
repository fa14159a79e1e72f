"""`baseload reload`: let a running gateway read its fleet file again."""

from typing import Annotated

import msgspec
import typer

from baseload.cli.admin_client import AdminClient, Token, Url
from baseload.cli.common import Config


def reload(
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the data as it comes.")] = False,
) -> None:
    """Let a running gateway read its own fleet file again.

    The gateway reads the file that it was started with; the one here only says where it listens.
    Exits with 0 if the file was sound and is in force, with 1 if nothing was changed.

    Example: baseload reload
    """
    report = AdminClient(config, url, token).post("/api/v1/reload")
    if as_json:
        typer.echo(msgspec.json.encode(report))
        return
    for path in report["changed"]:
        typer.echo(f"changed: {path}")
    for path in report["needs_restart"]:
        typer.echo(f"takes effect at the next start: {path}")
    if not report["changed"] and not report["needs_restart"]:
        typer.echo("nothing has changed")
