"""Tables of the fit's errors: to the terminal, and into `docs/accuracy.md`."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from baseload.plan.speed.fitted import fitted

PAGE = Path(__file__).parent.parent / "docs/accuracy.md"
HOPPER = ("h100_sxm", "h200_sxm")
MARK = "<!-- {} -->"
WAVE = "h100_sxm, sglang, Qwen/Qwen3-32B"
"""Measured by starting all calls at once, with nothing after them."""


def show(cases, whole, seen, unseen, own, counts):
    """`seen` and `unseen` are predicted over measured, (TPOT, TTFT) by case.

    `cases` are all that can be predicted, `whole` those that read and write on the same machines.
    """
    parts = {"own": _own(own), "constants": constants()}
    aggregated = [i for i, case in enumerate(cases) if case.row.mode == "agg"]
    parts["seen"] = _table([cases[i] for i in aggregated], seen[:, aggregated], _class)
    split = [i for i, case in enumerate(cases) if case.row.mode != "agg"]
    parts["split"] = _table([cases[i] for i in split], seen[:, split], _group)
    if unseen is not None:
        parts["targets"] = _targets(whole, unseen, own)
        parts["without"] = _without(whole, unseen)
        parts["unseen"] = _table(whole, unseen, _class)
        for name, key in (("system", lambda row: row.system), ("engine", lambda row: row.engine),
                          ("model", lambda row: row.model), ("group", _name)):  # fmt: skip
            parts[name] = _table(whole, unseen, lambda case, key=key: key(case.row))
    parts["rows"] = (
        f"{counts[0]:,} rows; {counts[1]:,} unlike ones of whole engines that can be predicted, of "
        f"which {counts[2]:,} are fitted to; {len(split):,} of divided ones that can be predicted."
    )
    for name, text in parts.items():
        print(f"\n{name}\n{text}")
    if PAGE.exists() and unseen is not None:
        PAGE.write_text(put(PAGE.read_text(), parts))


def _without(cases, unseen):
    """Say what is left of the errors without the group that was measured as one wave."""
    rest = [i for i, case in enumerate(cases) if _name(case.row) != WAVE]
    dense = [i for i in rest if _class(cases[i]) == "Hopper, dense"]
    tpot, ttft = 100 * np.abs(unseen[:, dense] - 1)
    every = 100 * np.abs(unseen[1, rest] - 1)
    return (
        f"Without it, dense models on Hopper have a TPOT median of {np.median(tpot):.1f} % and p90 "
        f"of {np.quantile(tpot, 0.9):.1f} %;\nthe TTFT median is {np.median(ttft):.1f} % there and "
        f"{np.median(every):.1f} % of all."
    )


def _targets(cases, unseen, own):
    """What was asked for beside what is reached, on groups that the fit never saw."""
    errors = 100 * np.abs(unseen - 1)

    def of(kind, which, quantile):
        those = [i for i, case in enumerate(cases) if kind in ("all", _class(case))]
        return np.quantile(errors[which, those], quantile)

    dense, mixture = "Hopper, dense", "Hopper, mixture of experts"
    lines = ["| | asked, % | reached, % |", "| --- | ---: | ---: |"]
    for what, asked, kind, which, quantile in (
        ("TPOT median, H100 and H200, dense", 12, dense, 0, 0.5),
        ("TPOT median, H100 and H200, mixtures of experts", 20, mixture, 0, 0.5),
        ("TPOT p90, H100 and H200, dense", 45, dense, 0, 0.9),
        ("TPOT p90, H100 and H200, mixtures of experts", 45, mixture, 0, 0.9),
        ("TPOT p90, all", 45, "all", 0, 0.9),
        ("TTFT median, H100 and H200, dense", 30, dense, 1, 0.5),
        ("TTFT median, H100 and H200, mixtures of experts", 30, mixture, 1, 0.5),
        ("TTFT median, all", 30, "all", 1, 0.5),
    ):
        reached = of(kind, which, quantile)
        lines.append(
            f"| {what} | {asked} | {reached:.1f}{'' if reached <= asked else ', missed'} |"
        )
    worst = 100 * max(abs(one - 1) for point in own for one in point[1:])
    lines.append(f"| our own H200 curve, worst point (fitted to) | 10 | {worst:.1f} |")
    return "\n".join(lines)


def constants():
    """The shipped file as a table: each constant, its base and its factors."""
    lines = ["| constant | base | times |", "| --- | ---: | --- |"]
    for part in (fitted().engine, fitted().harness):
        for name, by_tag in part.items():
            factors = ", ".join(f"{tag} {by_tag[tag]:.3g}" for tag in by_tag if tag != "base")
            lines.append(f"| `{name}` | {by_tag['base']:.3g} | {factors or '-'} |")
    return "\n".join(lines)


def _class(case):
    kind = "mixture of experts" if "moe" in case.tags else "dense"
    return ("Hopper, " if case.row.system in HOPPER else "Blackwell, ") + kind


def _group(case):
    return _name(case.row)


def _name(row):
    return f"{row.system}, {row.engine}, {row.model}"


def _table(cases, ratios, key):
    """Rows sorted by name; errors in per cent."""
    groups = defaultdict(list)
    for i, case in enumerate(cases):
        groups[key(case)].append(i)
    lines = [
        "| | points | TPOT median | mean | p90 | TTFT median | mean | p90 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    groups = dict(sorted(groups.items()))
    if len(groups) > 1:
        groups["all"] = list(range(len(cases)))
    for name, those in groups.items():
        errors = 100 * np.abs(ratios[:, those] - 1)
        figures = [
            f"{value:.1f}"
            for error in errors
            for value in (np.median(error), error.mean(), np.quantile(error, 0.9))
        ]
        lines.append(f"| {name} | {len(those)} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _own(points):
    lines = ["| calls at once | TPOT | prefill of all |", "| ---: | ---: | ---: |"]
    lines += [f"| {calls} | {100 * tpot - 100:+.1f} % | {100 * read - 100:+.1f} % |"
              for calls, tpot, read in points]  # fmt: skip
    return "\n".join(lines)


def put(page, parts):
    """Put each table between its pair of marks."""
    for name, text in parts.items():
        begin, end = MARK.format(name), MARK.format("/" + name)
        if begin in page:
            head, rest = page.split(begin)
            page = head + begin + "\n" + text + "\n" + end + rest.split(end)[1]
    return page
