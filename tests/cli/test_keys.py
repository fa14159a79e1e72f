"""`baseload keys`, as a person and as a script meet it; no gateway runs here."""

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click import unstyle
from typer.testing import CliRunner, Result

from baseload.cli import app
from baseload.store.database import Database
from baseload.store.keys import KeyStore, digest_of

SECRET = re.compile(r"bl-[A-Za-z0-9_-]{43}")
FLEET = """\
backends: {a: {url: http://127.0.0.1:9/v1, api_key: "${NOT_SET_ANYWHERE}"}}
models: {m: {tiers: [{a: {model: m}}]}, big-model: {tiers: [{a: {model: m}}]}}
store: {ledger: "sqlite:///kept/keys.db"}
"""
IN_FILE = f"keys: [{{name: filed, sha256: {'0a' * 32}, rpm: 5, labels: {{x: y}}}}]\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a fleet file that names a database below it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "baseload.yaml").write_text(FLEET)
    return tmp_path


def run(*words: str) -> Result:
    """Run a verb of `keys`; its output is read by a program, so to say."""
    return CliRunner().invoke(app, ["keys", *words], env={"COLUMNS": "200", "NO_COLOR": "1"})


def stored() -> KeyStore:
    return KeyStore(Database("sqlite:///kept/keys.db"))


def said(result: Result) -> str:
    return unstyle(result.output + result.stderr)


def test_a_program_is_given_the_secret_alone():
    """What is made can be piped to where it is kept; the store knows its hash and its terms."""
    result = run(
        "create", "team-a", "--rpm", "600", "--tpm", "9", "--concurrency", "3", "--usd-day", "0.5",
        "--usd-month", "0", "--priority", "batch", "-m", "m", "--model", "big-model", "--expires",
        "2031-01-31", "--label", "mail=a=b", "--limit", "m:rpm=4", "--limit", "m:usd_day=0.5",
    )  # fmt: skip
    secret = result.stdout.removesuffix("\n")
    (one,) = stored().passes()

    assert (0, "") == (result.exit_code, result.stderr)
    assert SECRET.fullmatch(secret)
    assert digest_of(secret.encode()) == one.key.sha256
    assert (600, 9, 3, 0.5, 0.0, "batch", ("m", "big-model"), "2031-01-31", {"mail": "a=b"}) == (
        one.key.rpm, one.key.tpm, one.key.concurrency, one.key.usd_day, one.key.usd_month,
        one.key.priority, one.key.models, one.key.expires, one.key.labels,
    )  # fmt: skip
    assert (4, 0.5, None) == (
        one.key.per_model["m"].rpm, one.key.per_model["m"].usd_day, one.key.per_model["m"].tpm,
    )  # fmt: skip


def test_a_person_is_told_that_it_is_shown_once(folder: Path):
    """On a terminal the secret stands below a frame; with --quiet it is alone there, too."""
    shown = []
    for words in (["create", "a"], ["rotate", "a", "--quiet"]):
        master, slave = pty.openpty()
        subprocess.run(
            [sys.executable, "-m", "baseload", "keys", *words], stdout=slave, cwd=folder, check=True
        )
        shown.append(unstyle(os.read(master, 1 << 16).decode()))
        for end in (master, slave):
            os.close(end)

    assert "shown once" in shown[0]
    assert "the key of a" in shown[0]
    assert SECRET.fullmatch(shown[0].strip().splitlines()[-1])
    assert SECRET.fullmatch(shown[1].strip())


def test_json_for_scripts():
    """Every verb gives one JSON value; the secret is in it where one was made, and a hash never."""
    made = json.loads(run("create", "a", "--rpm", "1", "--json").stdout)
    turned = json.loads(run("rotate", "a", "--grace", "1h", "--json").stdout)
    changed = json.loads(run("change", "a", "--rpm", "2", "--json").stdout)
    listed = run("list", "--json")
    seen = json.loads(run("show", "a", "--json").stdout)
    gone = json.loads(run("revoke", "a", "--json").stdout)

    assert SECRET.fullmatch(made["secret"])
    assert SECRET.fullmatch(turned["secret"])
    assert made["secret"] != turned["secret"]
    assert [1, 2, 2, 2] == [made["rpm"], changed["rpm"], seen["rpm"], gone["rpm"]]
    assert ["a"] == [one["name"] for one in json.loads(listed.stdout)]
    assert [turned["secret"][:8], made["secret"][:8]] == [o["shown"] for o in seen["secrets"]]
    assert gone["revoked_at"] is not None
    for secret in (made["secret"], turned["secret"]):
        assert secret not in listed.stdout
        assert digest_of(secret.encode()) not in listed.stdout
    assert [] == json.loads(run("list", "--json").stdout)
    assert 1 == len(json.loads(run("list", "--json", "--revoked").stdout))


def test_keys_of_the_file_are_shown_and_left_alone(folder: Path):
    """They are listed with the others, without their hash, and are changed in the file alone."""
    (folder / "baseload.yaml").write_text(FLEET + IN_FILE)
    alone = run("list")
    assert not (folder / "kept").exists()
    run("create", "other")
    listed = run("list", "--json")
    results = [
        run(*words)
        for words in (["create", "filed"], ["rotate", "filed"], ["revoke", "filed"], ["change", "filed", "--rpm", "1"])
    ]  # fmt: skip

    assert "filed" in alone.stdout
    assert [("filed", "file"), ("other", "store")] == [
        (one["name"], one["kept"]) for one in json.loads(listed.stdout)
    ]
    assert "0a0a" not in listed.stdout + run("show", "filed").stdout + run("list").stdout
    assert "5 calls/min" in run("show", "filed").stdout
    assert [1] * 4 == [result.exit_code for result in results]
    assert all("stands in the fleet file" in said(result) for result in results)
    assert ["other"] == [record.name for record in stored().list()]


