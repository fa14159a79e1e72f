"""The conductor's figures, beside their targets: overload, fairness, limits, and a bad week.

    python bench/conductor.py [goodput|week|limits|live|all] [--hours N] [--per-s N]
                              [--live-s N] [--json FILE]

All but `live` run on simulated time, and give the same numbers again for the same code; `live` runs
the real gateway between two doubles for ten minutes. `all` is everything but `live`. Exit code 0:
all targets are met; 1: one is missed.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

import live
from baseload.sim.provider import Habits
from scenarios import (
    SLOTS,
    WEEK_S,
    advice,
    follow,
    goodput,
    shares,
    urgent_wait_s,
    week,
)

ANSWERED = 0.9999
MOVES = [(0.0, 40), (120.0, 80), (240.0, 20), (360.0, 40)]
LIVE_PER_S = 10.0

console = Console(width=None if sys.stdout.isatty() else 120)


@dataclass(frozen=True)
class Figure:
    """One measured number, the target beside it, and whether it is met."""

    what: str
    value: str
    target: str
    is_met: bool


def _goodput(_: argparse.Namespace) -> Iterator[Figure]:
    ways = (("refuse", SLOTS, "limit known"), ("refuse", 2 * SLOTS, "limit unknown, refuses"))
    for excess, limit, name in (*ways, ("queue", 2 * SLOTS, "limit unknown, queues")):
        habits = Habits(slots=SLOTS, excess=excess)
        for times in (2.0, 5.0, 10.0):
            value = goodput(times, habits, limit)
            what = f"goodput at {times:g} times capacity, {name}"
            yield Figure(what, f"{value:.1%}", ">= 95 %", value >= 0.95)
    for offers in ((8, 1, 1), (1, 1, 1), (20, 2, 1)):
        worst = max(abs(share - 1) for share in shares(offers).values())
        named = ":".join(map(str, offers))
        what = f"three tenants offer {named}: furthest from a fair share of tokens"
        yield Figure(what, f"{worst:.1%}", "<= 10 %", worst <= 0.1)
    for share in (0.1, 0.3, 0.8):
        wait_s, answered = urgent_wait_s(share, 10.0, 2 * SLOTS)
        what = f"interactive at {share:g} of capacity, batch at 10 times: p99 wait, answered"
        is_met = wait_s < 30.0 and answered >= 0.99
        yield Figure(what, f"{wait_s:.2f} s, {answered:.1%}", "< 30 s, >= 99 %", is_met)
    for times, line in ((2.0, 64), (5.0, 64), (2.0, 1024)):
        one = advice(times, line)
        what = f"Retry-After within a factor of 2, {times:g} times capacity, line of {line}"
        yield Figure(what, f"{one.within_two:.1%}", ">= 95 %", one.within_two >= 0.95)
    one = advice(1.2, 64, tries_max=10)
    what = "callers who obey it, at 1.2 times capacity: answered in the end"
    yield Figure(what, f"{one.answered:.1%}", ">= 98 %", one.answered >= 0.98)


def _limits(_: argparse.Namespace) -> Iterator[Figure]:
    for excess in ("refuse", "queue"):
        for has_second in (False, True):
            found = follow(MOVES, excess, has_second)
            worst = max(abs(ratio - 1) for _, ratio in found)
            named = " > ".join(str(slots) for slots, _ in found)
            beside = "with" if has_second else "without"
            what = f"hidden limit {named}, {excess}s, {beside} failover: worst a minute later"
            yield Figure(what, f"{worst:.1%}", "<= 20 %", worst <= 0.2)


def _week(options: argparse.Namespace) -> Iterator[Figure]:
    for second_fails in (False, True):
        begun = time.process_time()
        actual = week(options.hours * 3600.0, options.per_s, second_fails=second_fails)
        for note in actual.notes:
            console.print(f"  failed: {note}", style="dim", highlight=False)
        met = ", ".join(f"{fact.label} {count:,}" for fact, count in actual.met.most_common())
        used_s = time.process_time() - begun
        console.print(
            f"  attempts: {met}; {used_s:.0f} s of CPU",
            style="dim",
            highlight=False,
            soft_wrap=True,
        )
        both = "both fail" if second_fails else "one fails"
        what = f"{options.hours:g} hours, {both} 0.5 % and go dark in turns: {actual.calls:,} calls"
        value = f"{actual.share:.4%} answered, {actual.calls - actual.answered} not"
        yield Figure(what, value, ">= 99.99 %", actual.share >= ANSWERED)


def _live(options: argparse.Namespace) -> Iterator[Figure]:
    tally = live.run(options.live_s, LIVE_PER_S)
    for why, count in tally.ends.most_common():
        console.print(f"  failed: {count} times: {why}", style="dim", highlight=False)
    share = tally.whole / max(tally.calls, 1)
    slowest = max(tally.seconds, default=0.0)
    console.print(
        f"  {tally.resumed} streams were resumed; slowest answer {slowest:.1f} s", style="dim"
    )
    what = f"live, {options.live_s:g} s, both fail and go dark in turns: {tally.calls:,} calls"
    value = f"{share:.3%} answered, {tally.calls - tally.whole} not"
    yield Figure(what, value, ">= 99.99 %", share >= ANSWERED)


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Figure]]] = {
    "goodput": _goodput,
    "limits": _limits,
    "week": _week,
    "live": _live,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what the conductor decides.")
    parser.add_argument("part", nargs="?", default="all", choices=[*PARTS, "all"])
    parser.add_argument("--hours", type=float, default=WEEK_S / 3600, help="how long a week is")
    parser.add_argument("--per-s", type=float, default=1.0, help="the week's calls a second")
    parser.add_argument("--live-s", type=float, default=600.0, help="how long `live` calls")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    parts = [options.part] if options.part != "all" else ["goodput", "limits", "week"]
    figures = [figure for part in parts for figure in PARTS[part](options)]
    table = Table("figure", "value", "target", "met")
    for one in figures:
        style = None if one.is_met else "red"
        table.add_row(one.what, one.value, one.target, "yes" if one.is_met else "NO", style=style)
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in figures], indent=1) + "\n")
    return int(not all(one.is_met for one in figures))


if __name__ == "__main__":
    sys.exit(main())
