"""Does the learnt number of calls at once give as much as the best fixed one?

One engine, more callers than it can serve at once, and Baseload in front with a batch that is
learnt, or fixed to one number. Answers have 64 to 192 tokens, so that calls do not go in step. Each
setting is given time to settle, then a window is measured.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from client import Ask, calls_of
from figures import steady
from models import write
from servers import baseload, get_json, vllm
from watching import Watch

CALLERS = 288
FIXED = (64, 128, 256)
SETTLE_S, WINDOW_S = 6.0, 16.0
LEARN_S = 75.0


def measure(folder: Path, *, is_quick: bool) -> Iterator[dict[str, Any]]:
    """Measure it."""
    rows: list[dict[str, Any]] = []
    with vllm(write(folder / "qwen7b"), folder) as engine:
        calls_of([Ask(engine.url, calls=1, answer=32)] * 256)
        settings = [(f"fixed {n}", {"min": n, "max": n}, SETTLE_S) for n in FIXED]
        settings.append(("learnt", {"min": 2, "max": 256}, LEARN_S))
        for name, batch, settle_s in settings[-3:] if is_quick else settings:
            rows.append(_row(engine.url, name, batch, settle_s, folder))
            print(rows[-1], flush=True)
            yield {
                "model": "R1-Distill-Qwen-7B, dummy weights, BF16",
                "prompt": 512,
                "answer": "64 to 192",
                "callers": CALLERS,
                "settings": rows,
            }
    best = max(row["tokens_s"] for row in rows if row["setting"] != "learnt")
    learnt = rows[-1]["tokens_s"]
    yield {"learnt_of_best": round(learnt / best, 4)}


def _row(
    url: str, name: str, batch: dict[str, int], settle_s: float, folder: Path
) -> dict[str, Any]:
    fleet = {
        "backends": {"gpu": {"url": url, "batch": batch, "probe_s": 1}},
        "models": {"m": {"tiers": [{"gpu": {"model": "m"}}], "first_token_s": 120}},
        "queue": {"size": 2048, "wait_s": 120},
    }
    seconds = settle_s + WINDOW_S
    with baseload(fleet, folder, name.replace(" ", "-")) as gateway, Watch() as watch:
        began = time.monotonic()
        calls = calls_of([Ask(gateway.url, seconds=seconds, spread=64)] * CALLERS)
        limit = get_json(f"{gateway.admin}/api/v1/status")["backends"][0]["limit"]
    found = steady(calls, began + settle_s, began + seconds)
    return {"setting": name} | found | watch.facts | {"limit": limit}
