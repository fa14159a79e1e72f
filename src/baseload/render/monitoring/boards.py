"""Grafana's dashboards for a fleet: those that come with the package, with where they came from.

Boards are the same for every fleet, since models and backends are variables in them. They are made
by `make dashboards` from the folder `dashboards/` of the repository, not here.
"""

from importlib import resources
from typing import Any

import msgspec

from baseload.render.files import File, made_by

FOLDER = "grafana/dashboards"
NAMES = ("overview", "backend", "cost", "engines")


def boards(sources: tuple[str, ...]) -> tuple[File, ...]:
    """Give a file for each board; its description says what it was rendered from."""
    folder = resources.files("baseload.render.monitoring").joinpath("dashboards")
    return tuple(
        _board(name, folder.joinpath(f"{name}.json").read_bytes(), sources) for name in NAMES
    )


def _board(name: str, data: bytes, sources: tuple[str, ...]) -> File:
    board: dict[str, Any] = msgspec.json.decode(data)
    board["description"] = f"{board['description']} {made_by(sources)}"
    text = msgspec.json.format(msgspec.json.encode(board)).decode() + "\n"
    return File(path=f"{FOLDER}/{name}.json", text=text)
