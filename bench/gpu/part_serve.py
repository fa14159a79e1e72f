"""What does Baseload cost in front of an engine: throughput, first tokens, at 1 to 256 calls?

Direct and through Baseload, interleaved; a ratio is taken within each round, and the median of the
rounds is told.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from client import Ask, calls_of
from figures import figures, middle
from models import write
from servers import ENGINES, baseload
from watching import Watch

LEVELS = (1, 4, 16, 64, 128, 256)
ROUNDS = 5
ALONE = 60
"""Calls one after the other, of a few tokens, by which first tokens are compared: where several
call at once, an engine's turns of milliseconds hide what is added."""


def calls_at(level: int) -> int:
    """How many calls each caller makes in a round: few are many where many call."""
    return 3 if level <= 16 else 2


def measure(
    folder: Path, *, is_quick: bool, kind: str, only: tuple[str, ...] = ()
) -> Iterator[dict[str, Any]]:
    """Measure it; `only` at these numbers of calls."""
    model, rows = write(folder / "qwen7b"), []
    levels = [int(each) for each in only] or list(LEVELS)
    with ENGINES[kind](model, folder) as engine:
        fleet = {
            "backends": {"gpu": {"url": engine.url}},
            "models": {"m": {"tiers": [{"gpu": {"model": "m"}}]}},
        }
        with baseload(fleet, folder) as gateway:
            paths = {"direct": engine.url, "baseload": gateway.url}
            for level in levels:  # engines compile and capture on first use
                calls_of([Ask(engine.url, calls=1, answer=16)] * level)
            yield {"model": f"R1-Distill-Qwen-7B, dummy weights, BF16, by {kind}",
                   "prompt": 512, "answer": 128,
                   "engine_ready_s": round(engine.ready_s, 1)}  # fmt: skip
            if not only:
                yield {"alone": _alone(paths, 1 if is_quick else ROUNDS)}
            for level in levels[::3] if is_quick else levels:
                rows.append(_level(paths, level, 1 if is_quick else ROUNDS))
                print(rows[-1], flush=True)
                yield {"levels": rows}


def _alone(paths: dict[str, str], rounds: int) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in paths}
    for number in range(rounds):
        for name, url in list(paths.items())[:: 1 if number % 2 else -1]:
            calls = calls_of([Ask(url, calls=ALONE, answer=8)])
            found[name].append(figures(calls))
    pairs = list(zip(found["direct"], found["baseload"], strict=True))
    return {
        "calls": ALONE * rounds,
        "ttft_ms": {name: middle(readings, "ttft_ms") for name, readings in found.items()},
        "ttft_p95_ms": {name: middle(readings, "ttft_p95_ms") for name, readings in found.items()},
        "ttft_added_ms": round(median(b["ttft_ms"] - a["ttft_ms"] for a, b in pairs), 3),
    }


def _level(paths: dict[str, str], level: int, rounds: int) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in paths}
    for number in range(rounds):
        order = list(paths.items())
        for name, url in order if number % 2 else order[::-1]:
            asks = [Ask(url, calls=calls_at(level))] * level
            with Watch() as watch:
                calls = calls_of(asks)
            found[name].append(figures(calls) | watch.facts)
    row: dict[str, Any] = {"calls_at_once": level, "rounds": rounds}
    names = [
        name for name in ("tokens_s", "ttft_ms", "ttft_p95_ms", "tpot_ms", "busy_ratio", "watts")
        if all(name in each for path in found.values() for each in path)
    ]  # fmt: skip
    for path, readings in found.items():
        row[path] = {name: middle(readings, name) for name in names}
        if all("joules" in each for each in readings):
            row[path]["joules_token"] = round(
                median(each["joules"] / each["tokens"] for each in readings), 4
            )
        if errors := [each["errors"] for each in readings if "errors" in each]:
            row[path]["errors"] = errors
    pairs = list(zip(found["direct"], found["baseload"], strict=True))
    row["throughput_ratio"] = round(median(b["tokens_s"] / a["tokens_s"] for a, b in pairs), 4)
    row["ttft_added_ms"] = round(median(b["ttft_ms"] - a["ttft_ms"] for a, b in pairs), 3)
    return row
