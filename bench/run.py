"""The benchmark's command line: Baseload against its peers, interleaved, in one run.

    python bench/run.py [--quick] [--rounds N] [--only MEASURE,...] [--peers NAME,...]
                        [--python PATH]... [--tenants] [--tree DIR] [--markdown FILE]

Every round asks every question of every proxy in turn. Exit code 0: all targets that were measured
are met; 1: one is missed, or Baseload could not be measured or answered with errors; 2: the bench
cannot run here. What the numbers mean is in bench/README.md.
"""

import argparse
import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from load import Load, compile_programs
from machine import BenchError, cores, facts, others_s, raise_file_limit
from measures import MEASURES, SLOW_ROUNDS_MAX, Bench, Measure, Reading
from ours import baseloads, other_tree, tenants
from peers import OTHERS, ROOT, Peer, Proxy, UnavailableError, start, start_backend
from report import Numbers, markdown, show

SCRATCH = ROOT / ".bench"
QUICK_PEERS = ("haproxy", "nginx")
QUICK_ROUNDS, QUICK_SCALE = 1, 0.5
ROUNDS = 5

console = Console(width=None if sys.stdout.isatty() else 140)


def arguments() -> argparse.Namespace:
    def names(known: dict[str, Any]) -> Any:
        def split(text: str) -> list[str]:
            chosen = [name for name in text.split(",") if name]
            if wrong := [name for name in chosen if name not in known]:
                raise argparse.ArgumentTypeError(f"{wrong[0]} is none of {', '.join(known)}")
            return chosen

        return split

    parser = argparse.ArgumentParser(description="Measure Baseload against other proxies.")
    parser.add_argument("--quick", action="store_true", help="one short round, three proxies")
    parser.add_argument("--rounds", type=int, default=None, help=f"default {ROUNDS}")
    parser.add_argument("--only", type=names(MEASURES), help="measures, comma-separated")
    known = OTHERS | dict.fromkeys(["baseload"])
    parser.add_argument("--peers", type=names(known), help="proxies, comma-separated")
    parser.add_argument(
        "--python", action="append", help="interpreter to run Baseload with; again for a row each"
    )
    parser.add_argument(
        "--tenants", action="store_true", help="a row more: Baseload with keys, limits and prices"
    )
    parser.add_argument("--tree", type=Path, help="a row more: Baseload from another checkout")
    parser.add_argument("--markdown", type=Path, help="write the tables there too")
    return parser.parse_args()


