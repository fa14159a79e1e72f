"""Machines made by hand: trees of small files as Linux shows them, and a double of NVML.

The trees have the files and units that Linux documents, with values that were made up; they prove
how files are read, and not that a machine has them. The double of NVML has the names, units and
errors of nvidia-ml-py 13, and no GPU behind it.
"""

from types import SimpleNamespace

GIB = 2**30
CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8480C
flags\t\t: fpu sse4_2 fma avx f16c avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8480C
flags\t\t: fpu sse4_2
"""
GRACE = """processor\t: 0
BogoMIPS\t: 2000.00
Features\t: fp asimd aes asimdhp asimddp sve sve2 i8mm bf16
CPU implementer\t: 0x41
CPU part\t: 0xd4f
"""


def tree(root, files):
    """Write files below a folder, by their path."""
    for path, value in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    return root


def rapl(root, package_uj=1_000_000, *, dram_uj=None, range_uj=262_143_328_850):
    """Make the energy counters of one processor."""
    zone = "sys/class/powercap/intel-rapl:0"
    files = {
        f"{zone}/name": "package-0", f"{zone}/energy_uj": package_uj,
        f"{zone}/max_energy_range_uj": range_uj,
        f"{zone}/intel-rapl:0:0/name": "core", f"{zone}/intel-rapl:0:0/energy_uj": 1,
        "sys/class/powercap/intel-rapl:1/name": "psys",
        "sys/class/powercap/intel-rapl:1/energy_uj": 5,
        "sys/class/powercap/intel-rapl-mmio:0/name": "package-0",
        "sys/class/powercap/intel-rapl-mmio:0/energy_uj": package_uj,
    }  # fmt: skip
    if dram_uj is not None:
        files |= {
            f"{zone}/intel-rapl:0:1/name": "dram", f"{zone}/intel-rapl:0:1/energy_uj": dram_uj,
            f"{zone}/intel-rapl:0:1/max_energy_range_uj": range_uj,
        }  # fmt: skip
    return tree(root, files)


def amd_card(root, number, **more):
    """Make a card as amdgpu shows it: 192 GiB, 2 GiB of it used, 142 W of 750."""
    device = f"sys/class/drm/card{number}/device"
    files = {
        "vendor": "0x1002", "device": "0x74a1", "mem_info_vram_total": 192 * GIB,
        "mem_info_vram_used": 2 * GIB, "gpu_busy_percent": 73, "numa_node": 1,
        "unique_id": f"c2ff748f{number}", "hwmon/hwmon3/power1_average": 142_000_000,
        "hwmon/hwmon3/power1_cap": 750_000_000,
    }  # fmt: skip
    return tree(root, {f"{device}/{name}": value for name, value in (files | more).items()})


class NVMLError(Exception):
    """What NVML raises."""


class FakeGpu:
    """What the double knows of one GPU; a method that is named in `lacks` is not supported."""

    def __init__(self, index=0, *, lacks=(), millijoules=0, milliwatts=300_000, busy=80):
        self.index, self.lacks = index, lacks
        self.millijoules, self.milliwatts, self.busy = millijoules, milliwatts, busy


class FakeNvml:
    """A double of pynvml with some H100s."""

    NVMLError = NVMLError

    def __init__(self, *gpus, fails=""):
        self.gpus, self.fails, self.users = gpus, fails, 0

    def nvmlInit(self):  # noqa: N802 - NVML's names
        """Begin, or say why not."""
        if self.fails:
            raise NVMLError(self.fails)
        self.users += 1

    def nvmlShutdown(self):  # noqa: N802
        """End."""
        self.users -= 1

    def nvmlSystemGetDriverVersion(self):  # noqa: N802
        """Give the driver's version."""
        return "570.86.15"

    def nvmlDeviceGetCount(self):  # noqa: N802
        """Count."""
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        """Give a GPU."""
        if not 0 <= index < len(self.gpus):
            raise NVMLError("Invalid Argument")
        return self.gpus[index]

    def __getattr__(self, name):
        """Answer what is asked of one GPU."""
        answers = {
            "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=79 * GIB, free=70 * GIB),
            "nvmlDeviceGetName": lambda _: "NVIDIA H100 80GB HBM3",
            "nvmlDeviceGetUUID": lambda gpu: f"GPU-{gpu.index}",
            "nvmlDeviceGetCudaComputeCapability": lambda _: (9, 0),
            "nvmlDeviceGetEnforcedPowerLimit": lambda _: 700_000,
            "nvmlDeviceGetPciInfo": lambda _: SimpleNamespace(busId=b"00000000:3B:00.0"),
            "nvmlDeviceGetTotalEnergyConsumption": lambda gpu: gpu.millijoules,
            "nvmlDeviceGetPowerUsage": lambda gpu: gpu.milliwatts,
            "nvmlDeviceGetUtilizationRates": lambda gpu: SimpleNamespace(gpu=gpu.busy),
        }
        if name not in answers:
            raise AttributeError(name)

        def ask(gpu):
            if name in gpu.lacks:
                raise NVMLError("Not Supported")
            return answers[name](gpu)

        return ask
