"""Fit the planner's speed constants to measurements, and say how well that generalises.

    python bench/fit_speed.py serving_measurements.csv h200_vllm_qwen7b_bf16.jsonl

Each constant is a base times factors by tag, in logarithms. A prior says where it lies without any
data and how far it may stray; errors count by their size and not by its square (a few rows are
plainly wrong), a group of many rows counts as forty, and each group (system, engine, model) has
a level of its own, so that one that is off as a whole does not bend the constants.

Held out: every group is predicted by constants that were fitted without any of its rows. Writes
`src/baseload/plan/speed/fitted.json` and the tables of `docs/accuracy.md`.

Measurements: `silicon_sample.csv` of github.com/ai-dynamo/aiconfigurator (Apache-2.0), and closed
batches on one H200 that were measured for this project.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
from scipy.optimize import least_squares

from baseload.plan.catalog.reading import load
from baseload.plan.hardware.memory import TURN_TOKENS
from baseload.plan.models.known import find
from baseload.plan.speed import fitted as files
from baseload.plan.speed.closed import Run, times_s
from baseload.plan.speed.engine import CALL_S
from baseload.plan.speed.layout import Build, Layout
from baseload.plan.speed.measured import read
from baseload.plan.speed.score import Case, case_of
from baseload.plan.speed.turn import turn_s
from baseload.plan.speed.work import Work, work_of

ROOT = Path(__file__).parent.parent
ENGINES = dict.fromkeys(files.ENGINES)
HARNESSES = ("round_vllm", "round_sglang", "round_trtllm", "grid_sglang", "grid_trtllm")


def each(names, spread):
    return dict.fromkeys(names, spread)


PRIORS = {  # base, how far it may stray, and how far factors may, in logarithms
    "engine": {
        "layer_s": (35e-6, 0.7, {**each(ENGINES, 0.3), "moe": 0.5, "mla": 0.5, "blackwell": 0.3,
                                 "linear": 0.5, "scaled": 0.3, "four": 0.3}),
        "turn_s": (1e-3, 0.7, each(ENGINES, 0.5)),
        "answer_s": (10e-6, 0.7, each(ENGINES, 0.5)),
        "host_s": (30e-6, 0.5, {}),
        "step_s": (3e-6, 0.5, each(ENGINES, 0.3)),
        "weights_part": (0.8, 0.1, each(ENGINES, 0.1)),
        "experts_part": (0.7, 0.2, {**each(ENGINES, 0.2), "blackwell": 0.2}),
        "cache_part": (0.7, 0.2, {**each(ENGINES, 0.2), "small_cache": 0.3}),
        "write_part": (0.5, 0.3, {**each(ENGINES, 0.2), "moe": 0.3, "fp8": 0.3}),
        "read_part": (0.6, 0.15, {**each(ENGINES, 0.15), "blackwell": 0.2, "fp8": 0.2, "four": 0.3,
                                  "mla": 0.3}),
        "read_experts_part": (0.35, 0.4, {**each(ENGINES, 0.3), "blackwell": 0.3, "fp8": 0.3,
                                          "four": 0.3}),
        "link_part": (0.6, 0.2, {"blackwell": 0.2}),
    },
    "harness": {
        "call_s": (0.05, 0.5, each(ENGINES, 0.5)),
        "waits": (0.5, 0.7, {**each(ENGINES, 1.0), "blackwell": 0.5}),
        "bursts": (0.07, 0.5, {**each(ENGINES, 0.3), **each(HARNESSES, 1.5), "blackwell": 0.3}),
        "stalls": (1.0, 0.05, each(HARNESSES, 0.5)),
    },
}  # fmt: skip
STRICT = 2.0
"""How much priors weigh against data."""
LEVELS = (0.1, 0.3)
"""How far a group's own level may stray, of TPOT and TTFT."""
TTFT = 0.5
"""How much TTFT weighs beside TPOT."""
OWN = 5.0
"""How much each of our own points weighs."""
GROUP = 40
CONTRADICTING = ("gb200", "trtllm", "Qwen/Qwen3-32B")
"""No constant may learn from this group, which is predicted all the same: it has one point twice,
at 8 and at 42 ms a token, and 94 ms a token for four calls; what its batches mean is not known."""


