"""The real tools that read what is rendered for monitoring, and where they are."""

import os
import subprocess
from pathlib import Path

from baseload.render.monitoring.output import render
from tests.needs import give_up

TOOLS = Path(__file__).parent.parent.parent / ".tools/usr/bin"


def newer(name: str) -> str:
    """Give a tool that `.ci/tools` has unpacked."""
    path = TOOLS / name
    return str(path) if path.exists() else give_up(f"{name}: run .ci/tools")


def written(picture, folder: Path) -> Path:
    """Write the monitoring of a fleet into a folder."""
    for file in render(picture):
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
    return folder


def said(*command, folder: Path, env=None) -> tuple[int, str]:
    """Run a tool; give its exit status, and all that it said."""
    # promtool throws away a storage for each test, and collects garbage all the time.
    quick = {**os.environ, "GOGC": "400"}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, text=True, check=False, env=env or quick,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.returncode, done.stdout
