"""Who used how much, and what did it cost? Questions that are asked of the ledger.

One query for each question, over a span of time: the only index is that of the time at which calls
ended, because every index is paid for by every call. Percentiles are exact, by sorting what the
span holds, and asked for only where they are wanted.

Not here: how they are shown (`cli.usage`), and how rows come in (`ledger`).
"""

from collections.abc import Sequence
from time import gmtime, strftime
from typing import Any, Final

import msgspec

from baseload.core.card import DAY_S
from baseload.store.database import Database

GROUPS_MAX = 10_000
"""Rows of one answer: more than anybody reads, less than hurts."""
HOUR_S: Final = 3600

_COLUMNS: Final = {
    "key": "key_name", "model": "model", "served": "served", "backend": "backend", "api": "api",
    "outcome": "outcome",
}  # fmt: skip
_SPANS: Final = {"day": (DAY_S, "%Y-%m-%d"), "hour": (HOUR_S, "%Y-%m-%dT%H:00")}
DIMENSIONS: Final = (*_COLUMNS, *_SPANS)
"""What usage can be told apart by."""

_SHARES: Final = (0.5, 0.95)
_SUMS: Final = """
    COUNT(*), SUM(CASE WHEN outcome = 'done' THEN 0 ELSE 1 END), SUM(prompt_tokens),
    SUM(cached_tokens), SUM(completion_tokens), SUM(reasoning_tokens), SUM(cost_usd),
    SUM(CASE WHEN cost_usd IS NULL THEN 1 ELSE 0 END), SUM(is_estimated),
    SUM(energy_j)"""


class Usage(msgspec.Struct, frozen=True):
    """What the calls of one group took."""

    by: dict[str, str]
    """What they have in common; times are UTC."""
    calls: int
    failed: int
    """Those that did not end as a whole answer, callers who left among them."""
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_usd: float | None
    """Of the calls whose price is known; None if it is of none."""
    unpriced: int
    """Calls whose price is not known, or only that of a part."""
    estimated: int
    """Calls whose tokens were counted or estimated here."""
    first_token_p50_s: float | None = None
    first_token_p95_s: float | None = None
    energy_j: float | None = None
    """Of the calls of which it is known, in joules; None if it is of none."""


class Spent(msgspec.Struct, frozen=True):
    """Money spent in a span, in US dollars."""

    by_key: dict[str, float]
    by_key_and_model: dict[tuple[str, str], float]
    by_model: dict[str, float]


class UsageError(ValueError):
    """The question makes no sense; says why."""


def usage(
    database: Database,
    by: Sequence[str] = ("key", "model"),
    *,
    since: float,
    until: float | None = None,
    key: str | None = None,
    model: str | None = None,
    has_percentiles: bool = False,
) -> list[Usage]:
    """Give what calls took that ended from `since` until before `until`, the costliest first.

    Times are seconds since 1970. With `by` empty there is one row for all. Raises `UsageError` for
    an unknown word, `DatabaseError` if the ledger cannot be read.
    """
    if unknown := [word for word in by if word not in DIMENSIONS]:
        raise UsageError(f"`{unknown[0]}` is none of {', '.join(DIMENSIONS)}")
    by = list(dict.fromkeys(by))
    groups = [_expression(database, word) for word in by]
    where, values = _where(since, until, key, model)
    rows = database.run(
        f"SELECT {', '.join([*groups, _SUMS])} FROM calls{where}{_grouped(groups)} "  # noqa: S608
        "ORDER BY COALESCE(SUM(cost_usd), -1) DESC, COUNT(*) DESC LIMIT ?",
        *values, GROUPS_MAX,
    )  # fmt: skip
    if by and by[0] in _SPANS:
        rows.sort(key=lambda row: row[0])
    slow = _percentiles(database, groups, where, values) if has_percentiles else {}
    return [_row(by, row, slow) for row in rows if row[len(by)]]


