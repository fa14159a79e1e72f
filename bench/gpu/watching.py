"""What the GPU does meanwhile: its use, watts and joules, asked of NVML ten times a second."""

import threading
import time
from statistics import fmean
from typing import Any, Self

EVERY_S = 0.1


class Watch:
    """Watches one GPU from `with` to its end; then `facts` says what was seen, {} without NVML."""

    def __init__(self, index: int = 0) -> None:
        self.facts: dict[str, float] = {}
        self._index, self._stop = index, threading.Event()
        self._busy: list[float] = []
        self._watts: list[float] = []
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            import pynvml  # noqa: PLC0415 - there may be none

            pynvml.nvmlInit()
            self._nvml, self._gpu = pynvml, pynvml.nvmlDeviceGetHandleByIndex(self._index)
            self._joules = self._energy()
        except Exception:  # noqa: BLE001 - whatever is missing, there is nothing to watch
            return self
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is None:
            return
        self._thread.join()
        before, after = self._joules, self._energy()
        self.facts = {
            "busy_ratio": round(fmean(self._busy), 4),
            "watts": round(fmean(self._watts), 1),
        }
        if before is not None and after is not None:
            self.facts["joules"] = round(after - before, 1)

    def _energy(self) -> float | None:
        try:
            return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu) / 1000
        except self._nvml.NVMLError:
            return None

    def _look(self) -> None:
        while not self._stop.is_set():
            self._busy.append(self._nvml.nvmlDeviceGetUtilizationRates(self._gpu).gpu / 100)
            self._watts.append(self._nvml.nvmlDeviceGetPowerUsage(self._gpu) / 1000)
            time.sleep(EVERY_S)


def gpu_facts() -> dict[str, Any]:
    """Say which GPU and driver this is; {} without NVML."""
    try:
        import pynvml  # noqa: PLC0415

        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
        return {
            "gpu": _text(pynvml.nvmlDeviceGetName(gpu)),
            "memory_bytes": pynvml.nvmlDeviceGetMemoryInfo(gpu).total,
            "driver": _text(pynvml.nvmlSystemGetDriverVersion()),
            "gpus": pynvml.nvmlDeviceGetCount(),
        }
    except Exception:  # noqa: BLE001
        return {}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value
