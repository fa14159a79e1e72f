"""How long does the first caller wait, after a warm-up and without?

Baseload starts the engine, with its warm-up and with none but the one token that proves it ready,
in turns. The first-token time of the first call is held against those of later ones.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from client import Ask, calls_of
from models import write
from servers import ARGUMENTS, PROGRAMS, baseload

LATER = 12
STARTS = 2


def engine(model: Path, kind: str = "vllm", **more: Any) -> dict[str, Any]:
    """Give a backend that Baseload starts: an engine on a folder without weights."""
    serve = {"program": list(PROGRAMS[kind]), "arguments": list(ARGUMENTS[kind]),
             "context": 4096, "slots": 256, "gpu_memory": 0.85}  # fmt: skip
    return {"engine": kind, "model": str(model), "serve": serve | more}


def measure(folder: Path, *, is_quick: bool, kind: str) -> Iterator[dict[str, Any]]:
    """Measure it."""
    model, rows = write(folder / "qwen7b"), []
    kinds = {"none": {"prompts": []}, "warm": {"prompts": [16, 512, 2048]}}
    for number in range(1 if is_quick else STARTS):
        for name, warm in kinds.items():
            found = _start(engine(model, kind, warm=warm), folder, f"{name}{number}")
            rows.append({"warm_up": name} | found)
            print(rows[-1], flush=True)
            yield {
                "model": f"R1-Distill-Qwen-7B, dummy weights, BF16, by {kind}",
                "prompt": 512,
                "starts": rows,
            }
    yield {
        "first_of_steady": {
            name: round(
                median(r["first_ms"] / r["steady_ms"] for r in rows if r["warm_up"] == name), 2
            )
            for name in kinds
        },
    }


def _start(backend: dict[str, Any], folder: Path, name: str) -> dict[str, Any]:
    fleet = {
        "backends": {"gpu": backend},
        "models": {"m": {"tiers": [{"gpu": {"model": Path(backend["model"]).name}}]}},
    }
    with baseload(fleet, folder, name) as gateway:
        calls = calls_of([Ask(gateway.url, calls=1 + LATER, answer=16)])
    errors = [call.error for call in calls if call.error]
    ms = [1e3 * (call.first - call.sent) for call in calls]
    found = {"ready_s": round(gateway.ready_s, 1), "first_ms": round(ms[0], 1),
             "second_ms": round(ms[1], 1), "steady_ms": round(median(ms[2:]), 1)}  # fmt: skip
    return found | ({"errors": errors} if errors else {})
