"""`python -m dashboards`: write the boards' JSON into the package."""

import json
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.backend import backend
from dashboards.cost import cost
from dashboards.engines import engines
from dashboards.overview import overview

FOLDER = Path(__file__).parent.parent / "src/baseload/render/monitoring/dashboards"
BOARDS = {"overview": overview, "backend": backend, "cost": cost, "engines": engines}
INTERVALS_ONLY = ("auto", "auto_count", "auto_min")
"""What the SDK writes of every variable, and newer Grafanas know of intervals only."""


def texts() -> dict[str, str]:
    """Give each board's JSON by the name of its file."""
    return {f"{name}.json": _json(made()) for name, made in BOARDS.items()}


def _json(made: Dashboard) -> str:
    board = json.loads(JSONEncoder().encode(made.build()))
    for variable in board["templating"]["list"]:
        for field in INTERVALS_ONLY:
            variable.pop(field, None)
    return json.dumps(board, sort_keys=True, indent=2) + "\n"


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text, "utf-8")
