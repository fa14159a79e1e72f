"""`baseload init`: a first fleet file, which works as written and explains every field.

It says the same as no file at all does, so nothing changes until it is edited. What is already
there is never overwritten unless asked for.
"""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from baseload.cli.common import fail
from baseload.config.default import DEEPSEEK_KEY, init_text, wants_deepseek


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path(
        "baseload.yaml"
    ),
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Write a commented fleet file to start from.

    Example: `baseload init fleet.yaml`
    """
    with_deepseek = wants_deepseek(os.environ)
    try:
        with file.open("w" if force else "x", encoding="utf-8") as target:
            target.write(init_text(with_deepseek=with_deepseek))
    except FileExistsError:
        fail(f"{file}: is already there (`--force` overwrites it)")
    except OSError as error:
        fail(f"{file}: cannot be written: {error.strerror}")
    deepseek = f"is in front, with the key in {DEEPSEEK_KEY}"
    if not with_deepseek:
        deepseek = f"is commented out, as {DEEPSEEK_KEY} is not set"
    Console().out(f"{file}: written; DeepSeek's API {deepseek}", highlight=False)
