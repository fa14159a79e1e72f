"""What does each line of a record of traffic say?

A trace is a file with one call a line, as CSV (also with `;` or tabs) or as JSON lines, plain or
gzipped. What a line says is found by its columns' names, so Azure's, BurstGPT's and Mooncake's
traces, rows of the gateway's own ledger and a table of one's own are all read as they are. A time
is a date, or seconds, or milliseconds since 1970.

Formats: github.com/Azure/AzurePublicDataset, github.com/HPMLL/BurstGPT (README),
github.com/kvcache-ai/Mooncake (README of its FAST '25 release: milliseconds, blocks of 512 tokens);
seen 2026-11-26. Of the ledger: `store.entry`.

Not here: what load the calls are together (`traces`).
"""

import csv
import gzip
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from io import BufferedIOBase
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from baseload.errors import BaseloadError

ROWS_MAX = 2_000_000
"""Calls that are read; a longer file is refused, as its end would be missing."""
LINE_MAX = 1_000_000
"""Bytes of a line."""
TOKENS_MAX = 10_000_000
"""Tokens of one prompt or answer: more is a mistake."""
MILLISECONDS_FROM = 1e11
"""A time since 1970 from here on is in milliseconds: in seconds it would be the year 5138."""
LEDGER_TIME, LEDGER_TOOK = "at", "total_s"
"""The ledger's time is that at which a call ended, and how long it took."""
MOONCAKE = {"timestamp", "input_length", "output_length"}
"""Who has all of these counts time in milliseconds."""

TIME = (
    "timestamp", "time", "arrival", "arrivals", "arrivaltime", "arrivedat", "starttime", "start",
    "datetime", "date", "ts", "at",
)  # fmt: skip
PROMPT = (
    "prompt", "prompttokens", "promptlength", "contexttokens", "input", "inputtokens",
    "inputlength", "requesttokens", "tin", "tokensin",
)  # fmt: skip
ANSWER = (
    "answer", "answertokens", "completion", "completiontokens", "generatedtokens", "output",
    "outputtokens", "outputlength", "responsetokens", "tout", "tokensout",
)  # fmt: skip
CACHED = ("cached", "cachedtokens")


class TraceError(BaseloadError):
    """A file is no trace, or a line of it is wrong; the sentence names file and line."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """One line."""

    at_s: float
    prompt: int
    answer: int
    cached: int | None
    """Tokens of the prompt that were in a cache, where that is told."""
    blocks: tuple[int, ...]
    """Names of the prompt's blocks, where they are told."""


class _Columns(msgspec.Struct, frozen=True, kw_only=True):
    """The names under which a file has what is looked for; empty for what it has not."""

    time: str
    prompt: str
    answer: str
    cached: str
    is_ledger: bool
    unit_s: float


def calls(path: Path) -> Iterator[Call]:
    """Give the calls of a file in its order; `TraceError` for what cannot be read."""
    try:
        with _opened(path) as file:
            columns: _Columns | None = None
            for number, (line, row) in enumerate(_rows(path, file)):
                if number == ROWS_MAX:
                    raise TraceError(f"{path}:{line}: more than {ROWS_MAX:,} calls; cut the file")
                columns = columns or _columns(f"{path}:{line}", row)
                yield _call(f"{path}:{line}", row, columns)
    except (OSError, EOFError) as error:
        raise TraceError(f"{path}: cannot be read: {error}") from None


def _opened(path: Path) -> BufferedIOBase:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _rows(path: Path, file: BufferedIOBase) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Give each line's number and what it says, by column."""
    lines = _lines(path, file)
    head = next(lines, "")
    if head.lstrip().startswith("{"):
        return _json_rows(path, chain([head], lines))
    return _csv_rows(path, head, lines)


def _lines(path: Path, file: BufferedIOBase) -> Iterator[str]:
    number = 0
    while raw := file.readline(LINE_MAX + 1):
        number += 1
        if len(raw) > LINE_MAX:
            raise TraceError(f"{path}:{number}: longer than {LINE_MAX:,} bytes")
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise TraceError(f"{path}:{number}: is no text in UTF-8") from None


def _json_rows(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, decode(line)
            except msgspec.DecodeError:
                raise TraceError(f"{path}:{number}: is no object in JSON") from None


def _csv_rows(
    path: Path, head: str, lines: Iterator[str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    comma = max(",;\t", key=head.count)
    names = next(csv.reader([head], delimiter=comma), [])
    reader = csv.reader(lines, delimiter=comma)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num + 1, dict(zip(names, fields, strict=False))
    except csv.Error as error:
        raise TraceError(f"{path}:{reader.line_num + 1}: {error}") from None


def _columns(where: str, row: Mapping[str, Any]) -> _Columns:
    plain = {"".join(c for c in name.lower() if c.isalnum()): name for name in row}

    def find(known: tuple[str, ...]) -> str:
        return next((plain[name] for name in known if name in plain), "")

    time, prompt, answer = find(TIME), find(PROMPT), find(ANSWER)
    missing = {"a time": time, "the prompt's tokens": prompt, "the answer's tokens": answer}
    if lost := [what for what, name in missing.items() if not name]:
        raise TraceError(
            f"{where}: no column for {' and '.join(lost)} among {', '.join(row) or 'none'};"
            f" such as timestamp, prompt_tokens, completion_tokens"
        )
    return _Columns(
        time=time, prompt=prompt, answer=answer, cached=find(CACHED),
        is_ledger=time == LEDGER_TIME and LEDGER_TOOK in row,
        unit_s=1e-3 if row.keys() >= MOONCAKE else 1.0,
    )  # fmt: skip


def _call(where: str, row: Mapping[str, Any], columns: _Columns) -> Call:
    at_s = _seconds(where, row, columns.time) * columns.unit_s
    if columns.is_ledger:
        at_s -= _seconds(where, row, LEDGER_TOOK)
    blocks = row.get("hash_ids")
    return Call(
        at_s,
        max(_tokens(where, row, columns.prompt), 1),
        _tokens(where, row, columns.answer),
        _tokens(where, row, columns.cached) if columns.cached else None,
        tuple(blocks) if isinstance(blocks, list) else (),
    )


def _seconds(where: str, row: Mapping[str, Any], column: str) -> float:
    """Read a number of seconds, or milliseconds since 1970, or a date (UTC if it says no zone)."""
    value: Any = row.get(column)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _date(where, value, column)
    if not isfinite(number):
        raise TraceError(f"{where}: {column} `{value}` is no time")
    return number / 1e3 if abs(number) >= MILLISECONDS_FROM else number


def _date(where: str, value: object, column: str) -> float:
    try:
        found = datetime.fromisoformat(str(value).strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise TraceError(
            f"{where}: {column} `{value}` is neither seconds nor a date (2026-11-26 09:30:00)"
        ) from None


def _tokens(where: str, row: Mapping[str, Any], column: str) -> int:
    value: Any = row.get(column)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= TOKENS_MAX or number != int(number):
        raise TraceError(
            f"{where}: {column} `{value}` is no number of tokens (0 to {TOKENS_MAX:,})"
        )
    return int(number)