class Run:
    """One run: its proxies, who could not take part, and all readings."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.proxy_core, self.load_core = cores()
        is_quick = options.quick
        self.rounds = options.rounds or (QUICK_ROUNDS if is_quick else ROUNDS)
        self.measures = [MEASURES[name] for name in options.only or MEASURES]
        wanted = options.peers or [*(QUICK_PEERS if is_quick else OTHERS), "baseload"]
        own = baseloads(options.python or [sys.executable]) if "baseload" in wanted else []
        python = (options.python or [sys.executable])[0]
        if options.tenants:
            own.append(tenants(python))
        if options.tree is not None:
            own.append(other_tree(python, options.tree))
        self.peers = [OTHERS[name] for name in wanted if name != "baseload"] + own
        self.baseload = [peer.name for peer in own]
        self.proxies: list[Proxy] = []
        self.left_out: dict[str, str] = {}
        self.readings: list[dict[str, Any]] = []
        self.bench = Bench(
            Load(SCRATCH, self.load_core), self._fresh, QUICK_SCALE if is_quick else 1.0
        )

    def _start(self, peer: Peer) -> Proxy:
        return start(peer, SCRATCH, self.proxy_core, self.proxies[0].port)

    def _fresh(self, proxy: Proxy) -> Proxy:
        return self._start(proxy.peer)

    def start_all(self) -> None:
        """Start the backend and every peer that can be had; note the reason for the others."""
        shutil.rmtree(SCRATCH / "run", ignore_errors=True)
        self.proxies.append(start_backend(SCRATCH, self.load_core))
        for peer in self.peers:
            try:
                self.proxies.append(self._start(peer))
            except UnavailableError as reason:
                self.left_out[peer.name] = str(reason)
                console.print(f"{peer.name} is left out: {reason}", style="yellow", markup=False)

    def stop_all(self) -> None:
        """End everything that was started."""
        for proxy in reversed(self.proxies):
            proxy.stop()

    def is_asked(self, measure: Measure, proxy: Proxy, number: int) -> bool:
        """Say whether a proxy takes part in a measure in this round."""
        if proxy is self.proxies[0]:
            return measure.is_for_direct and number <= measure.rounds_max
        if proxy.peer.is_slow:
            return measure.is_for_slow and number <= min(measure.rounds_max, SLOW_ROUNDS_MAX)
        return number <= measure.rounds_max

    def measure_all(self) -> None:
        """Ask every question of every proxy in turn, round after round."""
        for number in range(1, self.rounds + 1):
            for measure in self.measures:
                asked = [one for one in self.proxies if self.is_asked(measure, one, number)]
                said = [self._read(number, measure, proxy) for proxy in asked]
                if said:
                    console.print(
                        f"round {number}/{self.rounds} {measure.name}: {', '.join(said)}",
                        style="dim",
                        highlight=False,
                        markup=False,
                    )

    def _read(self, number: int, measure: Measure, proxy: Proxy) -> str:
        before, start_s = self._others_s(), time.monotonic()
        reading = measure.read(self.bench, proxy)
        others = (self._others_s() - before) / (time.monotonic() - start_s)
        if proxy.process.poll() is not None:
            reading = Reading(reading.values, reading.errors | {"the proxy died": 1})
        self.readings.append(
            {
                "round": number,
                "measure": measure.name,
                "peer": proxy.peer.name,
                "others": round(others, 3),  # cores' worth of work that was not ours
                "values": reading.values,
                "errors": reading.errors,
            }
        )
        first = next(iter(reading.values.values()), float("nan"))
        return f"{proxy.peer.name} {first:,.0f}{' !' if reading.errors else ''}"

    def _others_s(self) -> float:
        pids = [pid for proxy in self.proxies for pid in proxy.pids]
        return others_s((self.proxy_core, self.load_core), pids)

    def result(self) -> dict[str, Any]:
        """Give all that is known, as it goes into the file."""
        return {
            "machine": facts() | {"proxy_core": self.proxy_core, "load_core": self.load_core},
            "rounds": self.rounds,
            "versions": {one.peer.name: one.peer.version() for one in self.proxies},
            "slow": [one.peer.name for one in self.proxies if one.peer.is_slow],
            "baseload": self.baseload,
            "left_out": self.left_out,
            "readings": self.readings,
        }


def main() -> int:
    options = arguments()
    # An exception, like Ctrl-C: whatever ends this run, what it started is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        SCRATCH.mkdir(exist_ok=True)
        raise_file_limit()
        compile_programs(SCRATCH)
        run = Run(options)
        try:
            run.start_all()
            run.measure_all()
            result = run.result()
        finally:
            run.stop_all()
    except BenchError as error:
        console.print(f"bench: {error}", style="red", markup=False)
        return 2
    (SCRATCH / "results.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    if options.markdown:
        options.markdown.write_text(markdown(result))
    found = show(console, result)
    console.print(f"\nall readings: {SCRATCH / 'results.json'}", style="dim", highlight=False)
    is_missed = any(verdict.values and not verdict.is_met for verdict in found)
    has_errors = any(peer in run.baseload for peer, _ in Numbers(result["readings"]).errors)
    is_absent = any(name in run.left_out for name in run.baseload)
    return int(is_missed or has_errors or is_absent)


if __name__ == "__main__":
    sys.exit(main())
