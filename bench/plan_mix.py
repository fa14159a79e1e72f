"""How long does it take to find the cheapest mix of forty options over four periods?

    python bench/plan_mix.py [--rounds N] [--limit S]

Each row is one demand on one catalogue, solved in a process of its own, so that importing SciPy
counts; shown are the median of five and the slowest, and whether the answer was proved to be the
cheapest within the limit. The catalogue is made up, with round prices, so that it never changes:
eight machines, each owned, rented, reserved or as spot in three sites, and three APIs or none.
Exit code 0: every median is below the target. 1: one is not.
"""

import argparse
import subprocess
import sys
import time
from itertools import product
from math import inf
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from baseload.plan.mix.mixing import find_mix
from baseload.plan.mix.option import Demand, Option, Period

TARGET_S = 2.0
COUNT = 40
MACHINES = {
    "l40s": (0.9, 820.0), "a100": (1.6, 1650.0), "2xa100": (3.5, 3200.0), "h100": (3.2, 2700.0),
    "2xh100": (7.0, 5300.0), "h200": (4.4, 3400.0), "4xh100": (14.5, 10400.0),
    "8xh100": (30.0, 20500.0),
}  # fmt: skip
OFFERS = (
    ("room", "owned", 0.62, 0.5), ("aws/us-east-1", "on_demand", 1.35, 0.0),
    ("aws/us-east-1", "spot", 0.55, 0.0), ("azure/eastus", "reserved_1y", 0.9, 0.9),
    ("azure/eastus", "on_demand", 1.43, 0.0),
)  # fmt: skip
APIS = ((5.0, 0.0012), (20.0, 0.0018), (100.0, 0.0026))
DAY = ((1.0, 1 / 24), (0.7, 7 / 24), (0.4, 8 / 24), (0.15, 8 / 24))
DEMANDS = {
    "N-1": {},
    "N-1, 3 kinds": {"kinds_max": 3},
    "N-1, 3 kinds, half not spot": {"kinds_max": 3, "spot_floor": 0.5},
    "a site, 4 kinds": {"survive_site": True, "kinds_max": 4},
}
LOADS_RPS = (4.0, 40.0, 300.0)

console = Console(width=None if sys.stdout.isatty() else 120)


def catalogue(has_apis: bool) -> tuple[Option, ...]:
    """Make forty options."""
    rented = [
        Option(
            name=f"{machine} {site} {tenure}", site=site, tenure=tenure, capacity_rps=rps,
            usd_month=usd * on, usd_month_off=usd * off, replicas_max=32, start_s=180.0,
            interruptions_hour=0.05 if tenure == "spot" else 0.0, availability=0.995,
        )
        for (machine, (rps, usd)), (site, tenure, on, off) in product(MACHINES.items(), OFFERS)
    ]  # fmt: skip
    apis = [
        Option(
            name=f"api {n}", site=f"api {n}", tenure="api", capacity_rps=inf, rate_rps=rps,
            usd_request=usd,
        )
        for n, (rps, usd) in enumerate(APIS if has_apis else ())
    ]  # fmt: skip
    return (*rented[: COUNT - len(apis)], *apis)


def solve_one(has_apis: bool, rps: float, name: str, limit_s: float) -> None:
    """Solve one row and print how long that took and what came of it."""
    began = time.perf_counter()
    periods = tuple(Period(rps * part, share) for part, share in DAY)
    options = catalogue(has_apis)
    answer = find_mix(options, Demand(periods=periods, **DEMANDS[name]), limit_s)
    took_s = time.perf_counter() - began
    assert len(options) == COUNT
    assert answer is not None
    found = {"s": took_s, "usd": answer.usd_month, "bound": answer.usd_month_bound}
    sys.stdout.write(msgspec.json.encode(found | {"proved": answer.is_optimal}).decode())


def main() -> int:
    """Time all rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=10.0)
    parser.add_argument("--one", nargs=3, help="for the bench itself: apis, load, demand")
    asked = parser.parse_args()
    if asked.one:
        apis, rps, name = asked.one
        solve_one(apis == "apis", float(rps), name, asked.limit)
        return 0
    table = Table("options", "requests/s", "asked", "median s", "slowest s", "gap", box=None)
    is_met = True
    for apis, rps, name in product(("apis", "none"), LOADS_RPS, DEMANDS):
        command = [sys.executable, Path(__file__), "--limit", str(asked.limit), "--one", apis]
        command += [str(rps), name]
        rounds = [
            msgspec.json.decode(subprocess.run(command, check=True, capture_output=True).stdout)
            for _ in range(asked.rounds)
        ]
        middle = median(found["s"] for found in rounds)
        is_met &= middle < TARGET_S
        slowest = max(found["s"] for found in rounds)
        gap = max(1.0 - found["bound"] / found["usd"] for found in rounds)
        proof = "proved" if all(found["proved"] for found in rounds) else f"{gap:.1%}"
        mark = "" if middle < TARGET_S else " !"
        table.add_row(apis, f"{rps:g}", name, f"{middle:.2f}{mark}", f"{slowest:.2f}", proof)
    console.print(table)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
