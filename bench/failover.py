"""How fast does the gateway change horses? Run me: python bench/failover.py [--json FILE].

One gateway runs as its users run it, on a core of its own. On another core one process is both the
caller and two backends (doubles, which answer by script over real HTTP), so all times are read from
one clock. What the doubles' own process takes counts against the gateway.

- switch: one backend fails in front of the caller's eyes (503, reset, close); how long until the
  other holds the request, and until the caller holds the other's first byte?
- open breaker: is a call whose first backend is known to be dead any slower than one without?
- seam: a stream is cut; how much longer than the next backend's own first token is the gap?
- refusals: at ten times the capacity, what does it cost to say no, and how late is the event loop?
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from doubles import CALLS, CAPACITY, SEAM_FIRST_TOKEN_S, SEAM_TOKENS, Backend, Book
from load import end, free_port
from machine import BenchError, cores

SEAMS = 60
OVERLOAD_S = 6.0
START_S_MAX = 20.0

FLEET = """\
listen: 127.0.0.1:{listen}
admin: 127.0.0.1:{admin}
state_dir: {scratch}
backends:
  a: {{url: "http://127.0.0.1:{a}/v1", probe_s: 0, prefill: assistant}}
  b: {{url: "http://127.0.0.1:{b}/v1", probe_s: 0, prefill: assistant}}
  dead: {{url: "http://127.0.0.1:{dead}/v1", probe_s: 0}}
  full: {{url: "http://127.0.0.1:{b}/v1", probe_s: 0, concurrency: 4}}
models:
  both:
    tiers: [{{a: {{model: both, weights: w}}}}, {{b: {{model: both, weights: w}}}}]
  one: {{tiers: [{{b: {{model: one}}}}]}}
  open: {{tiers: [{{dead: {{model: open}}}}, {{b: {{model: open}}}}]}}
  full: {{tiers: [{{full: {{model: full}}}}]}}
queue: {{size: 16, wait_s: 5}}
overload: {{error_rate: 1.0}}  # the failing backend must go on being asked
"""


class Caller(asyncio.Protocol):
    """One connection to the gateway; one call at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport: Any = transport
        self._heard: asyncio.Future[bytes] | None = None
        self.times: list[float] = []
        self.answer = b""

    def data_received(self, data: bytes) -> None:
        """Note when something came, and whether that was all."""
        self.times.append(time.perf_counter())
        self.answer += data
        length = re.match(
            rb"(?is)HTTP/1.1 [45].*?content-length: (\d+).*?\r\n\r\n(.*)", self.answer
        )
        is_refused = length is not None and len(length.group(2)) >= int(length.group(1))
        if (self.answer.endswith(b"0\r\n\r\n") or is_refused) and self._heard is not None:
            self._heard.set_result(self.answer)
            self._heard = None

    async def ask(self, model: str, word: str, number: int) -> bytes:
        """Make one streamed call and give all that came."""
        body = json.dumps({
            "model": model, "stream": True,
            "messages": [{"role": "user", "content": f"{word}/{number}"}],
        }).encode()  # fmt: skip
        self.times, self.answer = [], b""
        self._heard = asyncio.get_running_loop().create_future()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
        self.sent_at = time.perf_counter()
        self._transport.write(head % len(body) + body)
        return await asyncio.wait_for(self._heard, 30)


@dataclass
class Bench:
    """The gateway under test, and what talks with it."""

    port: int
    admin: int
    pid: int
    book: Book

    async def caller(self) -> Caller:
        """Connect one caller."""
        loop = asyncio.get_running_loop()
        _, caller = await loop.create_connection(Caller, "127.0.0.1", self.port)
        return caller


def quantiles_ms(values: list[float]) -> tuple[float, float]:
    """Give the median and the 99th percentile in milliseconds."""
    ranked = sorted(values)
    return statistics.median(ranked) * 1e3, ranked[int(len(ranked) * 0.99)] * 1e3


