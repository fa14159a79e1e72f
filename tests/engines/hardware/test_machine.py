"""Processor, memory and disks: captured text, trees made by hand, and this very machine."""

import pytest

from baseload.engines.hardware import bandwidth, disks, processor
from baseload.engines.hardware.bandwidth import PIECE_BYTES, measure
from baseload.engines.hardware.found import Disk
from baseload.engines.hardware.looking import free_bytes, look
from baseload.errors import BaseloadError
from tests.engines.hardware.machines import CPUINFO, GIB, GRACE, FakeNvml, tree

MOUNTS = r"""proc /proc proc rw 0 0
/dev/nvme0n1p2 / ext4 rw,relatime 0 0
/dev/nvme0n1p2 /var/lib/kubelet/pods/x ext4 rw 0 0
/dev/loop3 /snap/core squashfs ro 0 0
tmpfs /run tmpfs rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
lxcfs /var/lib/lxcfs fuse.lxcfs rw 0 0
filer:/models /mnt/my\040models nfs4 rw 0 0
overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0
broken
"""


def blocks(root):
    """Make the block devices of a machine."""
    return tree(root, {
        "sys/block/nvme0n1/queue/rotational": 0, "sys/block/nvme0n1/nvme0n1p2/partition": 2,
        "sys/block/sda/queue/rotational": 1, "sys/block/sda/sda1/partition": 1,
        "sys/block/sdb/queue/rotational": 0, "sys/block/vda/queue/rotational": 1,
        "sys/block/dm-0/dm/name": "vg-models", "sys/block/dm-0/slaves/md0/x": "",
        "sys/block/md0/slaves/nvme0n1/x": "", "sys/block/md0/queue/rotational": 0,
    })  # fmt: skip


def test_features_come_from_the_flags():
    """The features that engines know are found, in our order, on Intel and on Arm."""
    model, features = processor.by_cpuinfo(CPUINFO)

    assert "Intel(R) Xeon(R) Platinum 8480C" == model
    assert ("amx_tile", "amx_int8", "amx_bf16") == features[-3:]
    assert "fpu" not in features
    assert ("Arm Neoverse V2", ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2")) == (
        processor.by_cpuinfo(GRACE)
    )
    assert ("unknown", ()) == processor.by_cpuinfo("")


def test_a_mac_tells_by_sysctl():
    """What macOS' sysctl prints gives name, memory and features; text in its form, made by hand."""
    cpu = processor.by_sysctl(
        "machdep.cpu.brand_string: Apple M3 Max\nhw.memsize: 68719476736\n",
        "hw.optional.neon: 1\nhw.optional.arm.FEAT_I8MM: 1\nhw.optional.arm.FEAT_SME: 0\n",
    )

    assert ("Apple M3 Max", 64 * GIB) == (cpu.model, cpu.memory_bytes)
    assert ("asimd", "i8mm") == cpu.features


@pytest.mark.parametrize(
    ("path", "limit", "expected"),
    [
        pytest.param("sys/fs/cgroup/memory.max", 4 * GIB, 4 * GIB, id="group-of-version-2"),
        pytest.param("sys/fs/cgroup/memory.max", "max", 8 * GIB, id="no-limit"),
        pytest.param(
            "sys/fs/cgroup/memory/memory.limit_in_bytes", 9223372036854771712, 8 * GIB,
            id="no-limit-of-version-1",
        ),
    ],
)  # fmt: skip
def test_memory_is_what_the_control_group_allows(tmp_path, path, limit, expected):
    """The smaller of the machine's memory and the group's limit counts."""
    tree(tmp_path, {"proc/meminfo": "MemTotal:        8388608 kB", path: limit})

    assert expected == processor.memory_bytes(tmp_path)


def test_numa_nodes_have_cores_and_memory(tmp_path):
    """Nodes come in order, with what belongs to each; empty ones are left out."""
    node = "sys/devices/system/node/node"
    tree(tmp_path, {
        f"{node}0/cpulist": "0-3,8-11", f"{node}0/meminfo": "Node 0 MemTotal:  1024 kB",
        f"{node}10/cpulist": "4", f"{node}10/meminfo": "Node 10 MemTotal:  2048 kB",
        f"{node}2/cpulist": "", "sys/devices/system/node/online": "0,2,10",
    })  # fmt: skip

    assert [(0, 8, 2**20), (10, 1, 2**21)] == [
        (one.index, one.cores, one.memory_bytes) for one in processor.nodes(tmp_path)
    ]