class Table:
    """All constants in one vector."""

    def __init__(self):
        self.names, self.middle, self.spread = [], [], []
        for part, constants in PRIORS.items():
            for name, (base, spread, factors) in constants.items():
                for tag, width in {"base": spread, **factors}.items():
                    self.names.append((part, name, tag))
                    self.middle.append(np.log(base) if tag == "base" else 0.0)
                    self.spread.append(width)
        self.middle, self.spread = np.array(self.middle), np.array(self.spread)
        self.place = {name: i for i, name in enumerate(self.names)}

    def of(self, part, x, has):
        """Constants for many cases; `has` is one array of 0 and 1 by tag."""
        found = {}
        for name, (_, _, factors) in PRIORS[part].items():
            value = x[self.place[part, name, "base"]]
            for tag in factors:
                value = value + x[self.place[part, name, tag]] * has[tag]
            found[name] = np.exp(value)
        return SimpleNamespace(**found)

    def factors(self, part, x):
        """Give constants as the file has them."""
        found = defaultdict(dict)
        for (whose, name, tag), value in zip(self.names, np.exp(x), strict=True):
            if whose == part:
                found[name][tag] = float(f"{value:.4g}")
        return dict(found)


TABLE = Table()


class Cases:
    """Many cases side by side, as arrays."""

    def __init__(self, cases: list[Case]):
        self.cases = cases
        self.work = _stacked([case.work for case in cases], Work)
        self.run = _stacked([case.run for case in cases], Run)
        tags = {tag for part in PRIORS.values() for one in part.values() for tag in one[2]}
        self.has = {tag: np.array([float(tag in case.tags) for case in cases]) for tag in tags}
        self.measured = np.array([(case.row.tpot_s, case.row.ttft_s) for case in cases]).T
        keys = [group(case) for case in cases]
        order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        self.groups = np.array([order[key] for key in keys])
        counts = Counter(keys)
        self.weight = np.array([min(1.0, GROUP / counts[key]) ** 0.5 for key in keys])

    def times(self, x):
        """Predict TPOT and TTFT of all cases."""
        k = TABLE.of("engine", x, self.has)
        return times_s(k, TABLE.of("harness", x, self.has), self.work, self.run)


def group(case):
    return case.row.system, case.row.engine, case.row.model


def _stacked(values, struct):
    return SimpleNamespace(
        **{
            name: np.array([getattr(value, name) for value in values])
            for name in struct.__struct_fields__
        }
    )


