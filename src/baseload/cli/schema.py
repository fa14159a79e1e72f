"""`baseload schema`: the fleet file's JSON Schema, for editors that complete and check YAML."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from baseload.cli.common import fail
from baseload.config.schema import fleet_schema


def schema(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there instead.")
    ] = None,
) -> None:
    """Print the JSON Schema of the fleet file, for editors.

    Example: `baseload schema --out baseload.schema.json`

    An editor with a YAML language server then completes a fleet file that begins with
    `# yaml-language-server: $schema=baseload.schema.json`.
    """
    text = msgspec.json.format(msgspec.json.encode(fleet_schema())).decode()
    if out is None:
        Console().out(text, highlight=False)
        return
    try:
        out.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        fail(f"{out}: cannot be written: {error.strerror}")
