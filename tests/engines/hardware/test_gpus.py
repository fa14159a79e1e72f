"""GPUs as NVML, nvidia-smi, the kernel and ROCm's tools tell of them; doubles, as none is here."""

import json

import pytest

from baseload.engines.hardware import amd, nvidia
from baseload.engines.hardware.looking import look
from tests.engines.hardware.machines import GIB, FakeGpu, FakeNvml, amd_card, tree

SMI = """0, GPU-a1, NVIDIA H200, 143771, 143221, 570.86.15, 9.0, 700.00, 00000000:19:00.0
1, GPU-a2, NVIDIA H200, 143771, 12, 570.86.15, [N/A], [N/A], 00000000:3B:00.0
"""
"""In the form of `--query-gpu=… --format=csv,noheader,nounits`."""
AMD_STATIC = [
    {
        "gpu": 0,
        "asic": {"market_name": "AMD Instinct MI300X", "asic_serial": "0xC2FF"},
        "driver": {"name": "amdgpu", "version": "6.8.5"},
        "vram": {"type": "HBM", "size": {"value": 196592, "unit": "MB"}},
        "limit": {"max_power": {"value": 750, "unit": "W"}},
        "numa": {"node": 1, "affinity": "N/A"},
    }
]
AMD_METRIC = [
    {
        "gpu": 0,
        "mem_usage": {
            "total_vram": {"value": 196592, "unit": "MB"},
            "used_vram": {"value": 592, "unit": "MB"},
        },
        "power": {"socket_power": "N/A"},
    }
]
ROCM = {
    "card1": {
        "VRAM Total Memory (B)": "68702699520", "VRAM Total Used Memory (B)": "2699520",
        "Card Series": "AMD INSTINCT MI250", "Unique ID": "0x21", "GFX Version": "gfx90a",
        "Max Graphics Package Power (W)": "560.0",
    },
    "card0": {"VRAM Total Memory (B)": "N/A"},
    "system": {"Driver version": "6.3.6"},
}  # fmt: skip


def test_nvml_tells_all_of_a_gpu(tmp_path):
    """Memory is the driver's, power in watts, and the NUMA node comes from the PCI bus."""
    tree(tmp_path, {"sys/bus/pci/devices/0000:3b:00.0/numa_node": 1})
    module = FakeNvml(FakeGpu(0), FakeGpu(1))

    (one, two), notes = nvidia.gpus(tmp_path, module)

    assert [] == notes
    assert ("NVIDIA H100 80GB HBM3", "NVIDIA", "GPU-0") == (one.name, one.vendor, one.uuid)
    assert (79 * GIB, 70 * GIB) == (one.memory_bytes, one.free_bytes)
    assert ("570.86.15", (9, 0), 700.0, 1) == (one.driver, one.compute, one.watts_max, one.numa)
    assert 1 == two.index
    assert 0 == module.users


def test_what_a_gpu_does_not_tell_is_absent():
    """A GPU without a power limit has none; one that tells no memory is left out, with a note."""
    quiet = FakeGpu(0, lacks=("nvmlDeviceGetEnforcedPowerLimit",))
    lost = FakeGpu(1, lacks=("nvmlDeviceGetMemoryInfo",))

    found, notes = nvidia.gpus(module=FakeNvml(quiet, lost))

    assert [0] == [gpu.index for gpu in found]
    assert found[0].watts_max is None
    assert ["GPU 1 cannot be read and is left out: Not Supported"] == notes


def test_free_memory_is_told_now():
    """Free bytes come from NVML, and are None for a GPU that is not there."""
    module = FakeNvml(FakeGpu(0))

    assert 70 * GIB == nvidia.free_bytes(0, module)
    assert nvidia.free_bytes(1, module) is None


def test_without_nvml_the_tool_is_asked(tmp_path, monkeypatch):
    """nvidia-smi on PATH is asked where NVML cannot be, and the note says so."""
    tool = tree(tmp_path, {"nvidia-smi": f"#!/bin/sh\ncat <<'X'\n{SMI}X"}) / "nvidia-smi"
    tool.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    found, notes = nvidia.gpus(tmp_path, FakeNvml(fails="Driver Not Loaded"))

    assert 143771 * 2**20 == found[0].memory_bytes
    assert ((9, 0), 700.0) == (found[0].compute, found[0].watts_max)
    assert (None, None) == (found[1].compute, found[1].watts_max)
    assert ["no NVIDIA GPU: Driver Not Loaded; nvidia-smi was asked instead"] == notes


