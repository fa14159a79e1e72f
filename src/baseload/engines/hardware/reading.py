"""How is a small file or a tool's answer read, of which any may be missing?

What is not there is None: a machine without a sensor is no error.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path("/")
TOOL_S_MAX = 10.0
"""How long a vendor's tool may take: `nvidia-smi` needs seconds where a driver has to wake up."""
TEXT_BYTES_MAX = 4_000_000
"""`/proc/cpuinfo` of 512 threads is some 800 kB."""


def text(path: Path) -> str | None:
    """Give a file's text without the white space around it; None if it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(TEXT_BYTES_MAX).strip().strip("\0")
    except OSError:
        return None


def number(path: Path) -> int | None:
    """Give the whole number that is a file's text; None if there is none."""
    return whole(text(path))


def whole(word: object) -> int | None:
    """Give a whole number, also out of text; None for `N/A`, `[Not Supported]` and the like."""
    value = real(word)
    return None if value is None else int(value)


def real(word: object) -> float | None:
    """Give a number, also out of text; None for what is none."""
    try:
        return float(str(word).strip())
    except ValueError:
        return None


def numbered(folder: Path, pattern: str) -> list[Path]:
    """Give what is in a folder by a pattern with one number in it, in the order of the numbers."""
    found = (
        (int(match[1]), path)
        for path in _listed(folder)
        if (match := re.fullmatch(pattern, path.name))
    )
    return [path for _, path in sorted(found)]


def ask_tool(*command: str) -> str | None:
    """Run a tool that is on PATH; give what it prints, None if it is not there or fails."""
    if shutil.which(command[0]) is None:
        return None
    return _run(command)


def _run(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - a list of words, none of them a caller's
            command, capture_output=True, timeout=TOOL_S_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
