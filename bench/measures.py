"""What is measured: one function for each question, each giving numbers and errors.

A measure is given one running proxy and asks it for a short window. The runner calls every measure
for every proxy in turn, round after round, so that a slow minute of the machine meets all of them.
Slow peers get fewer streams; `sizes` says what everyone gets.
"""

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from load import Load, end
from machine import listen_counters, resident_kb
from peers import Proxy, UnavailableError

RATE = 50  # chunks a second of one stream: a quick model
SPREAD_S = 0.5
SETTLE_S = 0.5  # between the last stream's opening and the look at memory
IDLE_RATE = 0.1
IDLE_CHUNKS = 1000


@dataclass(frozen=True)
class Reading:
    """Numbers by metric, and what went wrong by kind; a reading with errors is marked."""

    values: dict[str, float]
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """What every measure needs: the load, a way to start a fresh instance, and how long to look."""

    load: Load
    fresh: Callable[[Proxy], Proxy]
    scale: float = 1.0  # of every window, below 1 for a smoke run


@dataclass(frozen=True)
class Measure:
    """One question, in how many rounds at most it is asked, and of whom."""

    name: str
    read: Callable[[Bench, Proxy], Reading]
    rounds_max: int = 100
    is_for_direct: bool = True
    is_for_slow: bool = True


def _closed(bench: Bench, proxy: Proxy, body: str, **arguments: Any) -> dict[str, Any]:
    chosen = {"n": 64, "seconds": 2.0, "warm": 0.2, "tokens": 1} | arguments
    chosen["seconds"] *= bench.scale
    return bench.load.run("closed", port=proxy.port, body=body, pids=proxy.pid_list, **chosen)


def _reading(got: dict[str, Any], has_any: float, values: dict[str, float]) -> Reading:
    """Give the numbers, or none of them when nothing was answered: zeros would flatter."""
    return (
        Reading(values, got["errors"]) if has_any else Reading({}, got["errors"] | {"no answer": 1})
    )


def requests(bench: Bench, proxy: Proxy) -> Reading:
    """Small answers over 64 connections: requests a second, CPU for each, latency under load."""
    got = _closed(bench, proxy, bench.load.chat())
    answers, window_s = got["window_answers"], got["window_s"] or 1
    return _reading(
        got,
        answers,
        {
            "rps": answers / window_s,
            "cpu_us": got["cpu_s"] * 1e6 / max(1, answers),
            "busy": got["cpu_s"] / window_s,
            "p50_64_us": got["p50_us"],
            "p99_64_us": got["p99_us"],
        },
    )


def latency(bench: Bench, proxy: Proxy) -> Reading:
    """Latency of small answers at 1 and 8 connections."""
    values: dict[str, float] = {}
    errors: Counter[str] = Counter()
    for connections in (1, 8):
        got = _closed(bench, proxy, bench.load.chat(), n=connections, seconds=0.8)
        reading = _reading(
            got,
            got["window_answers"],
            {f"p50_{connections}_us": got["p50_us"], f"p99_{connections}_us": got["p99_us"]},
        )
        values |= reading.values
        errors.update(reading.errors)
    return Reading(values, errors)


def prompt(bench: Bench, proxy: Proxy) -> Reading:
    """Requests a second with prompts of 65,000 characters, over 64 connections."""
    got = _closed(bench, proxy, bench.load.long_prompt(), seconds=1.2)
    answers = got["window_answers"]
    return _reading(got, answers, {"prompt_rps": answers / (got["window_s"] or 1)})


def _paced(bench: Bench, proxy: Proxy, streams: int) -> dict[str, Any]:
    seconds = 2.0 * bench.scale
    chunks = round(RATE * (seconds + 2 * SPREAD_S))
    return bench.load.run(
        "paced",
        port=proxy.port,
        n=streams,
        seconds=seconds,
        spread=SPREAD_S,
        tokens=chunks,
        body=bench.load.stream(chunks, RATE),
        pids=proxy.pid_list,
    )