def test_terms_are_lifted():
    """--unset takes a term away, and knows what there is to take."""
    run("create", "a", "--rpm", "1", "--model", "m", "--expires", "30d")
    result = run("change", "a", "--unset", "rpm", "--unset", "models", "--tpm", "8")
    wrong = run("change", "a", "--unset", "rpn")
    record = stored().get("a")

    assert 0 == result.exit_code
    assert (None, 8, ()) == (record.rpm, record.tpm, record.models)
    assert record.expires == (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    assert 2 == wrong.exit_code
    assert "did you mean `rpm`" in said(wrong)


def test_a_list_for_people():
    """Names, states, limits and classes stand in a table; one key is shown with its secrets."""
    run("create", "[red]x[/]", "--rpm", "1200", "--usd-day", "2.5", "--label", "k=[b]v")
    run("create", "over", "--expires", "2020-01-01")
    run("rotate", "[red]x[/]", "--grace", "15m")
    run("create", "gone")
    run("revoke", "gone")
    table, everything = run("list").stdout, run("list", "--revoked").stdout
    shown = run("show", "[red]x[/]").stdout

    assert re.search(
        r"\[red\]x\[/\] +bl-.{5}… +valid +default +all +1,200 calls/min, \$2.5/day", table
    )
    assert re.search(r"over .* expired ", table)
    assert "gone" not in table
    assert re.search(r"gone .* revoked \d{4}-\d\d-\d\d ", everything)
    assert 2 == len(re.findall(r"secret bl-", shown))
    assert ", ends 20" in shown
    assert re.search(r"label k +\[b\]v", shown)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["create", "a"], 1, "a: a key has this name already"),
        (["create", "b", "--model", "big-modal"], 2, "did you mean `big-model`"),
        (["create", "b", "--limit", "big-modal:rpm=1"], 2, "did you mean `big-model`"),
        (["create", "b", "--limit", "m:rpn=1"], 2, "did you mean `rpm`"),
        (["create", "b", "--limit", "m:rpm=x"], 2, "`x`: no number"),
        (["create", "b", "--limit", "m:rpm=0"], 1, "rpm"),
        (["create", "b", "--limit", "rpm"], 2, "is not written NAME=VALUE"),
        (["create", "b", "--label", "x"], 2, "is not written NAME=VALUE"),
        (["create", "b", "--rpm", "0"], 2, "--rpm"),
        (["create", "b", "--usd-day", "nan"], 1, "usd_day"),
        (["create", "b", "--expires", "soon"], 2, "neither a day"),
        (["create", "b", "--expires", "2027-02-30"], 2, "neither a day"),
        (["create", "b", "--expires", "999999w"], 2, "neither a day"),
        (["create", "b", "--priority", "urgent"], 2, "--priority"),
        (["create", ""], 1, "a name has 1 to 64 signs"),
        (["create", "x" * 65], 1, "a name has 1 to 64 signs"),
        (["create"], 2, "NAME"),
        (["rotate", "b"], 1, "b: there is no such key"),
        (["rotate", "a", "--grace", "soon"], 2, "no span of time"),
        (["rotate", "a", "--grace", "31d"], 1, "the grace must be"),
        (["revoke", "b"], 1, "b: there is no such key"),
        (["show", "b"], 1, "b: there is no such key"),
        (["change", "b", "--rpm", "1"], 1, "b: there is no such key"),
        (["list", "-c", "none.yaml"], 1, "none.yaml: no such file"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_what_cannot_be_done(words: list[str], code: int, text: str):
    """One sentence on stderr, an exit code that scripts can go by, and nothing is changed."""
    run("create", "a")
    before = stored().list(with_revoked=True)
    result = run(*words)

    assert code == result.exit_code
    assert "" == result.stdout
    assert text in re.sub(r"[\s│]+", " ", said(result))
    assert before == stored().list(with_revoked=True)


def test_without_a_database():
    """Asking makes none; a database that cannot be one is a clear error, without its password."""
    nothing = run("list")
    unknown = run("revoke", "a")
    Path("baseload.yaml").write_text(FLEET.replace("sqlite:///kept/keys.db", "mysql://u:pw@h/d"))
    wrong = [run("list"), run("create", "a")]

    assert (0, "no keys") == (nothing.exit_code, nothing.stdout[:7])
    assert (1, True) == (unknown.exit_code, "there is no such database yet" in unknown.stderr)
    assert not Path("kept").exists()
    for result in wrong:
        assert 1 == result.exit_code
        assert "baseload.yaml:3:17: store.ledger: does not have the form" in result.stderr
        assert "sqlite:///FILE or postgresql://" in result.stderr
        assert "pw" not in result.stderr


def test_help_has_examples():
    """Each verb's help shows how it is used."""
    for verb in ("create", "change", "list", "show", "rotate", "revoke"):
        text = said(run(verb, "--help"))

        assert re.search(rf"[Ee]xample: +`?baseload keys {verb}", re.sub(r"\s+", " ", text)), text


def test_two_processes_may_use_one_database():
    """What one makes, the other sees; the file can be open in both."""
    with closing(Database("sqlite:///kept/keys.db")) as database:
        run("create", "a")

        assert ["a"] == [record.name for record in KeyStore(database).list()]