def test_a_tool_that_fails_or_babbles_is_no_gpu(tmp_path, monkeypatch):
    """What nvidia-smi says when it cannot reach a driver is no GPU, and no error."""
    tree(tmp_path, {"nvidia-smi": "#!/bin/sh\necho 'has failed, code 9'; exit 9"})
    (tmp_path / "nvidia-smi").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert [] == nvidia.gpus(tmp_path, FakeNvml(fails="Driver Not Loaded"))[0]
    assert [] == nvidia.by_smi("No devices were found\n")


def test_a_loaded_driver_without_gpus_is_told(tmp_path, monkeypatch):
    """In a container without devices the note says that the driver is there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    tree(tmp_path, {"proc/driver/nvidia/version": "NVRM version: 570.86.15"})

    _, notes = nvidia.gpus(tmp_path, FakeNvml(fails="Unknown Error"))

    assert 1 == len(notes)
    assert "driver is loaded" in notes[0]


def test_the_kernel_tells_of_amds_cards(tmp_path):
    """Cards, not their plugs nor another maker's, with memory, power cap and NUMA node."""
    amd_card(tmp_path, 1)
    amd_card(tmp_path, 10, numa_node=-1)
    amd_card(tmp_path, 0, vendor="0x10de")
    tree(tmp_path, {"sys/class/drm/card1-DP-1/status": "connected"})

    found = amd.gpus(tmp_path)

    assert [0, 1] == [gpu.index for gpu in found]
    assert ["c2ff748f1", "c2ff748f10"] == [gpu.uuid for gpu in found]
    assert (192 * GIB, 190 * GIB, 750.0) == (
        found[0].memory_bytes, found[0].free_bytes, found[0].watts_max,
    )  # fmt: skip
    assert [1, None] == [gpu.numa for gpu in found]
    assert 190 * GIB == amd.free_bytes(1, tmp_path)
    assert amd.free_bytes(2, tmp_path) is None


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_amd_smi_is_read_in_both_forms(is_wrapped):
    """A bare list and one below `gpu_data` say the same."""
    static, metric = (
        json.dumps({"gpu_data": rows} if is_wrapped else rows) for rows in (AMD_STATIC, AMD_METRIC)
    )

    (gpu,) = amd.by_amd_smi(static, metric)

    assert ("AMD Instinct MI300X", "6.8.5", 750.0, 1) == (
        gpu.name, gpu.driver, gpu.watts_max, gpu.numa,
    )  # fmt: skip
    assert (196592 * 2**20, 196000 * 2**20) == (gpu.memory_bytes, gpu.free_bytes)


def test_rocm_smi_is_read():
    """Numbers are text there, `N/A` is none, and cards come in the order of their numbers."""
    first, second = amd.by_rocm_smi(json.dumps(ROCM))

    assert (0, 0) == (first.index, first.memory_bytes)
    assert (68702699520, 68700000000, 560.0) == (
        second.memory_bytes, second.free_bytes, second.watts_max,
    )  # fmt: skip
    assert ("AMD INSTINCT MI250", "6.3.6") == (second.name, second.driver)


@pytest.mark.parametrize("said", ["", "WARNING: no GPU", "[]", "3", '{"gpu_data": "N/A"}'])
def test_what_is_no_answer_is_no_gpu(said):
    """A tool's warnings and empty answers give nothing, and raise nothing."""
    assert [] == amd.by_amd_smi(said, said)
    assert [] == amd.by_rocm_smi(said)


def test_amd_is_looked_for_where_nvidia_is_not(tmp_path):
    """One look finds AMD's card and does not complain that there is none of NVIDIA's."""
    amd_card(tmp_path, 0)

    found = look(root=tmp_path, nvml=FakeNvml(fails="Driver Not Loaded"), disks=False)

    assert ["AMD"] == [gpu.vendor for gpu in found.gpus]
    assert not any("NVIDIA" in note for note in found.notes)