async def switch(bench: Bench) -> dict[str, float]:
    """Every fourth call meets a failing backend; four callers at once."""
    callers = [await bench.caller() for _ in range(4)]
    firsts: dict[int, float] = {}

    async def some(caller: Caller, numbers: range) -> None:
        for number in numbers:
            answer = await caller.ask("both", "switch", number)
            assert b"hello" in answer, answer[:300]
            assert b"[DONE]" in answer, answer[-300:]
            firsts[number] = caller.times[0]
            await asyncio.sleep(0.002)

    await asyncio.gather(
        *(some(caller, range(i * CALLS, (i + 1) * CALLS)) for i, caller in enumerate(callers))
    )
    failed = [n for n in bench.book.failed_at if n in bench.book.asked_b_at]
    to_next = [bench.book.asked_b_at[n] - bench.book.failed_at[n] for n in failed]
    to_caller = [firsts[n] - bench.book.failed_at[n] for n in failed]
    p50, p99 = quantiles_ms(to_next)
    _, end_p99 = quantiles_ms(to_caller)
    return {"switches": len(failed), "switch_p50_ms": p50, "switch_p99_ms": p99,
            "switch_to_caller_p99_ms": end_p99}  # fmt: skip


async def open_breaker(bench: Bench) -> dict[str, float]:
    """The same call with and without a dead backend in front, by turns."""
    caller = await bench.caller()
    took: dict[str, list[float]] = {"one": [], "open": []}
    for number in range(20):
        await caller.ask("open", "plain", number)  # Opens the breaker, and keeps it open.
    for number in range(CALLS):
        for model in ("one", "open"):
            await caller.ask(model, "plain", number)
            took[model].append(caller.times[-1] - caller.sent_at)
    healthy, behind = quantiles_ms(took["one"]), quantiles_ms(took["open"])
    return {"healthy_p50_ms": healthy[0], "open_p50_ms": behind[0],
            "healthy_p99_ms": healthy[1], "open_p99_ms": behind[1]}  # fmt: skip


async def seam(bench: Bench) -> dict[str, float]:
    """The gap at the seam, less the next backend's own first-token time."""
    caller = await bench.caller()
    for number in range(40):  # Let the backend that failed so often recover.
        await caller.ask("both", "plain", number)
        await asyncio.sleep(0.1)
    extra = []
    for number in range(100_000, 100_000 + SEAMS):
        for _ in range(3):
            await caller.ask("both", "plain", number)  # Else the breaker would open.
        answer = await caller.ask("both", "seam", number)
        assert answer.count(b'"content":" w') == SEAM_TOKENS, answer[-600:]
        assert b'"content":"on"' in answer, answer[-600:]
        cut_at = bench.book.failed_at[number]
        after = next(at for at in caller.times if at > cut_at + SEAM_FIRST_TOKEN_S / 2)
        extra.append(after - cut_at - SEAM_FIRST_TOKEN_S)
    p50, p99 = quantiles_ms(extra)
    return {"seam_p50_ms": p50, "seam_max_ms": max(extra) * 1e3, "seam_p99_ms": p99}


def cpu_s(pid: int) -> float:
    """Give the processor time of a process's first thread, which the event loop runs in."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _metrics(port: int) -> bytes:
    """Read the operator's page of metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        page: bytes = answer.read()
    return page


async def refusals(bench: Bench) -> dict[str, float]:
    """Ten times more callers' calls than the backend can take, paced, for some seconds."""
    callers = [await bench.caller() for _ in range(200)]
    gap_s = len(callers) / (10 * CAPACITY)
    outcomes = {"200": 0, "429": 0, "503": 0}

    async def keep_asking(caller: Caller, until: float, first: int) -> None:
        await asyncio.sleep(gap_s * first / len(callers))
        while time.perf_counter() < until:
            began = time.perf_counter()
            answer = await caller.ask("full", "slow", first)
            outcomes[answer[9:12].decode()] += 1
            await asyncio.sleep(max(0.0, gap_s - (time.perf_counter() - began)))

    async def load(callers: list[Caller], seconds: float) -> float:
        before, until = cpu_s(bench.pid), time.perf_counter() + seconds
        await asyncio.gather(*(keep_asking(c, until, i) for i, c in enumerate(callers)))
        return cpu_s(bench.pid) - before

    alone_s = await load(callers[:4], 2.0)
    served_alone = outcomes["200"]
    for kind in outcomes:
        outcomes[kind] = 0
    used_s = await load(callers, OVERLOAD_S)
    refused = outcomes["429"] + outcomes["503"]
    served_s = alone_s / max(served_alone, 1) * outcomes["200"]
    page = await asyncio.to_thread(_metrics, bench.admin)
    lag = re.search(rb'baseload_loop_lag_seconds\{which="max"\} (\S+)', page)
    return {
        "refusal_cpu_us": (used_s - served_s) / max(refused, 1) * 1e6,
        "refused": refused, "served": outcomes["200"],
        "goodput_share": outcomes["200"] / OVERLOAD_S / CAPACITY,
        "loop_lag_max_ms": float(lag.group(1)) * 1e3 if lag else float("nan"),
    }  # fmt: skip