def spent(database: Database, since: float) -> Spent:
    """Give the money spent since a time, for budgets that begin with what is gone already."""
    rows = database.run(
        "SELECT key_name, model, SUM(cost_usd) FROM calls "
        "WHERE at >= ? AND cost_usd > 0 GROUP BY key_name, model",
        since,
    )
    found = Spent({}, {}, {})
    for key, model, cost in rows:
        found.by_key[key] = found.by_key.get(key, 0.0) + float(cost)
        found.by_model[model] = found.by_model.get(model, 0.0) + float(cost)
        found.by_key_and_model[key, model] = float(cost)
    return found


def _expression(database: Database, word: str) -> str:
    """Give what a word is in SQL; only words of `DIMENSIONS` come here."""
    if (column := _COLUMNS.get(word)) is not None:
        return column
    size = _SPANS[word][0]
    if database.kind == "sqlite":
        return f"CAST(at / {size} AS INTEGER)"
    return f"CAST(FLOOR(at / {size}) AS BIGINT)"


def _where(
    since: float, until: float | None, key: str | None, model: str | None
) -> tuple[str, list[object]]:
    where, values = " WHERE at >= ?", [since]
    more: list[object] = []
    for condition, value in (("at < ?", until), ("key_name = ?", key), ("model = ?", model)):
        if value is not None:
            where += f" AND {condition}"
            more.append(value)
    return where, [*values, *more]


def _grouped(groups: Sequence[str]) -> str:
    return f" GROUP BY {', '.join(groups)}" if groups else ""


def _percentiles(
    database: Database, groups: Sequence[str], where: str, values: Sequence[object]
) -> dict[tuple[Any, ...], tuple[float, float]]:
    """Give median and 95th percentile of the first token's time for each group."""
    names = [f"g{number}" for number in range(len(groups))]
    named = [f"{group} AS {name}" for group, name in zip(groups, names, strict=True)]
    window = f"PARTITION BY {', '.join(groups)}" if groups else ""
    inner = [
        *named, "first_token_s",
        f"ROW_NUMBER() OVER ({window} ORDER BY first_token_s) AS place",
        f"COUNT(*) OVER ({window}) AS size",
    ]  # fmt: skip
    outer = [
        *names,
        *(f"MIN(CASE WHEN place >= {share} * size THEN first_token_s END)" for share in _SHARES),
    ]
    condition = f"{where} AND first_token_s IS NOT NULL"
    placed = f"SELECT {', '.join(inner)} FROM calls{condition}"  # noqa: S608 - our own words
    rows = database.run(
        f"SELECT {', '.join(outer)} FROM ({placed}) AS placed{_grouped(names)}",  # noqa: S608
        *values,
    )
    return {tuple(row[:-2]): (row[-2], row[-1]) for row in rows}


def _row(
    by: Sequence[str],
    row: tuple[Any, ...],
    slow: dict[tuple[Any, ...], tuple[float, float]],
) -> Usage:
    count = len(by)
    groups, sums = row[:count], row[count:]
    p50, p95 = slow.get(tuple(groups), (None, None))
    return Usage(
        by={word: _shown(word, value) for word, value in zip(by, groups, strict=True)},
        calls=int(sums[0]),
        failed=int(sums[1]),
        prompt_tokens=int(sums[2]),
        cached_tokens=int(sums[3]),
        completion_tokens=int(sums[4]),
        reasoning_tokens=int(sums[5]),
        cost_usd=None if sums[6] is None else float(sums[6]),
        unpriced=int(sums[7]),
        estimated=int(sums[8]),
        first_token_p50_s=p50,
        first_token_p95_s=p95,
        energy_j=None if sums[9] is None else float(sums[9]),
    )


def _shown(word: str, value: Any) -> str:
    if (span := _SPANS.get(word)) is None:
        return str(value)
    size, form = span
    return strftime(form, gmtime(int(value) * size))
