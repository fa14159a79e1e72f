"""Limits counted in this process, and how counters are opened."""

import builtins
import traceback
from datetime import UTC, datetime

import pytest

from baseload.config.tenancy import Limits
from baseload.core.quota import Hold, Scope
from baseload.store.counters import CountersError, LocalCounters, open_counters, spent_so_far
from baseload.store.database import Database
from tests.gateway.harness import on_uvloop


def never(verdict):
    raise AssertionError(f"told later: {verdict}")


def test_verdicts_are_there_at_once():
    """Counting in memory needs nobody to wait, and settles what it has reserved."""
    counters = LocalCounters()
    scope = Scope("s", Limits(concurrency=1, tpm=100), "s")
    first, second = Hold((scope,), 60, 0.0), Hold((scope,), 60, 0.0)

    assert counters.reserve(first, never).is_granted
    assert not counters.reserve(second, never).is_granted
    counters.settle(first, 10, 0.0)
    assert 30 == counters.reserve(second, never).tokens_left


def test_what_the_ledger_knows_is_counted():
    """Money that was spent before this process began is part of today and this month."""
    counters = LocalCounters({"s": (0.9, 0.9)})
    scope = Scope("s", Limits(usd_day=1.0), "s")

    assert "usd_day" == counters.reserve(Hold((scope,), 1, 0.2), never).limit


@on_uvloop
async def test_memory_is_what_the_default_url_opens():
    """`memory://` gives counters that start and close without doing anything."""
    counters = open_counters("memory://")
    await counters.start()
    await counters.close()

    assert isinstance(counters, LocalCounters)


def test_an_unknown_url_is_refused_with_what_it_could_be():
    """The mistake names the field and the two forms that are known."""
    with pytest.raises(CountersError, match=r"store.counters: `ftp://`.*memory://.*redis://"):
        open_counters("ftp://x")


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:s3cret/x@127.0.0.1/0",
        "redis://u:s3cret#x@127.0.0.1/0",
        "redis://u:s3cret@[bad/0",
        "redis://:s3cret@127.0.0.1:99999/0",
        "s3cret://x",
        "redis:s3cret",
    ],
)
def test_a_url_that_is_none_is_told_without_its_password(url):
    """Neither the sentence nor an error behind it repeats what may be a part of a password."""
    with pytest.raises(CountersError) as caught:
        open_counters(url)

    told = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in told.replace("`s3cret://`", "")


def test_a_missing_package_is_named(monkeypatch):
    """Without the extra, one is told how to install it."""
    real = builtins.__import__

    def without_redis(name, *args, **kwargs):
        if name == "baseload.store.redis_wire":
            raise ImportError("no redis")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_redis)

    with pytest.raises(CountersError, match=r"pip install 'baseload\[redis\]'"):
        open_counters("redis://127.0.0.1:1/0")


def test_what_was_spent_is_read_from_the_ledger(tmp_path):
    """Today's and this month's costs, by key, by key and model, and by model."""
    url = f"sqlite:///{tmp_path}/b.db"
    now = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
    hour, day = 3600.0, 86_400.0
    rows = [
        ("a", "m", now - hour, 1.0),
        ("a", "n", now - 2 * day, 2.0),
        ("b", "m", now - 40 * day, 4.0),
    ]
    database = Database(url)
    for number, (key, model, at, usd) in enumerate(rows):
        database.run(
            "INSERT INTO calls (at, request_id, key_name, api, model, served, backend, outcome, "
            "priority, attempts, resumes, is_hedged, is_stream, queue_s, total_s, prompt_tokens, "
            "cached_tokens, completion_tokens, reasoning_tokens, is_estimated, cost_usd) "
            "VALUES (?, ?, ?, 'chat', ?, 'm', 'b', 'done', 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, ?)",
            at, f"r{number}", key, model, usd,
        )  # fmt: skip
    database.close()

    assert {
        "key:a": (1.0, 3.0),
        "key:a/model:m": (1.0, 1.0),
        "key:a/model:n": (0.0, 2.0),
        "model:m": (1.0, 1.0),
        "model:n": (0.0, 2.0),
    } == spent_so_far(url, now)
