"""Which NVIDIA GPUs are there, as NVML tells, or `nvidia-smi` where Python's binding is missing?

GPUs are numbered as NVML does it, by their place on the PCI bus. CUDA by itself puts the fastest
first: who hands a number to an engine in CUDA_VISIBLE_DEVICES also sets
CUDA_DEVICE_ORDER=PCI_BUS_ID.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from baseload.engines.hardware.found import Gpu
from baseload.engines.hardware.reading import ROOT, ask_tool, number, real, text, whole

_T = TypeVar("_T")
MIB = 2**20
DRIVER = Path("proc/driver/nvidia/version")
"""There wherever NVIDIA's kernel module is loaded."""
FIELDS = (
    "index", "uuid", "name", "memory.total", "memory.free", "driver_version", "compute_cap",
    "power.limit", "pci.bus_id",
)  # fmt: skip
"""What `nvidia-smi --help-query-gpu` calls them; memory in MiB, power in watts."""


class AbsentError(Exception):
    """NVML cannot be asked; says why in a sentence."""


@contextmanager
def nvml(module: Any = None) -> Iterator[Any]:
    """Give NVML's binding, ready to be asked; `module` takes its place in tests.

    NVML counts who uses it, so this may be nested and used from several threads. Raises
    AbsentError.
    """
    if module is None:
        try:
            module = import_module("pynvml")  # An extra, needed by few.
        except ImportError as error:
            raise AbsentError("NVML cannot be asked: run `pip install 'baseload[gpu]'`") from error
    try:
        module.nvmlInit()
    except module.NVMLError as error:
        raise AbsentError(f"no NVIDIA GPU: {error}") from error
    try:
        yield module
    finally:
        with suppress(module.NVMLError):
            module.nvmlShutdown()


def gpus(root: Path = ROOT, module: Any = None) -> tuple[list[Gpu], list[str]]:
    """Give what there is, and notes on what could not be read, a line each."""
    try:
        with nvml(module) as found:
            return _by_nvml(found, root)
    except AbsentError as error:
        said = ask_tool("nvidia-smi", f"--query-gpu={','.join(FIELDS)}",
                        "--format=csv,noheader,nounits")  # fmt: skip
        if said is not None and (gpus := by_smi(said, root)):
            return gpus, [f"{error}; nvidia-smi was asked instead"]
        if text(root / DRIVER) is not None:
            return [], [f"NVIDIA's driver is loaded, but its GPUs cannot be seen: {error}"]
        return [], [str(error)]


def free_bytes(index: int, module: Any = None) -> int | None:
    """Give the free memory of a GPU now; None if it cannot be read."""
    with suppress(AbsentError), nvml(module) as found:
        return maybe(found, lambda: int(found.nvmlDeviceGetMemoryInfo(handle(found, index)).free))
    said = ask_tool("nvidia-smi", f"--id={index}", "--query-gpu=memory.free",
                    "--format=csv,noheader,nounits")  # fmt: skip
    mib = None if said is None else whole(said)
    return None if mib is None else mib * MIB


def handle(module: Any, index: int) -> Any:
    """Give what NVML calls a GPU by."""
    return module.nvmlDeviceGetHandleByIndex(index)


def maybe(module: Any, ask: Callable[[], _T]) -> _T | None:
    """Ask NVML something that not every GPU can tell; None if this one cannot."""
    try:
        return ask()
    except (module.NVMLError, AttributeError, TypeError):
        return None


def by_smi(said: str, root: Path = ROOT) -> list[Gpu]:
    """Read what `nvidia-smi --query-gpu` printed for FIELDS, without header and units."""
    rows = [[word.strip() for word in line.split(",")] for line in said.splitlines()]
    return [_of_row(row, root) for row in rows if len(row) == len(FIELDS) and row[0].isdigit()]


def _of_row(row: list[str], root: Path) -> Gpu:
    index, uuid, name, total, free, driver, compute, watts, bus = row
    return Gpu(
        index=int(index), uuid=uuid, name=name, vendor="NVIDIA", driver=driver,
        memory_bytes=(whole(total) or 0) * MIB, free_bytes=(whole(free) or 0) * MIB,
        compute=_compute(compute), watts_max=real(watts), numa=_numa(root, bus),
    )  # fmt: skip


def _by_nvml(module: Any, root: Path) -> tuple[list[Gpu], list[str]]:
    found: list[Gpu] = []
    notes: list[str] = []
    driver = str(maybe(module, module.nvmlSystemGetDriverVersion) or "unknown")
    for index in range(maybe(module, module.nvmlDeviceGetCount) or 0):
        try:
            found.append(_one(module, index, driver, root))
        except module.NVMLError as error:
            notes.append(f"GPU {index} cannot be read and is left out: {error}")
    return found, notes or ([] if found else ["NVIDIA's driver is loaded and has no GPU"])


def _one(module: Any, index: int, driver: str, root: Path) -> Gpu:
    """Read one GPU; raises NVMLError if it cannot tell its memory, as one that fell off the bus."""
    at = handle(module, index)
    memory = module.nvmlDeviceGetMemoryInfo(at)
    compute = maybe(module, lambda: module.nvmlDeviceGetCudaComputeCapability(at))
    watts_mw = maybe(module, lambda: module.nvmlDeviceGetEnforcedPowerLimit(at))
    bus = maybe(module, lambda: module.nvmlDeviceGetPciInfo(at).busId) or ""
    return Gpu(
        index=index, uuid=str(module.nvmlDeviceGetUUID(at)),
        name=str(module.nvmlDeviceGetName(at)), vendor="NVIDIA", driver=driver,
        memory_bytes=int(memory.total), free_bytes=int(memory.free),
        compute=None if compute is None else (int(compute[0]), int(compute[1])),
        watts_max=None if watts_mw is None else watts_mw / 1000,
        numa=_numa(root, bus.decode() if isinstance(bus, bytes) else str(bus)),
    )  # fmt: skip


def _compute(word: str) -> tuple[int, int] | None:
    major, _, minor = word.partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def _numa(root: Path, bus: str) -> int | None:
    """Give the NUMA node of a PCI address; NVML writes a domain of eight digits, Linux of four."""
    domain, _, rest = bus.lower().partition(":")
    node = number(root / "sys/bus/pci/devices" / f"{domain[-4:]}:{rest}" / "numa_node")
    return None if node is None or node < 0 else node
