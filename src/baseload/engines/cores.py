"""How many cores may this process really use?

llama.cpp's threads wait for each other at every layer, actively. One thread too many, on a core
that a container's quota takes away, slows all the others down. So the count is the smaller of what
the scheduler's mask allows and what the control group pays for.

Only the control group that is mounted at the usual place is asked, which is the process's own
inside a container. Nested groups on a bare host are not searched.
"""

import math
import os
from pathlib import Path

V2_LIMIT = Path("/sys/fs/cgroup/cpu.max")
V1_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
V1_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def usable_cores() -> int:
    """Return the number of cores that this process may keep busy; at least 1."""
    v1 = f"{_text(V1_QUOTA)} {_text(V1_PERIOD)}"
    return min(_mask(), *(quota_cores(limit, _mask()) for limit in (_text(V2_LIMIT), v1)))


def quota_cores(limit: str, otherwise: int) -> int:
    """Return the cores that a limit of the form `quota period` pays for, rounded up.

    `max`, a negative quota, or anything that is no limit gives `otherwise`.
    """
    try:
        quota, period = (int(word) for word in limit.split())
    except ValueError:
        return otherwise
    return max(1, math.ceil(quota / period)) if quota > 0 and period > 0 else otherwise


def _mask() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
