"""What several verbs share: which fleet is meant, and how to end with one clear sentence."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from baseload.config.addresses import parse_address, show_address
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


def fail(text: str, code: int = 1) -> NoReturn:
    """Say what is wrong on stderr, and exit with this code."""
    Console(stderr=True).out(text, highlight=False)
    raise typer.Exit(code)


NOT_SET = "not-set-in-this-environment"
"""Stands for a variable that is not set, where only a running gateway is asked; long enough to be a
token."""


class _AnyVariable(Mapping[str, str]):
    """The environment, with something in place of each variable that is not set."""

    def __getitem__(self, name: str) -> str:
        return os.environ.get(name) or NOT_SET

    def __iter__(self) -> Iterator[str]:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)


def load_fleet_to_ask(config: Path | None) -> Fleet:
    """Give the fleet for a verb that only asks a running gateway: its secrets are not needed."""
    return load_fleet(config, _AnyVariable())[0]


def path_of(config: Path | None) -> Path | None:
    """Give the fleet file that is meant; None for the built-in fleet."""
    return config or (USUAL if USUAL.exists() else None)


def load_fleet(config: Path | None, env: Mapping[str, str] = os.environ) -> tuple[Fleet, str]:
    """Give the fleet that is meant and where it came from; exits with its mistakes."""
    path = path_of(config)
    try:
        if path is None:
            return default_fleet(env), "the built-in fleet"
        return read_fleet(path, env), str(path)
    except FleetFileError as error:
        fail(str(error))


def base_url(address: str, *, is_tls: bool = False) -> str:
    """Give the URL at which this machine reaches something that listens on `address`."""
    host, port = parse_address(address)
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"{'https' if is_tls else 'http'}://{show_address(host, port)}"