def test_only_mounts_that_hold_files_count():
    """Pseudo file systems, snaps and containers' layers are left out; a device counts once."""
    found = disks.mounts(MOUNTS)

    assert ["/", "/dev/shm", "/mnt/my models"] == [one.path for one in found]


@pytest.mark.parametrize(
    ("device", "system", "expected"),
    [
        ("/dev/nvme0n1p2", "ext4", "nvme"),
        ("/dev/sda1", "xfs", "hdd"),
        ("/dev/sdb", "xfs", "ssd"),
        ("/dev/mapper/vg-models", "xfs", "nvme"),
        ("/dev/vda", "ext4", "unknown"),
        ("/dev/sdz9", "ext4", "unknown"),
        ("overlay", "overlay", "unknown"),
        ("filer:/models", "nfs4", "network"),
        ("bucket", "fuse.s3fs", "network"),
        ("tmpfs", "tmpfs", "memory"),
    ],
)
def test_the_kind_of_a_disk_is_known_or_unknown(tmp_path, device, system, expected):
    """Partitions, volumes and mirrors are what lies below; a virtual disk is not guessed at."""
    assert expected == disks.kind_of(device, system, blocks(tmp_path))


def test_a_path_lies_on_the_nearest_mount(tmp_path):
    """Of the disks above a path, the one mounted nearest holds it; names that begin alike do not."""
    outer, inner = (
        Disk(path=path, device=path, kind="ssd", size_bytes=1, free_bytes=1)
        for path in ("/", str(tmp_path / "models"))
    )

    assert inner == disks.holding([outer, inner], tmp_path / "models/a")
    assert outer == disks.holding([outer, inner], tmp_path / "models-old/a")
    assert disks.holding([inner], tmp_path) is None


def test_a_mac_lists_its_mounts():
    """What macOS' `mount` prints is read as Linux' list."""
    said = disks.by_mount("/dev/disk3s1 on /Volumes/My Disk (apfs, local)\nmap on /net (autofs)\n")

    assert r"/dev/disk3s1 /Volumes/My\040Disk apfs" == said


def test_a_disk_is_measured_and_nothing_stays(tmp_path):
    """A real file is written and read: speeds are there, progress ends at 1, the folder is empty."""
    parts = []

    speed = measure(tmp_path, parts.append, file_bytes=4 * PIECE_BYTES)

    assert speed.read_bytes_s > 0
    assert speed.write_bytes_s > 0
    assert sorted(parts) == parts
    assert 1.0 == parts[-1]
    assert [] == list(tmp_path.iterdir())


def test_a_full_disk_is_not_measured(tmp_path, monkeypatch):
    """Where the room is not there, nothing is written and the sentence says how much is wanted."""
    monkeypatch.setattr(bandwidth, "RESERVE_BYTES", 2**62)

    with pytest.raises(BaseloadError, match="GB are wanted"):
        measure(tmp_path, file_bytes=PIECE_BYTES)

    assert [] == list(tmp_path.iterdir())


def test_a_folder_that_is_gone_is_no_crash(tmp_path):
    """Of a folder that does not exist the sentence says so."""
    with pytest.raises(BaseloadError, match="not measured: No such file"):
        measure(tmp_path / "gone")


def test_measuring_ends_in_time(tmp_path, monkeypatch):
    """A disk that is too slow for the whole file is measured with what fits into the time."""
    monkeypatch.setattr(bandwidth, "STEP_S_MAX", 0.0)
    monkeypatch.setattr(bandwidth, "RESERVE_BYTES", 0)

    speed = measure(tmp_path, file_bytes=64 * PIECE_BYTES)

    assert speed.write_bytes_s > 0


def test_this_machine_is_seen():
    """A real look at this machine finds cores, memory and a disk with its size."""
    found = look()

    assert found.cpu.cores >= 1
    assert found.cpu.memory_bytes > 2**28
    assert found.disks
    assert all(disk.size_bytes >= disk.free_bytes for disk in found.disks)
    assert found.gpus or any("NVIDIA" in note or "NVML" in note for note in found.notes)
    assert free_bytes(999) is None


def test_a_look_at_nothing_says_what_is_missing(tmp_path):
    """Where nothing can be read there are notes instead of guesses."""
    found = look(root=tmp_path, nvml=FakeNvml(fails="Driver Not Loaded"))

    assert () == found.gpus
    assert ("unknown", 0) == (found.cpu.model, found.cpu.memory_bytes)
    assert 5 == len(found.notes)
