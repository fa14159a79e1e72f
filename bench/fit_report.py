"""Tables of the fit's errors: to the terminal, and into `docs/accuracy.md`."""

from collections import defaultdict
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parent.parent / "docs/accuracy.md"
HOPPER = ("h100_sxm", "h200_sxm")
MARK = "<!-- {} -->"


def show(cases, fitting, seen, unseen, own, rows):
    """`seen` and `unseen` are predicted over measured, (TPOT, TTFT) by case."""
    parts = {"own": _own(own)}
    aggregated = [i for i, case in enumerate(cases) if case.row.mode == "agg"]
    parts["seen"] = _table([cases[i] for i in aggregated], seen[:, aggregated], _class)
    split = [i for i, case in enumerate(cases) if case.row.mode != "agg"]
    parts["split"] = _table([cases[i] for i in split], seen[:, split], _group)
    if unseen is not None:
        parts["unseen"] = _table(fitting, unseen, _class)
        for name, key in (("system", lambda row: row.system), ("engine", lambda row: row.engine),
                          ("model", lambda row: row.model), ("group", _name)):  # fmt: skip
            parts[name] = _table(fitting, unseen, lambda case, key=key: key(case.row))
    parts["rows"] = f"{rows:,} rows, {len(fitting):,} unlike aggregated ones that can be predicted"
    for name, text in parts.items():
        print(f"\n{name}\n{text}")
    if PAGE.exists() and unseen is not None:
        PAGE.write_text(_put(PAGE.read_text(), parts))


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


def _put(page, parts):
    """Put each table between its pair of marks."""
    for name, text in parts.items():
        begin, end = MARK.format(name), MARK.format("/" + name)
        if begin in page:
            head, rest = page.split(begin)
            page = head + begin + "\n" + text + "\n" + end + rest.split(end)[1]
    return page
