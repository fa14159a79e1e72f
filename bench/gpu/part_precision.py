"""What do FP32, BF16, FP8 and INT8 give: throughput, time between tokens, memory, watts?

The same shape, one precision after the other, each in an engine of its own. Weights are made up, so
this is speed alone; what is lost is measured by `baseload quantize`, with a real model.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from client import Ask, calls_of
from figures import figures, middle
from models import write
from servers import vllm
from watching import Watch

from baseload.engines.kinds.memory import GIB
from baseload.engines.quantising.vllm.server import Log

LEVELS = {1: 3, 16: 2, 128: 1}
"""Calls at once, and how many each caller makes."""
ROUNDS = 2
PRECISIONS = {
    "fp32": ("qwen7b", ("--dtype", "float32")),
    "bf16": ("qwen7b", ("--dtype", "bfloat16")),
    "fp8": ("qwen7b", ("--dtype", "bfloat16", "--quantization", "fp8")),
    "int8": ("qwen7b-int8", ("--dtype", "bfloat16")),
}


def measure(
    folder: Path, *, is_quick: bool, only: tuple[str, ...] = ()
) -> Iterator[dict[str, Any]]:
    """Measure it; `only` these precisions."""
    rows: list[dict[str, Any]] = []
    for precision in only or PRECISIONS:
        name, arguments = PRECISIONS[precision]
        model = write(folder / name, is_int8=name.endswith("int8"))
        try:
            with vllm(model, folder, *arguments, name=precision) as engine:
                row = {"precision": precision, "ready_s": round(engine.ready_s, 1)}
                row["weights_gib"] = weights_gib(engine.log)
                row["levels"] = _levels(engine.url, 1 if is_quick else ROUNDS)
        except RuntimeError as error:
            row = {"precision": precision, "error": str(error)[-2000:]}
        rows.append(row)
        print({key: value for key, value in row.items() if key != "error"}, flush=True)
        yield {"model": "R1-Distill-Qwen-7B, dummy weights", "prompt": 512, "answer": 128,
               "precisions": rows}  # fmt: skip
        time.sleep(2)


def weights_gib(log: Path) -> float | None:
    """Read in vLLM's log how much memory the weights took."""
    said = Log()
    for line in log.read_text(errors="replace").splitlines():
        said.hear(line)
    return None if said.weights_bytes is None else round(said.weights_bytes / GIB, 2)


def _levels(url: str, rounds: int) -> list[dict[str, Any]]:
    rows = []
    for level, calls in LEVELS.items():
        calls_of([Ask(url, calls=1, answer=16)] * level)
        readings = []
        for _ in range(rounds):
            with Watch() as watch:
                made = calls_of([Ask(url, calls=calls)] * level)
            readings.append(figures(made) | watch.facts)
        names = [
            name for name in ("tokens_s", "ttft_ms", "tpot_ms", "watts") if name in readings[0]
        ]
        row = {"calls_at_once": level} | {name: middle(readings, name) for name in names}
        if "joules" in readings[0]:
            row["joules_token"] = middle(
                [{"j": each["joules"] / each["tokens"]} for each in readings], "j"
            )
        if errors := [each["errors"] for each in readings if "errors" in each]:
            row["errors"] = errors
        rows.append(row)
    return rows
