"""Who of an engine is still there, and how is every one of them ended?

An engine's children may outlive it: vLLM's cores hold a GPU's memory after the server that started
them is gone. All that an engine starts inherits a mark in its environment, and stays in its session
unless it takes care not to; whoever has one of the two is of that engine. Linux shows both in
`/proc`. Elsewhere there is only the process group, which is ended as a whole.

One that is dying loses its environment before it closes its files and the GPU with them, so who
once was of an engine is remembered until it is really gone.
"""

import contextlib
import os
import signal
from pathlib import Path

PROC = Path("/proc")
MARK = "BASELOAD_ENGINE_LIFE"
"""Variable that holds one life's own mark."""
_SESSION_FIELD, _BEGAN_FIELD = 3, 19
"""Of those behind the name in `/proc/PID/stat`: state, parent, group, session, …, start time."""


class Life:
    """The processes of one life of an engine, by their session's leader and their mark."""

    def __init__(self, leader: int, mark: str) -> None:
        self._leader = leader
        self._wanted = f"{MARK}={mark}".encode()
        self._known: dict[int, str] = {}
        """When each of those that were found had begun: numbers are used again."""

    def members(self) -> list[int]:
        """Give those that still run; those dead but not yet buried do not."""
        pids = ((int(folder.name), folder) for folder in PROC.glob("[0-9]*"))
        return [pid for pid, folder in pids if pid != os.getpid() and self._is_one(pid, folder)]

    def kill(self) -> list[int]:
        """Send SIGKILL to all that still run; give those that were there."""
        found = self.members()
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return found

    def _is_one(self, pid: int, folder: Path) -> bool:
        try:
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] in "ZX":
                return False
            began = fields[_BEGAN_FIELD]
            if self._known.get(pid) == began:
                return True
            is_one = int(fields[_SESSION_FIELD]) == self._leader or (
                self._wanted in (folder / "environ").read_bytes().split(b"\0")
            )
        except (OSError, IndexError, ValueError):
            return False  # It has gone meanwhile, or is somebody else's.
        if is_one:
            self._known[pid] = began
        return is_one
