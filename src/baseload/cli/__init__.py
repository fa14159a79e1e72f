"""The command line: one module a verb, put together here."""

from typing import Annotated

import typer

from baseload import __version__
from baseload.cli.ask import ask
from baseload.cli.audit import audit
from baseload.cli.backends import backends
from baseload.cli.catalog import catalog
from baseload.cli.check import check
from baseload.cli.init import init
from baseload.cli.keys import keys
from baseload.cli.plan import plan
from baseload.cli.reload import reload
from baseload.cli.replay import replay
from baseload.cli.restart import restart
from baseload.cli.schema import schema
from baseload.cli.status import status
from baseload.cli.up import up
from baseload.cli.usage import usage

app = typer.Typer(
    name="baseload",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"baseload {__version__}")
        raise typer.Exit


@app.callback()
def baseload(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Keep DeepSeek-class models answering when the provider's servers are busy."""


VERBS = (
    up, reload, restart, check, init, schema, status, backends, usage, audit, ask, replay,
)  # fmt: skip
for verb in VERBS:
    app.command()(verb)
app.add_typer(keys, name="keys")
app.add_typer(catalog, name="catalog")
app.add_typer(plan, name="plan")


def main() -> None:
    """Run the command line."""
    app()
