"""Who of an engine is still there, and how is every one of them ended?

An engine's children may outlive it: vLLM's cores hold a GPU's memory after the server that started
them is gone. All that an engine starts inherits a mark in its environment, and stays in its session
unless it takes care not to; whoever has one of the two is of that engine. Linux shows both in
`/proc`. Elsewhere there is only the process group, which is ended as a whole.
"""

import contextlib
import os
import signal
from pathlib import Path

PROC = Path("/proc")
MARK = "BASELOAD_ENGINE_LIFE"
"""Variable that holds one life's own mark."""
_SESSION_FIELD = 3
"""Of those behind the name in `/proc/PID/stat`: state, parent, group, session."""


def members(leader: int, mark: str) -> list[int]:
    """Give the processes of a life that still run; those dead but not yet buried do not."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in PROC.glob("[0-9]*"):
        pid = int(folder.name)
        if pid != os.getpid() and _is_member(folder, leader, wanted):
            found.append(pid)
    return found


def kill(leader: int, mark: str) -> list[int]:
    """Send SIGKILL to all of a life; give those that were there."""
    found = members(leader, mark)
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return found


def _is_member(folder: Path, leader: int, wanted: bytes) -> bool:
    try:
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        if fields[0] in "ZX":
            return False
        if int(fields[_SESSION_FIELD]) == leader:
            return True
        return wanted in (folder / "environ").read_bytes().split(b"\0")
    except (OSError, IndexError, ValueError):
        return False  # It has gone meanwhile, or is somebody else's.
