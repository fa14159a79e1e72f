"""The command line: one module a verb, put together here."""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from baseload import __version__
from baseload.cli.ask import ask
from baseload.cli.audit import audit
from baseload.cli.backends import backends
from baseload.cli.check import check
from baseload.cli.init import init
from baseload.cli.keys import keys
from baseload.cli.reload import reload
from baseload.cli.replay import replay
from baseload.cli.restart import restart
from baseload.cli.schema import schema
from baseload.cli.status import status
from baseload.cli.up import up
from baseload.cli.usage import usage

PLANNING = ("catalog", "doctor", "engines", "hardware", "plan", "quantize", "render", "weights")


class Verbs(TyperGroup):
    """Loads some verbs only when they are asked for: who serves callers needs none of them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Known by name, so that help, completion and hints have them; found when asked for.
        self.commands.update(dict.fromkeys(PLANNING))  # type: ignore[arg-type]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Give a verb by its name; None if there is none."""
        if cmd_name not in PLANNING:
            return super().get_command(ctx, cmd_name)
        verb = getattr(import_module(f"baseload.cli.{cmd_name}"), cmd_name)
        found = get_group(verb) if verb.registered_callback else get_command(verb)
        found.name = cmd_name
        return found


app = typer.Typer(
    name="baseload",
    cls=Verbs,
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


def main() -> None:
    """Run the command line."""
    app()
