"""What the first caller of an engine waits for: warmed and not, beside later callers.

    python bench/warmup.py [--rounds N] [--engine KIND --model MODEL] [--json FILE]

Every reading is of a fresh engine, started as `baseload up` starts it. Cold is one that has only
said a few tokens, which is what makes it ready; warm has done what the fleet file asks by default,
and read the system prompt. The first call is timed to its first token, and so are four that follow,
whose median is called steady. Cold and warm take turns. Shown are medians over the rounds.

Exit code 0: with warming, first calls are within 1.5 times the steady ones. 1: they are not.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from baseload.config.fleet import Backend
from baseload.config.serving import Serve, Warm
from baseload.engines.speaking import Speaker
from baseload.engines.supervisor import Engine
from baseload.engines.warming import filler
from machine import facts

FIRST_PER_STEADY_MAX = 1.5
STEADY_CALLS = 4
CALL_MAX_S = 120.0
SYSTEM = filler(600, 1)
SHAPES = {"a short chat": None, "after a system prompt of 600 tokens": SYSTEM}
COLD = Warm(prompts=(), idle_s=0.0)
WARM = Warm(system=(SYSTEM,), idle_s=0.0)

console = Console(width=None if sys.stdout.isatty() else 120)


async def _first_s(speaker: Speaker, system: str | None, number: int) -> float:
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": filler(16, number)})
    said = await speaker.chat(messages, answer_tokens=4, stream=True, wait_max_s=CALL_MAX_S)
    return said.first_s


async def _life(engine: str, model: str, wishes: Warm, system: str | None) -> dict[str, float]:
    """Start an engine, call it a few times, and stop it."""
    over = asyncio.Event()
    clock = asyncio.get_running_loop().time

    def tell(state) -> None:
        if state.phase in ("ready", "failed"):
            over.set()

    with tempfile.TemporaryDirectory() as folder:
        backend = Backend(name="bench", engine=engine, model=model, serve=Serve(warm=wishes))
        one = Engine(backend, Path(folder), tell)
        began_at = clock()
        running = asyncio.create_task(one.run())
        await over.wait()
        ready_s = clock() - began_at
        try:
            if one.state.address is None:
                sys.exit(f"the engine does not come up: {one.state.reason}")
            speaker = Speaker(one.state.address, one.served_model)
            first_s, *later = [
                await _first_s(speaker, system, 1000 + at) for at in range(1 + STEADY_CALLS)
            ]
        finally:
            await one.stop()
            await running
    return {"ready_s": ready_s, "first_s": first_s, "steady_s": statistics.median(later)}


def main() -> int:
    parser = argparse.ArgumentParser(description="What the first caller of an engine waits for.")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--engine", default="llama.cpp", metavar="KIND")
    parser.add_argument("--model", default="smollm2-135m-instruct", metavar="MODEL")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    progress = Console(stderr=True)
    cells = list(product(SHAPES, {"cold": COLD, "warm": WARM}.items()))
    readings: dict[tuple[str, str], list[dict[str, float]]] = {}
    for shape, (state, wishes) in track(cells * args.rounds, "engines", console=progress):
        life = asyncio.run(_life(args.engine, args.model, wishes, SHAPES[shape]))
        readings.setdefault((shape, state), []).append(life)
    rows = [
        {"shape": shape, "state": state}
        | {key: statistics.median(life[key] for life in lives) for key in lives[0]}
        | {"lives": lives}
        for (shape, state), lives in readings.items()
    ]
    table = Table("first call", "engine", "ready after", "first", "steady", "", box=None)
    for row in rows:
        row["first_per_steady"] = row["first_s"] / row["steady_s"]
        times = [f"{row['ready_s']:.2f} s"]
        times += [f"{row[key] * 1000:.0f} ms" for key in ("first_s", "steady_s")]
        table.add_row(row["shape"], row["state"], *times, f"{row['first_per_steady']:.2f}x")
    console.print(table)
    if args.json:
        what = {"engine": args.engine, "model": args.model, "rounds": args.rounds}
        args.json.write_text(json.dumps({"machine": facts(), **what, "rows": rows}, indent=2))
    worst = max(row["first_per_steady"] for row in rows if row["state"] == "warm")
    return 0 if worst <= FIRST_PER_STEADY_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
