"""`baseload check`: is the fleet file sound? Every mistake at once, each with its place.

Made for a person before a deployment and for a pipeline: mistakes and notes go to stderr, the
verdict to stdout and to the exit code. It reads the file and the environment, and touches nothing
else; whether backends answer is not asked.
"""

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from baseload.config.fleet import Fleet
from baseload.config.notes import notes
from baseload.config.reading import read_fleet
from baseload.errors import FleetFileError


def check(
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="FILE", help="The fleet file.")
    ] = Path("baseload.yaml"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead, mistakes included.")
    ] = False,
) -> None:
    """Name every mistake in the fleet file, with its line and a hint.

    Exits 0 if the file is sound and 1 if it is not.

    Example: `baseload check -c fleet.yaml`
    """
    try:
        fleet = read_fleet(config, os.environ)
    except FleetFileError as error:
        if as_json:
            _say(_json(config, None, error))
        else:
            _say(str(error), to_stderr=True)
        raise typer.Exit(1) from None
    if as_json:
        _say(_json(config, fleet, None))
        return
    for note in notes(fleet):
        _say(f"note: {note}", to_stderr=True)
    _say(f"{config}: {summary(fleet)}: sound")


def summary(fleet: Fleet) -> str:
    """Return how much there is of what, as `2 backends, 1 model`."""
    counts = {"backend": len(fleet.backends), "model": len(fleet.models)}
    return ", ".join(f"{count} {noun}{'s' * (count != 1)}" for noun, count in counts.items())


def _json(config: Path, fleet: Fleet | None, error: FleetFileError | None) -> str:
    answer = {
        "file": str(config),
        "sound": error is None,
        "backends": list(fleet.backends) if fleet else [],
        "models": list(fleet.models) if fleet else [],
        "notes": notes(fleet) if fleet else [],
        "mistakes": error.mistakes if error else [],
    }
    return msgspec.json.format(msgspec.json.encode(answer)).decode()


def _say(text: str, *, to_stderr: bool = False) -> None:
    """Write lines as they are: rich would wrap them, and read a path's `[0]` as markup."""
    Console(stderr=to_stderr).out(text, highlight=False)
