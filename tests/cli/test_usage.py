"""`baseload usage` as a user meets it."""

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from baseload.store.ledger import Ledger
from tests.store.rows import entry

HOUR_S = 3600.0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Path:
    """Give a fleet file with a ledger of three calls: just now, two hours ago, ten days ago."""
    folder = tmp_path_factory.mktemp("usage")
    file = folder / "fleet.yaml"
    file.write_text(
        "backends: {a: {url: https://a.example/v1, api_key: '${NOT_SET}'}}\n"
        "models: {m: {tiers: [{a: {model: m}}]}}\n"
        f"store: {{ledger: 'sqlite:///{folder}/ledger.db'}}\n"
    )
    ledger, now = Ledger(f"sqlite:///{folder}/ledger.db"), time.time()
    ledger.enter(entry(0, at=now - 1, key="", prompt_tokens=1_234_567))
    ledger.enter(entry(1, at=now - 2 * HOUR_S, key="=cmd()", is_estimated=True))
    ledger.enter(entry(2, at=now - 240 * HOUR_S, key="team-b", cost_usd=None))
    ledger.close()
    return file


def _usage(fleet: Path, *options: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "baseload", "usage", "-c", str(fleet), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_table_with_totals(fleet):
    """The last week by key and model, what it cost, and what all of it comes to."""
    code, out, err = _usage(fleet)
    head, *rows, total, note = out.splitlines()

    assert (0, "") == (code, err)
    assert ["key", "model", "calls", "failed"] == head.split()[:4]
    assert 2 == len(rows)
    assert ["in", "all", "2", "0", "1.2M"] == total.split()[:5]
    assert "1.0000" in total
    assert "50%" in total
    assert "cost in US dollars" in note


def test_calls_without_a_price_are_told(fleet):
    """They are not in the cost, and the reader must know."""
    _, out, _ = _usage(fleet, "--since", "4w")

    assert "1 calls have no known price and are not in the cost." in out


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        (["--since", "30m"], 1), (["--since", "24h"], 2), (["--since", "7d"], 2),
        (["--since", "4w"], 3), (["--since", "2020-01-01"], 3),
        (["--since", "2020-01-01T10:00+02:00"], 3),
        (["--since", "4w", "--until", "1h"], 2), (["--since", "4w", "--key", "team-b"], 1),
        (["--since", "4w", "--model", "nobody"], 0),
    ],
)  # fmt: skip
def test_spans_and_filters(fleet, options, calls):
    """Ago, or from a date on; before a time; of one key or model."""
    code, out, _ = _usage(fleet, "--by", "model", "--json", *options)

    assert (0, calls) == (code, sum(row["calls"] for row in json.loads(out)))


def test_csv_has_every_digit_and_no_formulas(fleet):
    """A spreadsheet gets plain numbers, and a key's name is never run."""
    _, out, _ = _usage(fleet, "--by", "key,day", "--csv", "--since", "24h")
    rows = list(csv.DictReader(out.splitlines()))

    assert {"", "'=cmd()"} == {row["key"] for row in rows}
    assert {"1234567", "10"} == {row["prompt_tokens"] for row in rows}
    assert {"0.5"} == {row["cost_usd"] for row in rows}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--since", "yesterday"], "--since: `yesterday` is neither a span"),
        (["--by", "colour"], "--by: `colour` is none of key, model"),
        (["--csv", "--json"], "one at a time"),
    ],
)
def test_what_makes_no_sense_is_told(fleet, options, says):
    """In one line, with exit code 1."""
    code, out, err = _usage(fleet, *options)

    assert (1, "", 1) == (code, out, len(err.splitlines()))
    assert says in err


def test_without_a_ledger_nothing_is_made(tmp_path):
    """Asking where nothing was written says so and leaves no file."""
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "backends: {a: {url: https://a.example/v1}}\nmodels: {m: {tiers: [{a: {model: m}}]}}\n"
        f"store: {{ledger: 'sqlite:///{tmp_path}/none.db'}}\n"
    )
    code, _, err = _usage(file)

    assert (1, False) == (code, (tmp_path / "none.db").exists())
    assert "there is no such file; `baseload up` makes it" in err
