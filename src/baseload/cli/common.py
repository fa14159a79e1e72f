"""What several verbs share: which fleet is meant, and how to end with one clear sentence."""

import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from baseload.config.addresses import parse_address
from baseload.config.default import default_fleet
from baseload.config.fleet import Fleet
from baseload.config.reading import read_fleet
from baseload.errors import FleetFileError

USUAL = Path("baseload.yaml")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The fleet file. Default: ./baseload.yaml, or the built-in fleet if there is none.",
    ),
]


def fail(text: str) -> NoReturn:
    """Say what is wrong on stderr, and exit with 1."""
    Console(stderr=True).out(text, highlight=False)
    raise typer.Exit(1)


def load_fleet(config: Path | None) -> tuple[Fleet, str]:
    """Give the fleet that is meant and where it came from; exits with its mistakes."""
    path = config or (USUAL if USUAL.exists() else None)
    try:
        if path is None:
            return default_fleet(os.environ), "the built-in fleet"
        return read_fleet(path, os.environ), str(path)
    except FleetFileError as error:
        fail(str(error))


def base_url(address: str, *, is_tls: bool = False) -> str:
    """Give the URL at which this machine reaches something that listens on `address`."""
    host, port = parse_address(address)
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if is_tls else 'http'}://{shown}:{port}"
