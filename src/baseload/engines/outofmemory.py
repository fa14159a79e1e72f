"""Did an engine die for lack of memory, by its own words or by the kernel's count?

The words are those of vLLM, SGLang, PyTorch and llama.cpp. The kernel says nothing to the one it
kills, but counts its kills in the control group: a death that we did not bring about, while that
count rose, is one of them. Where no control group tells, the machine's own count must do. Then some
other program's end may be taken for ours, which costs one step down the ladder.
"""

import re
from pathlib import Path

from baseload.engines.kinds.ladder import Shortage, Sign

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")

WORDS: tuple[tuple[Shortage, re.Pattern[str]], ...] = (
    ("weights", re.compile(r"Not enough memory\. Please try to increase --mem-fraction-static")),
    ("weights", re.compile(r"Loaded weights leave no GPU memory for the KV cache")),
    ("kv", re.compile(r"larger than the available KV cache memory")),
    ("cache", re.compile(r"No available memory for the cache blocks")),
    ("gpu", re.compile(r"(?:CUDA|HIP|XPU) out of memory|CUDA error: out of memory")),
    (
        "taken",
        re.compile(r"Free memory on device .{0,80}is less than desired GPU memory utilization"),
    ),
    ("gpu", re.compile(r"(?:cuda|hip)Malloc failed: out of memory")),
    (
        "host",
        re.compile(r"failed to allocate|unable to allocate|std::bad_alloc|Cannot allocate memory"),
    ),
    ("host", re.compile(r"^MemoryError\b|DefaultCPUAllocator: can't allocate memory")),
)
_LONGEST = re.compile(r"estimated maximum model length is (\d{1,8})")
_FREE = re.compile(r"Free memory on device .{0,40}\(([\d.]{1,8})/([\d.]{1,8}) GiB\)")


def sign_in(line: str) -> Sign | None:
    """Give what one line tells of a shortage of memory; None if it tells of none."""
    for shortage, pattern in WORDS:
        if pattern.search(line):
            longest = _LONGEST.search(line)
            return Sign(shortage, int(longest[1]) if longest else 0, _free_part(line))
    return None


def _free_part(line: str) -> float:
    """Give the part of a GPU that is free, as vLLM says it; 0 if it does not."""
    found = _FREE.search(line)
    try:
        return min(1.0, float(found[1]) / float(found[2])) if found else 0.0
    except (ValueError, ZeroDivisionError):
        return 0.0


def sign_of(
    heard: Sign | None, exit_code: int | None, kills_before: int | None, kills_after: int | None
) -> Sign | None:
    """Judge a death by what was heard, how the process ended, and the kernel's count of kills.

    `exit_code` is negative for a signal, and None if we ended the process ourselves.
    """
    if heard is not None:
        return heard
    has_risen = None not in (kills_before, kills_after) and kills_before != kills_after
    return Sign("host") if has_risen and exit_code not in (None, 0) else None


def oom_kills() -> int | None:
    """Give how many processes the kernel has killed for memory, here; None if it does not say."""
    try:
        groups = (PROC / "self/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        groups = []
    for line in groups:
        _number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "memory":
            places = [CGROUPS / "memory" / path.lstrip("/"), CGROUPS / "memory"]
            found = [_count(place / "memory.oom_control") for place in places]
        elif controllers == "":
            places = [CGROUPS / path.lstrip("/"), CGROUPS]
            found = [_count(place / "memory.events") for place in places]
        else:
            continue
        if counts := [count for count in found if count is not None]:
            return counts[0]
    return _count(PROC / "vmstat")


def _count(path: Path) -> int | None:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.isdigit():
            return int(value)
    return None
