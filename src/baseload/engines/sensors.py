"""Which sensors of power has this machine, and what do they say now?

A GPU tells watts, and most tell joules since their driver was loaded; processors of Intel and AMD
tell joules (RAPL), each package by itself. A sensor that is not there, or may not be read, is
absent: nothing here is ever 0 because nobody knows.

RAPL's files may be read by root alone on kernels since 5.10 (CVE-2020-8694): give the service's
user the right to read `energy_uj`, or packages are absent.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from baseload.engines.hardware import amd, nvidia
from baseload.engines.hardware.reading import ROOT, number, numbered, text

RAPL = Path("sys/class/powercap")
GPU = "gpu"
"""Names of GPUs are this and their number; others are processors' parts."""


class Reading(NamedTuple):
    """What a sensor says at one moment; None is what it does not tell."""

    joules: float | None = None
    """A counter, which began anywhere and may begin again."""
    watts: float | None = None
    busy: float | None = None
    """Part of the time in which it worked, 0 to 1."""


class Sensor(Protocol):
    """Something that draws power, and says how much."""

    name: str
    range_j: float | None
    """After how many joules the counter begins at 0 again; None: it does not."""

    def read(self) -> Reading:
        """Look now; blocks for milliseconds. Never raises: what fails is not told."""


class NvidiaSensor:
    """A GPU, as NVML tells."""

    range_j: float | None = None  # 64 bits of millijoules last for longer than any machine.

    def __init__(self, module: Any, index: int) -> None:
        self.name = f"{GPU}{index}"
        self._module = module
        self._index = index

    def read(self) -> Reading:
        """Ask NVML; each of the three may not be supported, joules not before Volta."""
        ask = self._module
        at = nvidia.maybe(ask, lambda: nvidia.handle(ask, self._index))
        if at is None:  # It fell off the bus, or its driver is being replaced.
            return Reading()
        mj = nvidia.maybe(ask, lambda: ask.nvmlDeviceGetTotalEnergyConsumption(at))
        mw = nvidia.maybe(ask, lambda: ask.nvmlDeviceGetPowerUsage(at))
        percent = nvidia.maybe(ask, lambda: ask.nvmlDeviceGetUtilizationRates(at).gpu)
        return Reading(_scaled(mj, 1000), _scaled(mw, 1000), _scaled(percent, 100))


class AmdSensor:
    """A GPU, as the kernel's amdgpu shows it."""

    range_j: float | None = None

    def __init__(self, index: int, device: Path) -> None:
        self.name = f"{GPU}{index}"
        self._device = device
        self._monitor = amd.monitor(device) or device / "hwmon"

    def read(self) -> Reading:
        """Read its files; newer cards have `power1_input` in place of `power1_average`."""
        here = self._monitor
        uw = number(here / "power1_average")
        uw = number(here / "power1_input") if uw is None else uw
        percent = number(self._device / "gpu_busy_percent")
        uj = number(here / "energy1_input")
        return Reading(_scaled(uj, 1e6), _scaled(uw, 1e6), _scaled(percent, 100))


class RaplSensor:
    """A package of a processor, or the memory beside it."""

    def __init__(self, name: str, zone: Path) -> None:
        self.name = name
        self.range_j = _scaled(number(zone / "max_energy_range_uj"), 1e6)
        self._file = zone / "energy_uj"

    def read(self) -> Reading:
        """Read the counter."""
        return Reading(_scaled(number(self._file), 1e6))


def find_sensors(stack: ExitStack, root: Path = ROOT, module: Any = None) -> list[Sensor]:
    """Give those sensors that say something now; `stack` closes what they need.

    `root` and `module` stand in for `/` and for NVML's binding in tests.
    """
    found: list[Sensor] = [*_gpus(stack, root, module), *_packages(root)]
    return [sensor for sensor in found if sensor.read() != Reading()]


def _gpus(stack: ExitStack, root: Path, module: Any) -> Iterator[Sensor]:
    """Give NVIDIA's or, if there are none, AMD's, with the numbers that `hardware` gives them."""
    try:
        ask = stack.enter_context(nvidia.nvml(module))
    except nvidia.AbsentError:
        for index, device in enumerate(amd.devices(root)):
            yield AmdSensor(index, device)
        return
    for index in range(nvidia.maybe(ask, ask.nvmlDeviceGetCount) or 0):
        yield NvidiaSensor(ask, index)


def _packages(root: Path) -> Iterator[Sensor]:
    """Give packages, and the memory that is counted apart from them.

    A zone that is called `psys` is the whole machine, packages included, and `core` a part of one;
    `intel-rapl-mmio` shows the same packages a second time.
    """
    for zone in numbered(root / RAPL, r"intel-rapl:(\d+)"):
        package = text(zone / "name") or ""
        if not package.startswith("package"):
            continue
        yield RaplSensor(package, zone)
        for part in numbered(zone, rf"{zone.name}:(\d+)"):
            if text(part / "name") == "dram":
                yield RaplSensor(f"{package}-dram", part)


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value / by
