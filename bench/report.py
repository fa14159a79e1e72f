"""What the numbers say: medians, ratios, verdicts, as a table for people and a file for programs.

Ratios are taken inside a round, against HAProxy in that same round, and the median of those is
shown: that is what survives a noisy machine. Added latency is a proxy's minus the direct row's,
again inside a round. A cell whose readings had errors carries a mark, and the errors are listed.
Readings during which other work kept the two cores busy are put aside where quiet ones exist; how
many, is told.
"""

import io
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

DIRECT, YARDSTICK = "no proxy", "haproxy"
OTHERS_MAX = 0.25  # cores; a reading with more work beside it than this is not a quiet one
BUSY_ENOUGH = 90  # percent of a core; below it something else than the proxy set the pace


@dataclass(frozen=True)
class Target:
    """What Baseload must reach: a limit on a metric, or on its ratio to a peer's."""

    text: str
    metric: str
    limit: float
    is_floor: bool
    against: str | None = None


TARGETS = (
    Target("requests/s against HAProxy", "rps", 0.55, True, "haproxy"),
    Target("requests/s against Envoy", "rps", 2.0, True, "envoy"),
    Target("requests/s against vllm-router", "rps", 2.7, True, "vllm-router"),
    Target("requests/s against LiteLLM", "rps", 150, True, "litellm"),
    Target("CPU of a paced chunk against HAProxy", "chunk_cpu_us", 1.35, False, "haproxy"),
    Target("512 streams: longest gap, ms", "gap_ms", 250, False),
    Target("added p50 at one connection against HAProxy", "added_p50_1_us", 1.5, False, "haproxy"),
    Target(
        "65,000-character prompt, requests/s against HAProxy", "prompt_rps", 0.6, True, "haproxy"
    ),
    Target("4,000 idle streams, resident MB", "rss_4000_mb", 80, False),
    Target("burst of 1,000 connects: listen overflows", "overflows", 0, False),
)


@dataclass(frozen=True)
class Column:
    """One column: which metric, how many digits, whether the ratio to HAProxy stands beside it."""

    title: str
    metric: str
    measure: str
    digits: int = 0
    has_ratio: bool = False


TABLES: dict[str, tuple[Column, ...]] = {
    "Requests (64 connections unless said otherwise)": (
        Column("requests/s", "rps", "requests", 0, True),
        Column("CPU µs", "cpu_us", "requests", 1, True),
        Column("core busy %", "busy_percent", "requests"),
        Column("65k prompt/s", "prompt_rps", "prompt", 0, True),
    ),
    "Added latency, µs (the direct row: its own)": (
        Column("p50, 1 conn.", "added_p50_1_us", "latency", 0, True),
        Column("p99, 1", "added_p99_1_us", "latency"),
        Column("p50, 8", "added_p50_8_us", "latency"),
        Column("p99, 8", "added_p99_8_us", "latency"),
        Column("p50, 64", "added_p50_64_us", "requests"),
        Column("p99, 64", "added_p99_64_us", "requests"),
    ),
    "Streams (200 at 50 chunks/s each unless said otherwise)": (
        Column("CPU µs/chunk", "chunk_cpu_us", "streams", 1, True),
        Column("delay p50 µs", "chunk_p50_us", "streams"),
        Column("delay p99 µs", "chunk_p99_us", "streams"),
        Column("unpaced chunks/s", "chunks_s", "flood", 0, True),
        Column("512: gap ms", "gap_ms", "gap"),
    ),
    "Memory with idle streams; slowest of 1,000 connects at once": (
        Column("MB at rest", "rss_mb", "memory", 1),
        Column("MB, 1k", "rss_1000_mb", "memory", 1),
        Column("MB, 4k", "rss_4000_mb", "memory", 1),
        Column("KB/stream, 1k", "stream_1000_kb", "memory", 1),
        Column("KB/stream, 4k", "stream_4000_kb", "memory", 1),
        Column("connect ms", "connect_ms", "burst"),
        Column("answer ms", "answer_ms", "burst"),
        Column("overflows", "overflows", "burst"),
    ),
}
NOTHING = "-"
WORST = ("gap_ms", "connect_ms", "answer_ms", "overflows", "drops")  # the worst round is shown


