"""What is asked of the ledger: sums by what calls have in common, on both databases."""

from contextlib import closing

import pytest

from baseload.store.database import Database
from baseload.store.ledger import Ledger
from baseload.store.usage import DIMENSIONS, Spent, Usage, UsageError, spent, usage
from tests.store.rows import entry

DAY = 1_796_083_200.0
"""2026-12-01 00:00 UTC."""
ROWS = [
    entry(0, at=DAY, key="a", first_token_s=0.1),
    entry(1, at=DAY + 10, key="a", model="n", cost_usd=2.0, is_estimated=True),
    entry(2, at=DAY + 3600, key="a", outcome="gone", first_token_s=None, cost_usd=None),
    entry(3, at=DAY + 86_400, key="b", backend="b1", first_token_s=0.3),
    entry(4, at=DAY + 86_400.5, key="b", backend="b1", api="embeddings", first_token_s=0.5),
]


@pytest.fixture
def database(url):
    """Give a database with some rows."""
    ledger = Ledger(url)
    for row in ROWS:
        ledger.enter(row)
    ledger.close()
    with closing(Database(url)) as found:
        yield found


def _calls(rows: list[Usage]) -> dict[tuple[str, ...], int]:
    return {tuple(row.by.values()): row.calls for row in rows}


def test_all_calls_together(database):
    """Without a dimension there is one row; percentiles are those of calls with a token."""
    assert [
        Usage({}, 5, 1, 50, 20, 35, 10, 3.5, 1, 1, 0.2, 0.5)
    ] == usage(database, (), since=0.0, has_percentiles=True)  # fmt: skip


def test_the_costliest_come_first(database):
    """Each group has its own sums."""
    assert [
        Usage({"key": "a"}, 3, 1, 30, 12, 21, 6, 2.5, 1, 1, 0.1, 0.2),
        Usage({"key": "b"}, 2, 0, 20, 8, 14, 4, 1.0, 0, 0, 0.3, 0.5),
    ] == usage(database, ["key"], since=0.0, has_percentiles=True)


@pytest.mark.parametrize("word", DIMENSIONS)
def test_every_dimension_can_be_asked_for(database, word):
    """And none of them loses a call."""
    assert 5 == sum(row.calls for row in usage(database, [word], since=0.0, has_percentiles=True))


def test_energy_is_that_of_calls_of_which_it_is_known(url):
    """Joules are added up; where nobody knows any there is none, and not 0."""
    ledger = Ledger(url)
    for number, (key, joules) in enumerate((("a", 1.5), ("a", None), ("a", 2.0), ("b", None))):
        ledger.enter(entry(number, key=key, energy_j=joules))
    ledger.close()
    with closing(Database(url)) as found:
        rows = usage(found, ["key"], since=0.0)

    assert {"a": 3.5, "b": None} == {row.by["key"]: row.energy_j for row in rows}


def test_times_come_in_their_order(database):
    """Days and hours are those of UTC, rounded down."""
    assert {("2026-12-01",): 3, ("2026-12-02",): 2} == _calls(usage(database, ["day"], since=0.0))
    assert ["2026-12-01T00:00", "2026-12-01T01:00", "2026-12-02T00:00"] == [
        row.by["hour"] for row in usage(database, ["hour"], since=0.0)
    ]


def test_several_dimensions_and_the_same_one_twice(database):
    """Repeating a word changes nothing."""
    assert {("a", "b0"): 3, ("b", "b1"): 2} == _calls(
        usage(database, ["key", "backend", "key"], since=0.0)
    )


def test_spans_and_filters(database):
    """From the first moment on, until before the last; one key, one model."""
    assert 4 == usage(database, (), since=DAY + 10)[0].calls
    assert 1 == usage(database, (), since=DAY, until=DAY + 10)[0].calls
    assert 3 == usage(database, (), since=0, key="a")[0].calls
    assert 1 == usage(database, (), since=0, key="a", model="n")[0].calls
    assert [] == usage(database, (), since=0, key="nobody", has_percentiles=True)
    assert [] == usage(database, ["key"], since=DAY * 2)


def test_words_are_not_pasted_into_sql(database):
    """What is no dimension is refused; what is a value is no SQL."""
    with pytest.raises(UsageError, match="is none of key, model"):
        usage(database, ["key; DROP TABLE calls"], since=0)
    assert [] == usage(database, (), since=0, key="' OR 1=1 --")


def test_what_was_spent(database):
    """By key, by model, by both; calls of unknown price are not in it."""
    assert Spent(
        {"a": 2.5, "b": 1.0}, {("a", "m"): 0.5, ("a", "n"): 2.0, ("b", "m"): 1.0},
        {"m": 1.5, "n": 2.0},
    ) == spent(database, 0.0)  # fmt: skip
    assert {"b": 1.0} == spent(database, DAY + 86_400).by_key
