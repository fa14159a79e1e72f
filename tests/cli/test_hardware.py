"""`baseload hardware`: what people and scripts get, with a GPU (a double of its driver) and without."""

import io
import json
import subprocess
import sys

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from baseload.cli import app
from baseload.cli.hardware import draw
from baseload.engines.hardware import bandwidth
from baseload.engines.hardware.found import Hardware
from baseload.engines.hardware.looking import look
from tests.engines.hardware.machines import CPUINFO, FakeGpu, FakeNvml, tree


@pytest.fixture
def machine(tmp_path):
    """A machine with two GPUs and two NUMA nodes."""
    node = "sys/devices/system/node/node"
    tree(tmp_path, {
        "proc/cpuinfo": CPUINFO, "proc/meminfo": "MemTotal: 8388608 kB",
        "proc/self/mounts": "/dev/nvme0n1 / ext4 rw 0 0",
        "sys/block/nvme0n1/queue/rotational": 0,
        f"{node}0/cpulist": "0-3", f"{node}1/cpulist": "4-7",
    })  # fmt: skip
    return look(root=tmp_path, nvml=FakeNvml(FakeGpu(0), FakeGpu(1)))


def test_people_get_a_table(machine):
    """GPUs with memory, driver and watts; cores with features; nodes; disks."""
    console = Console(width=120, record=True, file=io.StringIO())
    draw(console, machine)
    said = console.export_text()

    for words in ("H100", "79.0 GiB", "570.86.15", "9.0", "700", "amx_int8", "NUMA 1", "nvme"):
        assert words in said


def test_scripts_get_json():
    """The whole of what was found, as the struct has it; no GPU is no error."""
    done = subprocess.run(
        [sys.executable, "-m", "baseload", "hardware", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert 0 == done.returncode
    found = msgspec.json.decode(done.stdout, type=Hardware)
    assert found.cpu.cores >= 1
    assert found.disks


def test_a_named_folder_is_measured(tmp_path, monkeypatch):
    """Only the disk that holds the folder is shown, with speeds, and nothing stays behind."""
    monkeypatch.setattr(bandwidth, "STEP_S_MAX", 0.0)
    words = ["hardware", "--json", "--measure", "--path", str(tmp_path)]

    done = CliRunner().invoke(app, words)

    assert 0 == done.exit_code
    (disk,) = json.loads(done.stdout)["disks"]
    assert disk["read_bytes_s"] > 0
    assert disk["write_bytes_s"] > 0
    assert [] == list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path):
    """`--path` with what is no folder exits with 2."""
    assert 2 == CliRunner().invoke(app, ["hardware", "--path", str(tmp_path / "x")]).exit_code


def test_help_has_an_example():
    """`--help` shows how it is called."""
    assert "baseload hardware --measure" in CliRunner().invoke(app, ["hardware", "--help"]).stdout
