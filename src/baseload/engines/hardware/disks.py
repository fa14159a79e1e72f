"""Where can files be, on what kind of disk, and how much room is left there?"""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from baseload.engines.hardware.found import Disk
from baseload.engines.hardware.reading import ROOT, ask_tool, number, text

Kind = Literal["nvme", "ssd", "hdd", "memory", "network", "unknown"]
NETWORK = {
    "9p", "beegfs", "ceph", "cifs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "virtiofs", "wekafs",
}  # fmt: skip
"""File systems whose files are on another machine, or on the one that this machine runs on."""
MEMORY = {"ramfs", "tmpfs"}
MEMORY_PLACES = ("/dev/shm", "/tmp")  # noqa: S108 - looked at, nothing is put there
"""Of the many file systems in memory, those that people put files into."""
SEALED = {"iso9660", "squashfs"}
"""Nothing can be written there, ever."""
DISKS_MAX = 64


class Mount(NamedTuple):
    """A line of `/proc/self/mounts`."""

    device: str
    path: str
    system: str


def mounts(said: str) -> list[Mount]:
    """Read `/proc/self/mounts`: those that hold files, one for each device."""
    found: dict[str, Mount] = {}
    for words in (line.split() for line in said.splitlines()):
        if len(words) < 3:
            continue
        mount = Mount(_plain(words[0]), _plain(words[1]), words[2])
        known = found.get(mount.device)
        # A device that is mounted twice, as for containers, is named by the shortest path.
        if _holds_files(mount) and (known is None or len(mount.path) < len(known.path)):
            found[mount.device] = mount
    return sorted(found.values(), key=lambda mount: mount.path)


def look(root: Path = ROOT) -> tuple[list[Disk], list[str]]:
    """Give the disks, and notes on what could not be read."""
    said = text(root / "proc/self/mounts")
    if said is None and sys.platform == "darwin":
        said = by_mount(ask_tool("mount") or "")
    if said is None:
        return [], ["disks are not known: /proc/self/mounts cannot be read"]
    found = list(_disks(mounts(said), root))
    more = f"only the first {DISKS_MAX} of {len(found)} disks are shown"
    return found[:DISKS_MAX], [more] if len(found) > DISKS_MAX else []


def holding(disks: Iterable[Disk], path: Path) -> Disk | None:
    """Give the disk that holds a path: of those mounted above it, the nearest."""
    full = str(path.resolve())
    above = [disk for disk in disks if _is_below(full, disk.path)]
    return max(above, key=lambda disk: len(disk.path), default=None)


def by_mount(said: str) -> str:
    """Write what macOS' `mount` prints, `/dev/disk3s1 on / (apfs, …)`, as Linux does."""
    lines = re.findall(r"^(/dev/\S+) on (/.*?) \((\w+)", said, re.MULTILINE)
    return "\n".join(" ".join((device, path.replace(" ", r"\040"), kind))
                     for device, path, kind in lines)  # fmt: skip


def kind_of(device: str, system: str, root: Path = ROOT) -> Kind:
    """Tell what kind of disk a device is.

    A virtual disk that calls itself rotating says nothing of what is behind it: `unknown`.
    """
    if system in NETWORK or system.startswith("fuse."):
        return "network"
    if system in MEMORY:
        return "memory"
    disk = _disk_of(Path(device).name, root) if device.startswith("/dev/") else None
    return "unknown" if disk is None else _kind_of_disk(disk, root)


def _kind_of_disk(disk: str, root: Path) -> Kind:
    if disk.startswith(("ram", "zram")):
        return "memory"
    if disk.startswith("nvme"):
        return "nvme"
    rotates = number(root / "sys/block" / disk / "queue/rotational")
    if rotates is None or (rotates and disk.startswith(("vd", "xvd"))):
        return "unknown"
    return "hdd" if rotates else "ssd"


def _disks(found: Iterable[Mount], root: Path) -> Iterator[Disk]:
    for mount in found:
        try:
            room = os.statvfs(mount.path)
        except OSError:
            continue
        if size := room.f_blocks * room.f_frsize:
            yield Disk(
                path=mount.path, device=mount.device, size_bytes=size,
                free_bytes=room.f_bavail * room.f_frsize,
                kind=kind_of(mount.device, mount.system, root),
            )  # fmt: skip


def _holds_files(mount: Mount) -> bool:
    if mount.system in SEALED:
        return False
    if mount.system in MEMORY:
        return mount.path in MEMORY_PLACES
    if mount.system in NETWORK or mount.system.startswith("fuse.") or mount.system == "zfs":
        # A program's own view of itself, such as lxcfs, is no place for files.
        return mount.system not in ("fuse.lxcfs", "fuse.gvfsd-fuse", "fuse.portal")
    if mount.system == "overlay":
        return mount.path == "/"
    return mount.device.startswith("/dev/") and Path(mount.path).is_dir()


def _disk_of(name: str, root: Path) -> str | None:
    """Give the disk that a block device is, or is a part of, or is made of.

    `sda1` is a folder in that of `sda`; `dm-0` and `md0` name in `slaves` what they are made of.
    """
    for _ in range(4):  # Encrypted, on a volume, on a mirror, of disks.
        found = next((root / "sys/block").glob(f"{name}"), None)
        if found is None:
            parents = [path.parent.name for path in (root / "sys/block").glob(f"*/{name}")]
            return parents[0] if parents else _mapped(name, root)
        below = sorted(path.name for path in (found / "slaves").glob("*"))
        if not below:
            return name
        name = below[0]
    return None


def _mapped(name: str, root: Path) -> str | None:
    """Give the disk of `/dev/mapper/NAME`, which is called `dm-N` elsewhere."""
    for path in (root / "sys/block").glob("dm-*"):
        if text(path / "dm/name") == name:
            return _disk_of(path.name, root)
    return None


def _is_below(full: str, path: str) -> bool:
    return path in ("/", full) or full.startswith(f"{path}/")


def _plain(word: str) -> str:
    """Undo the octal in which spaces and the like are written."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)
