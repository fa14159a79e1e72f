"""Does the learnt number of calls write as much as the best fixed one, on the embedded engine?

    python bench/knee.py [--rounds N] [--seconds S] [--fixed 1,2,4,8,16] [--warm S] [--json FILE]

A real llama.cpp with a real model serves behind a real gateway for each setting, all from one
engine: gateways share it and are asked in turn, each by as many callers as the engine has slots and
half as many more. What a round of a setting wrote is counted by the callers, token by token. Rounds
are interleaved, and the best of the fixed settings is compared by its median, so that a busy
machine is unjust to all alike. The adaptive gateway learns in its own rounds only, after `--warm`
seconds for itself. Exit code 0: at least 95 % of the best fixed setting; 1: less; 2: it cannot run.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import monotonic

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from baseload.config.fleet import Backend, Fleet, Model, Overload, Queue, Target
from baseload.config.serving import Batch
from baseload.engines.supervisor import Engine, EngineState
from baseload.gateway.gateway import Gateway

MODEL = "smollm2-135m-instruct"
SLOTS = 16
READY_S_MAX = 120.0
ANSWER_TOKENS = (16, 64)
"""Answers' lengths go from the one to the other, caller by caller."""
SHARE_MIN = 0.95
ADAPTIVE = "adaptive"

console = Console(width=None if sys.stdout.isatty() else 120)


@dataclass
class Setting:
    """One setting, and what its rounds gave: tokens a second, and times to first tokens."""

    name: str
    batch: Batch
    rates: list[float]
    first_s: list[float]
    limits: list[int]
    tokens: int = 0
    """What its callers have had so far."""


async def _gateway(url: str, batch: Batch) -> Gateway:
    """Serve the engine behind a gateway of its own, with this setting."""
    patient = Overload(error_rate=1.0, latency_s=600.0, queued_s=600.0)
    model = Model(
        name="m", tiers=({"e": Target(backend="e", model=MODEL)},), first_token_s=600.0,
        stall_s=600.0,
    )  # fmt: skip
    fleet = Fleet(
        listen="127.0.0.1:0",
        backends={"e": Backend(name="e", url=url, batch=batch, concurrency=batch.max)},
        models={"m": model},
        queue=Queue(size=1000, wait_s=600.0),
        overload=patient,
    )
    gateway = Gateway(fleet)
    await gateway.start()
    return gateway


async def _ask(client: httpx.AsyncClient, url: str, number: int, setting: Setting) -> None:
    """Ask once, and count the pieces of text that come, a token each."""
    low, high = ANSWER_TOKENS
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": f"Count to one hundred, {number} by {number}."}],
        "max_tokens": low + number * 7 % (high - low + 1),
        "stream": True,
        "temperature": 0,
    }
    began, is_first = monotonic(), True
    async with client.stream("POST", url, json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line[6:]).get("choices") or [{}]
                if choices[0].get("delta", {}).get("content"):
                    if is_first:
                        setting.first_s.append(monotonic() - began)
                    is_first = False
                    setting.tokens += 1


async def _round(gateway: Gateway, setting: Setting, seconds: float) -> float:
    """Ask for so long; give the tokens a second that came in the later three quarters of it."""
    url = f"http://127.0.0.1:{gateway.address[1]}/v1/chat/completions"

    async def caller(number: int) -> None:
        async with httpx.AsyncClient(timeout=600.0) as client:
            while True:
                number += 1
                await _ask(client, url, number, setting)

    tasks = [asyncio.create_task(caller(100 * one)) for one in range(SLOTS * 3 // 2)]
    try:
        await asyncio.sleep(seconds / 4)
        began, before = monotonic(), setting.tokens
        await asyncio.sleep(seconds * 3 / 4)
        rate = (setting.tokens - before) / (monotonic() - began)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    setting.limits.append(gateway.gate.seats["e"].limit.limit)
    return rate


async def _measure(options: argparse.Namespace, folder: str) -> list[Setting]:
    """Start the engine, and ask each setting in turn."""
    ready = asyncio.Event()
    backend = Backend(name="e", engine="llama.cpp", model=MODEL, concurrency=SLOTS)

    def hear(state: EngineState) -> None:
        if state.phase in ("ready", "failed"):
            ready.set()

    engine = Engine(backend, Path(folder), hear)
    running = asyncio.create_task(engine.run())
    try:
        await asyncio.wait_for(ready.wait(), READY_S_MAX)
        if engine.state.address is None:
            raise RuntimeError(f"the engine did not start: {engine.state.reason}")
        host, port = engine.state.address
        return await _rounds(options, f"http://{host}:{port}/v1")
    finally:
        await engine.stop()
        await running


async def _rounds(options: argparse.Namespace, url: str) -> list[Setting]:
    settings = [
        Setting(str(calls), Batch(min=calls, max=calls), [], [], []) for calls in options.fixed
    ]
    settings.append(Setting(ADAPTIVE, Batch(min=1, max=SLOTS), [], [], []))
    async with AsyncExitStack() as stack:
        gateways = []
        for setting in settings:
            gateway = await _gateway(url, setting.batch)
            stack.push_async_callback(gateway.drain)
            gateways.append(gateway)
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("learning", total=1 + options.rounds * len(settings))
            await _round(gateways[-1], settings[-1], options.warm)
            settings[-1].first_s.clear()
            progress.advance(bar)
            for _ in range(options.rounds):
                for setting, gateway in zip(settings, gateways, strict=True):
                    progress.update(bar, description=setting.name)
                    setting.rates.append(await _round(gateway, setting, options.seconds))
                    progress.advance(bar)
    return settings


def _share(settings: list[Setting]) -> float:
    """Give what the learnt number wrote, as a share of the best fixed one."""
    best = max(median(one.rates) for one in settings if one.name != ADAPTIVE)
    return median(settings[-1].rates) / best if best else 0.0


def _show(settings: list[Setting], share: float) -> None:
    table = Table(title=f"tokens a second; the learnt number: {share * 100:.1f} % of the best")
    for column in ("calls", "median", "rounds", "first token, median", "limit at the end"):
        table.add_column(column, justify="right")
    for one in settings:
        first = f"{median(one.first_s):.2f} s" if one.first_s else ""
        rounds = " ".join(f"{rate:.0f}" for rate in one.rates)
        table.add_row(one.name, f"{median(one.rates):.1f}", rounds, first, str(one.limits[-1]))
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show, and say whether the learnt number is good enough."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=16.0, help="of one round of a setting")
    parser.add_argument("--warm", type=float, default=90.0, help="in which the learner is alone")
    parser.add_argument(
        "--fixed", type=lambda text: [int(one) for one in text.split(",")], default=[1, 2, 4, 8, 16]
    )
    parser.add_argument("--json", type=Path, help="where every reading is written")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            settings = asyncio.run(_measure(options, folder))
    except (RuntimeError, TimeoutError, OSError) as error:
        console.print(f"cannot run: {error}")
        return 2
    share = _share(settings)
    _show(settings, share)
    if options.json:
        rows = [{**asdict(one), "batch": None} for one in settings]
        options.json.write_text(json.dumps({"share": share, "settings": rows}, indent=1))
    return 0 if share >= SHARE_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
