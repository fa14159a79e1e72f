"""What the bench must know of this machine: cores, open files, processes, kernel counters.

Everything here reads Linux's /proc. CPU time that goes into a table is read by the load generator,
at the very ends of its window; what is read here only tells whether other work took part.
"""

import contextlib
import datetime as dt
import os
import platform
import resource
import shutil
import subprocess
import time
from pathlib import Path

FILES_WANTED = 20_000
FILES_NEEDED = 9_000  # 4,000 streams have two ends in a proxy, and there is some slack


class BenchError(Exception):
    """The bench cannot run here; the text says why and what to do."""


def cores() -> tuple[int, int]:
    """Give the core of the proxy under test, and the core of the load and the backend."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError("two cores are needed: one for the proxy, one for load and backend")
    if not shutil.which("taskset"):
        raise BenchError("taskset is needed (Debian package util-linux)")
    return allowed[0], allowed[1]


def raise_file_limit() -> None:
    """Let this process and its children open enough sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, FILES_WANTED)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < FILES_NEEDED:
        raise BenchError(f"{FILES_NEEDED} open files are needed; raise the hard limit (ulimit -Hn)")


def _parents() -> dict[int, int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue  # gone in the meantime
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return parents


def family(pid: int) -> list[int]:
    """List a process and all that descend from it."""
    parents = _parents()
    found = [pid]
    for one in found:  # grows while it is walked: that is the descent
        found += [child for child, parent in parents.items() if parent == one]
    return found


def others_s(cores: tuple[int, int], pids: list[int]) -> float:
    """Give the CPU seconds that these cores have spent on work that is not this run's.

    The kernel counts a core's busy time by sampling, so short windows are coarse: good for telling
    that somebody else compiles here, no more. `pids` are our processes that still run.
    """
    busy = 0
    for line in Path("/proc/stat").read_text().splitlines():
        words = line.split()
        if words[0] in {f"cpu{core}" for core in cores}:
            user, nice, system, _idle, _iowait, *rest = map(int, words[1:9])
            busy += user + nice + system + sum(rest)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = sum(usage.ru_utime + usage.ru_stime for usage in used)
    for pid in pids:
        with contextlib.suppress(OSError):  # it died: the measure says so
            own += time.clock_gettime((~pid << 3) | 2)  # the clock id of a process's CPU time
    return busy / os.sysconf("SC_CLK_TCK") - own


def resident_kb(pids: list[int]) -> int:
    """Sum what the processes hold in memory; pages shared among them count once for each."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total


def listen_counters() -> dict[str, int]:
    """Read how many connections the kernel turned away because a listen queue was full."""
    rows = [
        line.split()
        for line in Path("/proc/net/netstat").read_text().splitlines()
        if line.startswith("TcpExt:")
    ]
    counters = dict(zip(rows[0], rows[1], strict=True))
    return {name: int(counters[name]) for name in ("ListenOverflows", "ListenDrops")}


def first_line(command: list[str]) -> str:
    """Give the first line that a command says of itself, on either stream."""
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else ""


def facts() -> dict[str, str | int]:
    """Say what this machine is, for readers of the results."""
    cpu = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "cpu": cpu,
        "cores": os.cpu_count() or 0,
        "kernel": platform.release(),
        "system": _system(),
        "somaxconn": int(Path("/proc/sys/net/core/somaxconn").read_text()),
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.platform())
    except OSError:
        return platform.platform()