def streams(bench: Bench, proxy: Proxy) -> Reading:
    """200 streams at 50 chunks a second: CPU for each chunk, and how late chunks come."""
    got = _paced(bench, proxy, 4 if proxy.peer.is_slow else 200)
    return _reading(
        got,
        got["tokens"],
        {
            "chunk_cpu_us": got["cpu_s"] * 1e6 / max(1, got["tokens"]),
            "chunk_p50_us": got["p50_us"],
            "chunk_p99_us": got["p99_us"],
        },
    )


def gap(bench: Bench, proxy: Proxy) -> Reading:
    """512 streams at 50 chunks a second: the longest time that any of them saw nothing."""
    got = _paced(bench, proxy, 512)
    return _reading(got, got["answers"], {"gap_ms": got["gap_max_ms"]})


def flood(bench: Bench, proxy: Proxy) -> Reading:
    """200 streams as fast as they go: chunks a second."""
    count, tokens = (8, 50) if proxy.peer.is_slow else (200, 200)
    body = bench.load.stream(tokens, 0)
    got = _closed(bench, proxy, body, n=count, tokens=tokens, seconds=1.0)
    return _reading(got, got["tokens"], {"chunks_s": got["tokens"] / (got["window_s"] or 1)})


def burst(bench: Bench, proxy: Proxy) -> Reading:
    """1,000 connects at once: the slowest connect and answer, and full listen queues."""
    before = listen_counters()
    got = bench.load.run("burst", port=proxy.port, n=1000, body=bench.load.chat(), grace=30)
    after = listen_counters()
    return _reading(
        got,
        got["answers"],
        {
            "connect_ms": got["connect_max_ms"],
            "answer_ms": got["answer_max_ms"],
            "overflows": after["ListenOverflows"] - before["ListenOverflows"],
            "drops": after["ListenDrops"] - before["ListenDrops"],
        },
    )


def memory(bench: Bench, proxy: Proxy) -> Reading:
    """Resident memory of a fresh instance, before and with 1,000 and 4,000 idle streams."""
    steps = (1000,) if proxy.peer.is_slow else (1000, 4000)
    try:
        instance = bench.fresh(proxy)
    except UnavailableError as reason:
        return Reading({}, {f"no fresh instance: {reason}": 1})
    try:
        _closed(bench, instance, bench.load.chat(), n=8, seconds=0.2)  # first use is not per stream
        before = resident_kb(instance.pids)
        values: dict[str, float] = {"rss_mb": before / 1024}
        errors: Counter[str] = Counter()
        load = bench.load.start_idle(
            port=instance.port,
            steps=",".join(map(str, steps)),
            tokens=IDLE_CHUNKS,
            body=bench.load.stream(IDLE_CHUNKS, IDLE_RATE),
            grace=60,
        )
        try:
            assert load.stdin
            assert load.stdout
            for count in steps:
                told = json.loads(load.stdout.readline())
                time.sleep(SETTLE_S)
                held = resident_kb(instance.pids)
                values[f"rss_{count}_mb"] = held / 1024
                values[f"stream_{count}_kb"] = (held - before) / count
                if told["open"] != count:
                    errors[f"open of {count} streams"] = told["open"]
                load.stdin.write("\n")
                load.stdin.flush()
            final = json.loads(load.stdout.readline())
            errors.update(final["errors"])
        finally:
            end(load)
            load.communicate()
    finally:
        instance.stop()
    return Reading(values, errors)


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("requests", requests),
        Measure("latency", latency),
        Measure("prompt", prompt),
        Measure("streams", streams),
        Measure("flood", flood),
        Measure("gap", gap, rounds_max=3, is_for_slow=False),
        Measure("burst", burst),
        Measure("memory", memory, rounds_max=2, is_for_direct=False),
    )
}
SLOW_ROUNDS_MAX = 2