TARGETS: dict[str, tuple[str, Callable[[dict[str, float]], bool]]] = {
    "switch_p50_ms": ("< 1", lambda all_: all_["switch_p50_ms"] < 1),
    "switch_p99_ms": ("< 5", lambda all_: all_["switch_p99_ms"] < 5),
    "switch_to_caller_p99_ms": ("< 50", lambda all_: all_["switch_to_caller_p99_ms"] < 50),
    "open_p50_ms": ("as healthy", lambda all_: all_["open_p50_ms"] < all_["healthy_p50_ms"] * 1.1),
    "seam_p50_ms": ("< 5", lambda all_: all_["seam_p50_ms"] < 5),
    "seam_max_ms": ("< 5", lambda all_: all_["seam_max_ms"] < 5),
    "refusal_cpu_us": ("< 50", lambda all_: all_["refusal_cpu_us"] < 50),
    "loop_lag_max_ms": ("< 20", lambda all_: all_["loop_lag_max_ms"] < 20),
    "goodput_share": (">= 0.95", lambda all_: all_["goodput_share"] >= 0.95),
}


async def measure(scratch: Path, core: int) -> dict[str, float]:
    """Start everything, measure, end everything."""
    loop, book = asyncio.get_running_loop(), Book()
    ports = {name: free_port() for name in ("listen", "admin", "a", "b", "dead")}
    servers = [
        await loop.create_server(lambda n=name: Backend(book, n), "127.0.0.1", ports[name])
        for name in ("a", "b")
    ]
    fleet = scratch / "baseload.yaml"
    fleet.write_text(FLEET.format(scratch=scratch, **ports))
    log = (scratch / "gateway.log").open("wb")
    gateway = subprocess.Popen(  # noqa: ASYNC220
        ["taskset", "-c", str(core), sys.executable, "-m", "baseload", "up", "-c", str(fleet)],
        stdout=log, stderr=subprocess.STDOUT, cwd=scratch,
    )  # fmt: skip
    try:
        bench = Bench(ports["listen"], ports["admin"], gateway.pid, book)
        await _ready(bench, gateway)
        found: dict[str, float] = {}
        steps: list[Callable[[Bench], Coroutine[Any, Any, dict[str, float]]]] = [
            switch, open_breaker, seam, refusals,
        ]  # fmt: skip
        for step in steps:
            found |= await step(bench)
        return found
    finally:
        end(gateway)
        log.close()
        for server in servers:
            server.close()


async def _ready(bench: Bench, gateway: subprocess.Popen[bytes]) -> None:
    until = time.perf_counter() + START_S_MAX
    while time.perf_counter() < until:
        try:
            caller = await bench.caller()
        except OSError:
            if gateway.poll() is not None:
                raise BenchError("the gateway ended; its log is in the scratch folder") from None
            await asyncio.sleep(0.05)
        else:
            await caller.ask("one", "plain", 0)
            return
    raise BenchError(f"the gateway was not there within {START_S_MAX:g} s")


def main() -> None:
    """Measure several times and show medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures of all rounds here")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    core, other = cores()
    os.sched_setaffinity(0, {other})
    rounds = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="baseload-bench-") as scratch:
            rounds.append(uvloop.run(measure(Path(scratch), core)))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    table = Table("figure", "median", "least", "most", "target", "met")
    for name, value in medians.items():
        wanted, is_met = TARGETS.get(name, ("", lambda _all: True))
        values = [one[name] for one in rounds]
        met = ("yes" if is_met(medians) else "NO") if wanted else ""
        table.add_row(name, f"{value:.3f}", f"{min(values):.3f}", f"{max(values):.3f}", wanted, met)
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"medians": medians, "rounds": rounds}, indent=1))


if __name__ == "__main__":
    main()
