"""Which AMD GPUs are there, as the kernel tells, or a ROCm tool where its files cannot be seen?

The `amdgpu` driver shows memory, power and NUMA node of each card in `/sys`, with no tool and no
root; Linux documents the files under "AMDGPU driver: misc information" and "hwmon". What the tools
print differs by release, and the formats that are read here were seen in published test data of
ROCm 5.7 to 7.1; no AMD GPU was at hand.
"""

import json
from pathlib import Path
from typing import Any

from baseload.engines.hardware.found import Gpu
from baseload.engines.hardware.reading import ROOT, ask_tool, number, numbered, real, text, whole

VENDOR_ID = "0x1002"
"""Advanced Micro Devices, in the PCI vendors' list."""
MIB = 2**20
CARDS = Path("sys/class/drm")
CARD = r"card(\d+)"
"""`card0`; what is called `card0-DP-1` is a plug."""
MODULE_VERSION = Path("sys/module/amdgpu/version")
"""Only of a driver that was installed beside the kernel's own."""


def gpus(root: Path = ROOT) -> list[Gpu]:
    """Give what there is."""
    if found := by_sysfs(root):
        return found
    if root != ROOT:
        return []
    static = ask_tool("amd-smi", "static", "--json")
    if static is not None and (
        found := by_amd_smi(static, ask_tool("amd-smi", "metric", "--json"))
    ):
        return found
    said = ask_tool("rocm-smi", "--json", "--showproductname", "--showmeminfo", "vram",
                    "--showuniqueid", "--showdriverversion", "--showmaxpower")  # fmt: skip
    return [] if said is None else by_rocm_smi(said)


def devices(root: Path = ROOT) -> list[Path]:
    """Give the folders of AMD's cards with memory of their own, by their place on the PCI bus."""
    cards = (card / "device" for card in numbered(root / CARDS, CARD))
    found = [
        path.resolve()
        for path in cards
        if text(path / "vendor") == VENDOR_ID and number(path / "mem_info_vram_total")
    ]
    return sorted(found, key=lambda path: path.name)


def monitor(device: Path) -> Path | None:
    """Give the folder in which a card shows its power; None if it has none."""
    return next(iter(numbered(device / "hwmon", r"hwmon(\d+)")), None)


def by_sysfs(root: Path = ROOT) -> list[Gpu]:
    """Read the kernel's files below `root`."""
    driver = text(root / MODULE_VERSION) or "the kernel's amdgpu"
    return [_of_files(index, path, driver) for index, path in enumerate(devices(root))]


def free_bytes(index: int, root: Path = ROOT) -> int | None:
    """Give the free memory of a card now; None if it cannot be read."""
    found = devices(root)
    return _free(found[index]) if 0 <= index < len(found) else None


def _of_files(index: int, device: Path, driver: str) -> Gpu:
    here = monitor(device)
    cap_uw = None if here is None else number(here / "power1_cap")
    node = number(device / "numa_node")
    return Gpu(
        index=index,
        uuid=text(device / "unique_id") or device.name,
        name=text(device / "product_name") or f"AMD GPU {text(device / 'device') or ''}".strip(),
        vendor="AMD",
        memory_bytes=number(device / "mem_info_vram_total") or 0,
        free_bytes=_free(device) or 0,
        driver=driver,
        watts_max=cap_uw / 1e6 if cap_uw else None,
        numa=None if node is None or node < 0 else node,
    )


def _free(device: Path) -> int | None:
    total, used = (number(device / f"mem_info_vram_{word}") for word in ("total", "used"))
    return None if total is None or used is None else max(0, total - used)


def by_amd_smi(static: str, metric: str | None) -> list[Gpu]:
    """Read `amd-smi static --json` and `amd-smi metric --json`; sizes are called MB and are MiB.

    A list of GPUs, in newer releases below `gpu_data`.
    """
    told = {row.get("gpu"): row for row in _rows(metric or "")}
    return [_of_amd_smi(row, told.get(row["gpu"], {})) for row in _rows(static) if "gpu" in row]


def _of_amd_smi(row: dict[str, Any], now: dict[str, Any]) -> Gpu:
    total = whole(_at(row, "vram", "size")) or whole(_at(now, "mem_usage", "total_vram")) or 0
    used = whole(_at(now, "mem_usage", "used_vram"))
    return Gpu(
        index=int(row["gpu"]),
        uuid=str(
            row.get("uuid") or _at(row, "asic", "asic_serial") or _at(row, "bus", "bdf") or ""
        ),
        name=str(_at(row, "asic", "market_name") or "AMD GPU"),
        vendor="AMD",
        memory_bytes=total * MIB,
        free_bytes=max(0, total - (total if used is None else used)) * MIB,
        driver=str(
            _at(row, "driver", "version") or _at(row, "driver", "driver_version") or "unknown"
        ),
        watts_max=real(_at(row, "limit", "max_power")),
        numa=whole(_at(row, "numa", "node")),
    )


def by_rocm_smi(said: str) -> list[Gpu]:
    """Read `rocm-smi --json`: an object with `card0`, `card1`, …, whose values are all text."""
    rows = _object(said)
    cards = sorted(
        (int(name[4:]), row)
        for name, row in rows.items()
        if name[:4] == "card" and name[4:].isdigit() and isinstance(row, dict)
    )
    system = rows.get("system")
    driver = system.get("Driver version") if isinstance(system, dict) else None
    return [_of_rocm_smi(index, row, str(driver or "unknown")) for index, row in cards]


def _of_rocm_smi(index: int, row: dict[str, Any], driver: str) -> Gpu:
    total = whole(row.get("VRAM Total Memory (B)")) or 0
    used = whole(row.get("VRAM Total Used Memory (B)"))
    return Gpu(
        index=index,
        uuid=str(row.get("Unique ID") or row.get("GUID") or f"card{index}"),
        name=str(row.get("Card Series") or row.get("Card series") or "AMD GPU"),
        vendor="AMD",
        memory_bytes=total,
        free_bytes=max(0, total - (total if used is None else used)),
        driver=driver,
        watts_max=real(row.get("Max Graphics Package Power (W)")),
    )


def _rows(said: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(said)
    except ValueError:
        return []
    if isinstance(found, dict):
        found = found.get("gpu_data")
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _object(said: str) -> dict[str, Any]:
    try:
        found = json.loads(said)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _at(row: dict[str, Any], part: str, name: str) -> Any:
    """Give a value, bare or as `{"value": 5, "unit": "MB"}`; None for `N/A`."""
    inner = row.get(part)
    value = inner.get(name) if isinstance(inner, dict) else None
    if isinstance(value, dict):
        value = value.get("value")
    return None if value == "N/A" else value
