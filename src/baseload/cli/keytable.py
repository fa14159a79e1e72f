"""How keys are drawn on a terminal: all of them in a table, or one with everything about it."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from baseload.config.tenancy import Key, Limits, Terms
from baseload.store.keys import KeyRecord

_UNITS = {
    "rpm": "{} calls/min", "tpm": "{} tokens/min", "concurrency": "{} at once",
    "usd_day": "${}/day", "usd_month": "${}/month",
}  # fmt: skip


def draw_all(in_file: Iterable[Key], stored: Iterable[KeyRecord]) -> None:
    """Draw a table of keys."""
    table = Table(
        "name", "begins", "state", "class", "models", "limits", "expires", "made",
        box=None, pad_edge=False,
    )  # fmt: skip
    for key in in_file:
        table.add_row(*_row(key.name, "", _state(key), key, "in the fleet file"))
    for record in stored:
        begins = record.secrets[0].shown + "…" if record.secrets else ""
        table.add_row(*_row(record.name, begins, _state(record), record, day(record.created_at)))
    Console().print(table)


def draw_one(key: Key | KeyRecord) -> None:
    """Draw everything about one key."""
    console = Console()
    lines = {
        "state": _state(key),
        "class": key.priority,
        "models": escape(", ".join(key.models)) or "all",
        "limits": _limits(key) or "none",
        "expires": key.expires or "never",
        **{f"limits, {escape(name)}": _limits(one) for name, one in key.per_model.items()},
        **{f"label {escape(name)}": escape(value) for name, value in key.labels.items()},
    }
    if isinstance(key, KeyRecord):
        lines["made"] = moment(key.created_at)
        for secret in key.secrets:
            ends = "" if secret.ends_at is None else f", ends {moment(secret.ends_at)}"
            lines[f"secret {secret.shown}…"] = f"made {moment(secret.created_at)}{ends}"
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in lines.items():
        table.add_row(name, value)
    console.print(f"[bold]{escape(key.name)}[/]", highlight=False)
    console.print(table)


def day(at: float) -> str:
    """Write seconds since 1970 as a day (UTC)."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def moment(at: float) -> str:
    """Write seconds since 1970 as day and time (UTC)."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _row(name: str, begins: str, state: str, key: Terms, made: str) -> list[str]:
    limits = _limits(key) + (", and by model" if key.per_model else "")
    models = escape(", ".join(key.models)) or "all"
    return [
        escape(name), escape(begins), state, key.priority, models, limits.removeprefix(", "),
        key.expires or "", made,
    ]  # fmt: skip


def _state(key: Key | KeyRecord) -> str:
    if isinstance(key, KeyRecord) and key.revoked_at is not None:
        return f"[red]revoked {day(key.revoked_at)}[/]"
    if key.expires_at <= time.time():
        return "[red]expired[/]"
    return "[green]valid[/]"


def _limits(limits: Limits) -> str:
    return ", ".join(
        words.format(f"{value:,g}" if isinstance(value, float) else f"{value:,}")
        for field, words in _UNITS.items()
        if (value := getattr(limits, field)) is not None
    )
