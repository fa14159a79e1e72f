"""What processor is there, how much of it may be used, and what can it do that engines need?"""

import re
import sys
from pathlib import Path

from baseload.engines.cores import usable_cores
from baseload.engines.hardware.found import Cpu, Numa
from baseload.engines.hardware.reading import ROOT, ask_tool, number, numbered, text, whole

X86 = (
    "sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
)  # fmt: skip
"""As Linux writes them in `/proc/cpuinfo`; llama.cpp has kernels for each."""
ARM = ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme", "sme2")
PARTS = {
    "0xd0c": "Arm Neoverse N1",
    "0xd40": "Arm Neoverse V1",
    "0xd49": "Arm Neoverse N2",
    "0xd4f": "Arm Neoverse V2",
}
"""Arm's servers have no name in `/proc/cpuinfo`, only a number: Linux, arch/arm64/cputype.h."""
DARWIN = {
    "hw.optional.neon": "asimd",
    "hw.optional.AdvSIMD": "asimd",
    "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_SME": "sme",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512f",
}
"""What `sysctl hw.optional` calls them, and Linux."""
LIMITS = (Path("sys/fs/cgroup/memory.max"), Path("sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of the control group that is mounted at the usual place, as `cores` asks it."""


def look(root: Path = ROOT) -> tuple[Cpu, list[str]]:
    """Give the processor, and notes on what could not be read."""
    if sys.platform == "darwin" and root == ROOT:
        return by_sysctl(ask_tool("sysctl", "machdep.cpu.brand_string", "hw.memsize") or "",
                         ask_tool("sysctl", "hw.optional") or ""), []  # fmt: skip
    said = text(root / "proc/cpuinfo")
    model, features = by_cpuinfo(said or "")
    memory = memory_bytes(root)
    notes = [] if said else ["the processor's kind is not known: /proc/cpuinfo cannot be read"]
    if memory is None:
        notes.append("memory is not known: /proc/meminfo cannot be read")
    return Cpu(
        model=model, cores=usable_cores(), features=features, memory_bytes=memory or 0,
        numa=nodes(root),
    ), notes  # fmt: skip


def by_cpuinfo(said: str) -> tuple[str, tuple[str, ...]]:
    """Read `/proc/cpuinfo`: the model's name, and the features that matter, in our order."""
    first: dict[str, str] = {}
    for line in said.splitlines():
        name, _, value = line.partition(":")
        first.setdefault(name.strip(), value.strip())
    flags = set(f"{first.get('flags', '')} {first.get('Features', '')}".split())
    part = first.get("CPU part", "")
    model = first.get("model name") or PARTS.get(part) or (f"Arm {part}" if part else "unknown")
    return model, tuple(name for name in (*X86, *ARM) if name in flags)


def by_sysctl(about: str, optional: str) -> Cpu:
    """Read macOS' `sysctl`: name, memory, and what is optional in a processor."""
    told = dict(line.split(": ", 1) for line in about.splitlines() if ": " in line)
    has = {
        DARWIN[name]
        for name, _, value in (line.partition(": ") for line in optional.splitlines())
        if name in DARWIN and value.strip() == "1"
    }
    return Cpu(
        model=told.get("machdep.cpu.brand_string", "unknown"),
        cores=usable_cores(),
        features=tuple(name for name in (*X86, *ARM) if name in has),
        memory_bytes=whole(told.get("hw.memsize")) or 0,
    )


def memory_bytes(root: Path = ROOT) -> int | None:
    """Give the machine's memory or, if that is less, what its control group allows."""
    total = _kib(text(root / "proc/meminfo") or "")
    limits = [limit for path in LIMITS if (limit := number(root / path)) is not None and limit > 0]
    return total if total is None else min([total, *limits])


def nodes(root: Path = ROOT) -> tuple[Numa, ...]:
    """Give the NUMA nodes that have memory or cores."""
    found = []
    for index, path in _nodes(root):
        cores = count(text(path / "cpulist") or "")
        memory = _kib(text(path / "meminfo") or "") or 0
        if cores or memory:
            found.append(Numa(index=index, cores=cores, memory_bytes=memory))
    return tuple(found)


def count(cpulist: str) -> int:
    """Count what a list such as `0-3,8,10-11` names."""
    spans = re.findall(r"(\d+)(?:-(\d+))?", cpulist)
    return sum(int(last or first) - int(first) + 1 for first, last in spans)


def _nodes(root: Path) -> list[tuple[int, Path]]:
    paths = numbered(root / "sys/devices/system/node", r"node(\d+)")
    return [(int(path.name[4:]), path) for path in paths]


def _kib(meminfo: str) -> int | None:
    """Find `MemTotal: 1234 kB`, which is in KiB, also in a node's `Node 0 MemTotal:`."""
    found = re.search(r"MemTotal:\s+(\d+) kB", meminfo)
    return int(found[1]) * 1024 if found else None