class Numbers:
    """The readings of a run, indexed by peer, metric and round."""

    def __init__(self, readings: list[dict[str, Any]]) -> None:
        self.errors: dict[tuple[str, str], Counter[str]] = {}
        self._values: dict[tuple[str, str], dict[int, float]] = {}
        quiet = {
            (reading["peer"], reading["measure"])
            for reading in readings
            if reading["others"] <= OTHERS_MAX
        }
        self.set_aside = self.noisy = 0
        self._noisy: set[tuple[str, str]] = set()
        for reading in readings:
            peer, measure, number = reading["peer"], reading["measure"], reading["round"]
            if reading["errors"]:
                self.errors.setdefault((peer, measure), Counter()).update(reading["errors"])
            if reading["others"] > OTHERS_MAX:
                if (peer, measure) in quiet:
                    self.set_aside += 1
                    continue
                self.noisy += 1
                self._noisy |= {(peer, metric) for metric in reading["values"]}
            for metric, value in reading["values"].items():
                self._values.setdefault((peer, metric), {})[number] = value

    def rounds(self, peer: str, metric: str) -> dict[int, float]:
        """Give a metric's value in each round, derived ones too; empty when never measured."""
        if metric == "busy_percent":
            return {key: 100 * value for key, value in self.rounds(peer, "busy").items()}
        if not metric.startswith("added_"):
            return self._values.get((peer, metric), {})
        plain = metric.removeprefix("added_")
        own, direct = self.rounds(peer, plain), self.rounds(DIRECT, plain)
        if peer == DIRECT:
            return own
        if not direct:
            return {}
        usual = median(direct.values())
        return {key: value - direct.get(key, usual) for key, value in own.items()}

    def is_noisy(self, peer: str, metric: str) -> bool:
        """Say whether a metric rests on readings that other work disturbed."""
        return (peer, metric.removeprefix("added_")) in self._noisy

    def shown(self, peer: str, metric: str) -> float | None:
        """Give the one number that stands in the table."""
        values = list(self.rounds(peer, metric).values())
        if not values:
            return None
        return max(values) if metric in WORST else median(values)

    def ratios(self, peer: str, metric: str, against: str) -> list[float]:
        """Give the ratio to another peer's value, in the same round where both have one."""
        own, other = self.rounds(peer, metric), self.rounds(against, metric)
        if not other or (usual := median(other.values())) <= 0:
            return []
        return [
            value / other.get(key, usual) for key, value in own.items() if other.get(key, 1) > 0
        ]


@dataclass(frozen=True)
class Verdict:
    """Whether one row reaches one target, from the values of the rounds; none: not measured."""

    row: str
    target: Target
    values: list[float]
    is_noisy: bool

    @property
    def value(self) -> float:
        """Give the value that is judged."""
        return max(self.values) if self.target.metric in WORST else median(self.values)

    @property
    def is_met(self) -> bool:
        """Say whether the value is on the right side of the limit."""
        limit = self.target.limit
        return self.value >= limit if self.target.is_floor else self.value <= limit

    def __str__(self) -> str:
        word, sign = "met" if self.is_met else "MISSED", "≥" if self.target.is_floor else "≤"
        low, high = min(self.values), max(self.values)
        spread = f" [{low:,.2f} to {high:,.2f}]" if len(self.values) > 1 else ""
        doubt = ", on a machine that was not quiet" if self.is_noisy else ""
        return (
            f"{word}{doubt}: {self.row}: {self.target.text}: {self.value:,.2f}{spread} "
            f"(target {sign} {self.target.limit:g})"
        )


def verdicts(numbers: Numbers, rows: list[str]) -> list[Verdict]:
    """Compare each row with every target."""
    found = []
    for row in rows:
        for target in TARGETS:
            if target.against:
                values = numbers.ratios(row, target.metric, target.against)
            else:
                values = list(numbers.rounds(row, target.metric).values())
            compared = [row, target.against] if target.against else [row]
            is_noisy = any(numbers.is_noisy(peer, target.metric) for peer in compared)
            found.append(Verdict(row, target, values, is_noisy))
    return found


def _unmeasured(found: list[Verdict]) -> list[str]:
    """Name the targets that nothing was measured for, one line for each row."""
    missing: dict[str, list[str]] = {}
    for verdict in found:
        if not verdict.values:
            missing.setdefault(verdict.row, []).append(verdict.target.text)
    return [f"not measured: {row}: {'; '.join(texts)}" for row, texts in missing.items()]


