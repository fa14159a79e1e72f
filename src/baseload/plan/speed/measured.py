"""What do the rows of a file of measurements mean?

The format is that of AIConfigurator's `silicon_sample.csv` (github.com/ai-dynamo/aiconfigurator):
one operating point of one engine a row, `silicon_ttft_ms` and `silicon_tpot_ms` as measured. A few
of its habits have to be known:

- `batch_size` is calls under way for each copy of attention, so it is multiplied by
  `attention_dp_size`.
- Some rows state their layout twice over: `tp 64, moe_tp 8, moe_ep 8` stands for 8 accelerators
  (the same figures are there as `tp 8, moe_ep 8`), `tp 4, dp 4, ep 16` for 4 with four copies.
- Rows without precision have the model's own.
- Nothing says how load was offered. Rows that leave `attention_dp_size` empty come from other
  harnesses than the rest, one with round sizes (1000, 2000, ...), one with powers of two. The rest
  draws sizes from 80 to 100 % of those stated (InferenceMAX, `--random-range-ratio 0.8`).
- Where reading and writing are done by different machines (`disagg`), many rows lack the batch;
  those cannot be predicted.

Not here: the prediction (`closed`), errors (`score`).
"""

import csv
from collections.abc import Iterator, Mapping
from math import inf, nan
from pathlib import Path

import msgspec

from baseload.errors import BaseloadError
from baseload.plan.speed.fitted import ENGINES
from baseload.plan.speed.layout import Layout

ROWS_MAX = 1_000_000
NEEDED = (
    "backend", "model_path", "system", "precision", "mode", "isl", "osl", "batch_size", "tp_size",
    "pp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size", "silicon_ttft_ms",
    "silicon_tpot_ms",
)  # fmt: skip
DRAWN = 0.9
"""Mean of sizes that are drawn evenly from 80 to 100 % of those stated."""
ROUND = 1000


class MeasurementsError(BaseloadError):
    """A file of measurements that cannot be used; says where and why."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One row, read."""

    system: str
    engine: str
    model: str
    mode: str
    precision: str
    """Empty: the model's own."""
    prompt: int
    answer: int
    calls: float
    """Under way in one replica; 0 where the row does not say."""
    layout: Layout
    harness: str
    """`drawn`, `round` or `grid`."""
    ttft_s: float
    tpot_s: float

    @property
    def sizes(self) -> float:
        """What stated sizes are multiplied with."""
        return DRAWN if self.harness == "drawn" else 1.0


def read(path: Path) -> Iterator[Measured]:
    """Give a file's rows; raises MeasurementsError with the line."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        try:
            if missing := [name for name in NEEDED if name not in (rows.fieldnames or ())]:
                raise MeasurementsError(f"{path}:1: columns are missing: {', '.join(missing)}")
            for row in rows:
                if rows.line_num > ROWS_MAX:
                    raise MeasurementsError(f"{path}: more than {ROWS_MAX:,} rows; split the file")
                yield _measured(row)
        except (ValueError, csv.Error) as error:
            raise MeasurementsError(f"{path}:{rows.line_num}: {error}") from None


def _measured(row: Mapping[str, str]) -> Measured:
    prefix = "decode_" if row["mode"] == "disagg" else ""
    tp, pp, dp = (
        _count(row, prefix + name) for name in ("tp_size", "pp_size", "attention_dp_size")
    )
    moe_tp, ep = _count(row, prefix + "moe_tp_size"), _count(row, prefix + "moe_ep_size")
    batch = prefix + "batch_size"
    calls = _positive(row, batch) * dp if row.get(batch) else 0.0
    if row["attention_dp_size"] and moe_tp == ep > 1 and tp * dp == moe_tp * ep:
        tp, dp = (1, ep) if dp > 1 else (ep, 1)
    elif tp == dp > 1 and ep == tp * dp:
        tp, ep = 1, dp
    if row["backend"] not in ENGINES:
        raise ValueError(f"backend `{row['backend']}` is none of {', '.join(ENGINES)}")
    prompt = _whole(row, "isl")
    harness = "drawn" if prefix or row["attention_dp_size"] else _sized(prompt)
    return Measured(
        system=row["system"], engine=row["backend"], model=row["model_path"], mode=row["mode"],
        precision=row["precision"], prompt=prompt, answer=_whole(row, "osl"), calls=calls,
        layout=Layout(tp=tp, pp=pp, dp=dp, ep=ep if (tp * dp) % ep == 0 else 1),
        harness=harness,
        ttft_s=_positive(row, "silicon_ttft_ms") / 1e3,
        tpot_s=_positive(row, "silicon_tpot_ms") / 1e3,
    )  # fmt: skip


def _count(row: Mapping[str, str], name: str) -> int:
    """Give a count of parts; empty and 0 are 1: not divided."""
    text = row.get(name) or ""
    return 1 if text in ("", "0") else _whole(row, name)


def _whole(row: Mapping[str, str], name: str) -> int:
    value = _positive(row, name)
    if value != int(value):
        raise ValueError(f"`{name}` is `{row[name]}`, not a whole number")
    return int(value)


def _positive(row: Mapping[str, str], name: str) -> float:
    text = row.get(name) or ""
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not 0 < value < inf:
        raise ValueError(f"`{name}` is `{text}`, not a number above 0")
    return value


def _sized(prompt: int) -> str:
    return "round" if prompt % ROUND == 0 else "grid"
