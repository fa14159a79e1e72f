"""Files that say what output looks like; `BASELOAD_UPDATE_GOLDEN=1` writes them anew."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def golden(name: str, actual: str) -> str:
    """Give what a golden file says; write it first if that is wanted."""
    path = FOLDER / name
    if os.environ.get("BASELOAD_UPDATE_GOLDEN") == "1":
        FOLDER.mkdir(exist_ok=True)
        path.write_text(actual, "utf-8")
    return path.read_text("utf-8")