def _cell(numbers: Numbers, peer: str, column: Column) -> str:
    value = numbers.shown(peer, column.metric)
    mark = " !" if (peer, column.measure) in numbers.errors else ""
    if value is None:
        return f"{NOTHING}{mark}"
    text = f"{value:,.{column.digits}f}"
    ratios = numbers.ratios(peer, column.metric, YARDSTICK) if column.has_ratio else []
    is_compared = ratios and peer not in (DIRECT, YARDSTICK)
    return text + (f" ({median(ratios):.2f})" if is_compared else "") + mark


def _tables(result: dict[str, Any], numbers: Numbers, style: box.Box) -> list[tuple[str, Table]]:
    """Draw one table for each group of questions that was asked, with its title."""
    names, left_out, drawn = list(result["versions"]), list(result["left_out"]), []
    for title, columns in TABLES.items():
        asked = [
            column
            for column in columns
            if any(numbers.rounds(name, column.metric) for name in names)
        ]
        if not asked:
            continue
        table = Table(box=style)
        table.add_column("", no_wrap=True)
        for column in asked:
            table.add_column(column.title, justify="right")
        for name in names:
            cells = [_cell(numbers, name, column) for column in asked]
            if any(cell != NOTHING for cell in cells):
                table.add_row(name, *cells)
        for name in left_out:
            table.add_row(name, "left out")
        drawn.append((title, table))
    return drawn


def _notes(result: dict[str, Any], numbers: Numbers) -> list[str]:
    """List all that a reader must know before believing a cell."""
    lines = [f"{name} is left out: {reason}" for name, reason in result["left_out"].items()]
    for (peer, measure), kinds in numbers.errors.items():
        said = ", ".join(f"{kind} ({count})" for kind, count in kinds.items())
        lines.append(f"! {peer}, {measure}: {said}")
    if numbers.set_aside or numbers.noisy:
        lines.append(
            f"{numbers.set_aside + numbers.noisy} of {len(result['readings'])} readings were taken "
            f"while other work used the cores: {numbers.set_aside} are set aside, "
            f"{numbers.noisy} had to be used for want of quiet ones"
        )
    for name in result["versions"]:
        busy = numbers.shown(name, "busy_percent")
        if busy is not None and busy < BUSY_ENOUGH and name != DIRECT:
            lines.append(
                f"{name} kept its core only {busy:.0f} % busy: the machine was not quiet, or the "
                "load was the limit; believe its CPU time, not its requests/s"
            )
    lines += [
        f"{name} is slow, so it had 4 paced streams, 8 unpaced ones and 1,000 idle ones"
        for name in result["slow"]
    ]
    return lines


def _facts(result: dict[str, Any]) -> list[str]:
    machine = result["machine"]
    first = (
        f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"Linux {machine['kernel']}; {result['rounds']} rounds, medians, in brackets the median "
        "of the rounds' ratios to HAProxy; gaps, bursts and overflows show the worst round"
    )
    return [first, *(f"{name}: {version}" for name, version in result["versions"].items())]


def show(console: Console, result: dict[str, Any]) -> list[Verdict]:
    """Print tables, notes and verdicts; give the verdicts back."""
    numbers = Numbers(result["readings"])
    found = verdicts(numbers, result["baseload"])
    for title, table in _tables(result, numbers, box.SIMPLE_HEAD):
        console.print(f"\n[bold]{title}[/bold]")
        console.print(table)
    for line in _facts(result) + _notes(result, numbers):
        console.print(line, style="dim", markup=False, highlight=False)
    console.print()
    for verdict in found:
        if verdict.values:
            colour = "green" if verdict.is_met else "red"
            console.print(str(verdict), style=colour, markup=False, highlight=False)
    for line in _unmeasured(found):
        console.print(line, style="yellow", markup=False, highlight=False)
    return found


def markdown(result: dict[str, Any]) -> str:
    """Give the same as Markdown, for the documentation."""
    numbers = Numbers(result["readings"])
    page = io.StringIO()
    console = Console(file=page, width=400, color_system=None)
    for title, table in _tables(result, numbers, box.MARKDOWN):
        page.write(f"**{title}**\n")
        console.print(table)
    tables = "\n".join(line.strip() for line in page.getvalue().splitlines())
    found = verdicts(numbers, result["baseload"])
    lists = (
        [*(str(verdict) for verdict in found if verdict.values), *_unmeasured(found)],
        _facts(result) + _notes(result, numbers),
    )
    blocks = ["\n".join(f"- {line}" for line in lines) for lines in lists if lines]
    return "\n\n".join([tables.strip(), *blocks]) + "\n"