class Own:
    """Our own points: writing alone, and whole batches of prompts read at once."""

    def __init__(self, path, catalogue):
        shape, gpu = find("deepseek-r1-distill-qwen-7b"), catalogue.accelerators["h200"]
        build = Build(accelerator=gpu, layout=Layout(), precision="bf16")
        self.work = work_of(shape, build)
        self.has = dict.fromkeys(Cases([]).has, 0.0) | dict.fromkeys(
            files.tags_of(shape, build, "vllm"), 1.0
        )
        self.rows = [json.loads(line) for line in path.read_text().splitlines()]
        self.rows = [row for row in self.rows if "tpot_ms" in row]

    def points(self, x):
        """Predicted over measured, of TPOT and of prefill, by calls at once."""
        k = TABLE.of("engine", x, self.has)
        found = []
        for row in self.rows:
            context = row["pin"] + row["pout"] / 2
            tpot = turn_s(k, self.work, row["conc"], context, 0.0, 0.0)
            tokens = row["conc"] * row["pin"]
            turns = -(-tokens // TURN_TOKENS)
            prefill = CALL_S + turns * turn_s(
                k, self.work, 0.0, 0.0, tokens / turns, row["pin"] / 2
            )
            found.append((row["conc"], tpot * 1e3 / row["tpot_ms"], prefill / row["prefill_s"]))
        return found

    def residuals(self, x):
        """Say how far predictions are off, softened."""
        return OWN * soft(np.log([one for point in self.points(x) for one in point[1:]]), 0.1)


def soft(error, near):
    """Count small errors by their square and large ones by their size."""
    return np.sign(error) * np.sqrt(2 * (np.sqrt(1 + (error / near) ** 2) - 1))


def fit(cases: list[Case], own: Own, x=None):
    """Give the vector of constants that fits best."""
    data, n = Cases(cases), len(TABLE.names)
    levels = data.groups.max() + 1

    def residuals(z):
        x, tpot, ttft = z[:n], z[n : n + levels], z[n + levels :]
        found = data.times(x)
        return np.concatenate([
            data.weight * soft(np.log(found[0] / data.measured[0]) + tpot[data.groups], 0.1),
            TTFT * data.weight
            * soft(np.log(found[1] / data.measured[1]) + ttft[data.groups], 0.2),
            own.residuals(x),
            STRICT * (x - TABLE.middle) / TABLE.spread,
            STRICT * tpot / LEVELS[0],
            STRICT * ttft / LEVELS[1],
        ])  # fmt: skip

    def slopes(z):
        """Numerical, but all levels of one kind in two looks: each row has one of them."""
        here, step = residuals(z), 1e-6
        jacobian = np.zeros((len(here), len(z)))
        for i in range(n):
            moved = z.copy()
            moved[i] += step
            jacobian[:, i] = (residuals(moved) - here) / step
        rows, tail = len(cases), len(here) - 2 * levels
        for kind in (0, 1):
            moved = z.copy()
            moved[n + kind * levels : n + (kind + 1) * levels] += step
            slope = (residuals(moved) - here) / step
            those = kind * rows + np.arange(rows)
            jacobian[those, n + kind * levels + data.groups] = slope[those]
            own_rows = tail + kind * levels + np.arange(levels)
            jacobian[own_rows, n + kind * levels + np.arange(levels)] = STRICT / LEVELS[kind]
        return jacobian

    start = np.concatenate([TABLE.middle if x is None else x, np.zeros(2 * levels)])
    return least_squares(residuals, start, jac=slopes, max_nfev=30, xtol=1e-5, ftol=1e-5).x[:n]


def held_out(cases, own, x):
    """Predict each group by constants that never saw it: errors of TPOT and TTFT by case."""
    found = np.zeros((2, len(cases)))
    keys = [group(case) for case in cases]
    for done, key in enumerate(dict.fromkeys(keys)):
        print(f"held out: {done} {' '.join(key)}", file=sys.stderr, flush=True)
        mine = [i for i, other in enumerate(keys) if other == key]
        others = [case for case, other in zip(cases, keys, strict=True) if other != key]
        rest = fit(trusted(others), own, x)
        data = Cases([cases[i] for i in mine])
        found[:, mine] = np.array(data.times(rest)) / data.measured
    return found


def unlike(cases):
    """Leave out rows that repeat another: some points are in the file two or three times."""
    seen = {}
    for case in cases:
        seen.setdefault(msgspec.json.encode(case.row), case)
    return list(seen.values())


def trusted(cases):
    """Leave out what no constant may learn from."""
    return [case for case in cases if group(case) != CONTRADICTING]


def main():
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    asked.add_argument("measurements", type=Path)
    asked.add_argument("own", type=Path, help="closed batches, JSON lines")
    asked.add_argument("--no-held-out", action="store_true", help="only fit; write no tables")
    asked = asked.parse_args()
    catalogue = load(today=date.max)
    rows = list(read(asked.measurements))
    cases = unlike([case for row in rows if (case := case_of(row, catalogue))])
    whole = [case for case in cases if case.row.mode == "agg"]
    own = Own(asked.own, catalogue)
    x = fit(trusted(whole), own)
    write(x, len(trusted(whole)))
    import fit_report  # noqa: PLC0415

    data = Cases(cases)
    seen = np.array(data.times(x)) / data.measured
    unseen = None if asked.no_held_out else held_out(whole, own, x)
    counts = len(rows), len(whole), len(trusted(whole))
    fit_report.show(cases, whole, seen, unseen, own.points(x), counts)


def write(x, rows):
    made = files.Fitted(
        source="silicon_sample.csv of github.com/ai-dynamo/aiconfigurator (Apache-2.0), and closed "
        "batches on one H200, measured for this project",
        fitted=datetime.now(UTC).date().isoformat(),
        rows=rows,
        engine=TABLE.factors("engine", x),
        harness=TABLE.factors("harness", x),
    )
    path = ROOT / "src/baseload/plan/speed" / files.FILE
    path.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")


if __name__ == "__main__":
    main()
