"""What tests of the ledger share: rows, and ways to wait for the ledger's thread."""

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Any

import msgspec

from baseload.store.database import Database
from baseload.store.entry import Entry

WAIT_S_MAX = 20.0
"""What is waited for takes far less; this is to fail instead of hanging."""
ENTRY = Entry(
    at=1000.0, request_id="r", key="team-a", api="chat/completions", model="m", served="m-1",
    backend="b0", outcome="done", priority=1, attempts=1, resumes=0, is_hedged=False,
    is_stream=True, queue_s=0.001, first_token_s=0.2, total_s=1.0, prompt_tokens=10,
    cached_tokens=4, completion_tokens=7, reasoning_tokens=2, is_estimated=False, cost_usd=0.5,
)  # fmt: skip


def entry(number: int = 0, **fields: Any) -> Entry:
    """Give a row; its request's id tells its number."""
    return msgspec.structs.replace(ENTRY, **({"request_id": f"r{number}"} | fields))


def until(condition: Callable[[], bool]) -> None:
    """Wait for what the ledger's thread does."""
    give_up_at = monotonic() + WAIT_S_MAX
    while not condition():
        assert monotonic() < give_up_at, "it never came"
        Event().wait(0.005)


def ids(url: str) -> list[str]:
    """Give the request ids that are in a database, in the order in which they came."""
    database = Database(url)
    try:
        return [row[0] for row in database.run("SELECT request_id FROM calls ORDER BY at")]
    finally:
        database.close()
