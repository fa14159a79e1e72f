"""`baseload catalog` as a user meets it."""

import contextlib
import json
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from baseload.cli import app
from baseload.cli.catalogfiles import FetchError, fetch, named, write_file
from tests.plan.test_catalog_refresh import LIST

OWN = "baseload-catalog.toml"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _catalog(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["catalog", *words])
    return done.exit_code, done.stdout, done.stderr


def _rows(*words: str) -> list[dict]:
    code, out, err = _catalog(*words, "--json")
    assert (0, "") == (code, err)
    return json.loads(out)


@pytest.fixture(scope="module")
def url():
    """Serve a price list on loopback, and some things that are none."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/missing"):
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            if self.path == "/drip":
                with contextlib.suppress(OSError):
                    for _ in range(100):
                        self.wfile.write(b"x")
                        time.sleep(0.01)
                return
            body = {"/bytes": b"\xff\xfe", "/long": b"x" * 5000}.get(self.path, LIST.encode())
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


# -- list and show -------------------------------------------------------------------------------


def test_without_words_everything_is_listed():
    """Every kind has its table, and marks are explained by their words."""
    code, out, err = _catalog()

    assert (0, "") == (code, err)
    for title in ("accelerators", "links", "storage", "instances", "serverless", "APIs"):
        assert title in [line.strip() for line in out.splitlines()]
    assert "8 x h100" in out
    assert any("ascend-910b" in line and "unverified" in line for line in out.splitlines())


def test_old_prices_are_marked_stale(folder):
    """An own row of long ago, in table and JSON."""
    (folder / OWN).write_text('[instance."p4d.24xlarge"]\nseen = "2020-01-01"\n')
    _, out, _ = _catalog("instance", "--search", "p4d.24xlarge")
    (row,) = _rows("instance", "--search", "p4d.24xlarge")

    assert "stale" in out
    assert (True, "2020-01-01", OWN) == (row["stale"], row["seen"], row["source"])


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        (("accelerator",), {"accelerator"}),
        (("instances",), {"instance"}),
        (("list", "link"), {"link"}),
        (("--cloud", "AWS"), {"instance", "serverless"}),
        (("--accelerator", "l4"), {"accelerator", "instance", "serverless"}),
        (("--search", "flashblade"), {"storage"}),
    ],
)
def test_filters_narrow_the_list(words, kinds):
    """By kind, cloud, accelerator, and any word."""
    rows = _rows(*words)

    assert kinds == {row["table"] for row in rows}


def test_filters_hold_together():
    """All of them at once; what is left has all of it."""
    names = {row["name"] for row in _rows("instance", "--cloud", "aws", "--accelerator", "h100")}

    assert {"p5.48xlarge", "p5.4xlarge"} == names


def test_nothing_found_is_no_failure():
    """It is said, and JSON is an empty list."""
    assert (0, "nothing in the catalogue is like that\n", "") == _catalog("--search", "zx81")
    assert [] == _rows("--search", "zx81")


def test_an_unknown_kind_is_a_wrong_call():
    """Exit code 2, with the kinds that there are."""
    code, _, err = _catalog("machines")

    assert 2 == code
    assert "`machines` is none" in err


def test_one_row_shows_everything():
    """All fields, the source, and sizes in units that people use."""
    code, out, _ = _catalog("show", "h200")
    (row,) = [row for row in _rows("accelerator") if row["name"] == "h200"]

    assert 0 == code
    assert "ai-dynamo/aiconfigurator" in out
    assert "4,800.00 GB/s" in out
    assert row == json.loads(_catalog("show", "h200", "--json")[1])


def test_a_name_that_is_none_has_a_neighbour():
    """Exit code 1, one line."""
    assert (1, "", "h10: not in the catalogue (did you mean `h100`?)\n") == _catalog("show", "h10")


def test_own_rows_come_from_a_file_that_is_named(folder):
    """Or stand as `baseload-catalog.toml` here; mistakes end with 1."""
    (folder / "mine.toml").write_text("[accelerator.h100]\nusd = 30000\n")
    (folder / "bad.toml").write_text("[accelerator.h100]\nusd = -1\n")
    code, _, err = _catalog("show", "h100", "--file", "bad.toml")

    assert (
        30000.0 == json.loads(_catalog("show", "h100", "--json", "--file", "mine.toml")[1])["usd"]
    )
    assert (1, "bad.toml:2:1: accelerator.h100.usd: must not be negative\n") == (code, err)


@pytest.mark.parametrize("verb", ["list", "show", "refresh"])
def test_every_verb_has_an_example(verb):
    """In its help."""
    code, out, _ = _catalog(verb, "--help")

    assert 0 == code
    assert "Example: `baseload catalog" in out


# -- refresh -------------------------------------------------------------------------------------


def test_a_list_is_taken_into_the_own_file(folder):
    """What changed is said, and from then on the catalogue says so, too."""
    (folder / "vms.csv").write_text(LIST)
    code, out, err = _catalog("refresh", "vms.csv", "--seen", "2026-01-02")
    (row,) = _rows("instance", "--search", "p4d.24xlarge")

    assert (0, "") == (code, err)
    assert any("21.9576" in line and "20" in line and "-8.9%" in line for line in out.splitlines())
    assert f"2 rows, 3 changes; written to {OWN}" in out
    assert (20.0, "vms.csv", "2026-01-02") == (
        row["on_demand_usd_hour"],
        row["source"],
        row["seen"],
    )
    assert [OWN, "vms.csv"] == sorted(path.name for path in folder.iterdir())


def test_a_second_refresh_finds_nothing_new(folder):
    """It compares with the own file, and keeps what else stands in it."""
    (folder / "vms.csv").write_text(LIST)
    (folder / OWN).write_text('[instance."p4d.24xlarge"]\nnote = "ours"\n')
    _catalog("refresh", "vms.csv")
    code, out, _ = _catalog("refresh", "vms.csv")

    assert (0, True) == (code, "2 rows, 0 changes" in out)
    assert "ours" == json.loads(_catalog("show", "p4d.24xlarge", "--json")[1])["note"]


def test_a_dry_run_writes_nothing(folder):
    """It says the same."""
    (folder / "vms.csv").write_text(LIST)
    code, out, _ = _catalog("refresh", "vms.csv", "--dry-run")

    assert (0, True) == (code, "2 rows, 3 changes; nothing is written" in out)
    assert not (folder / OWN).exists()


def test_wild_prices_need_force(folder):
    """Twenty-fold is more likely a mistake; then nothing is written."""
    (folder / "new.toml").write_text('[instance."p5.48xlarge"]\non_demand_usd_hour = 5504\n')
    code, _, err = _catalog("refresh", "new.toml")
    written = (folder / OWN).exists()
    forced, _, _ = _catalog("refresh", "new.toml", "--force")

    assert (1, False, 0) == (code, written, forced)
    assert "1 prices changed 20-fold or more (p5.48xlarge.on_demand_usd_hour)" in err
    assert 5504.0 == json.loads(_catalog("show", "p5.48xlarge", "--json")[1])["on_demand_usd_hour"]


def test_even_force_takes_no_free_machine(folder):
    """A price of nothing is no price."""
    (folder / "vms.csv").write_text(LIST.replace(",55.04,", ",0,"))
    code, _, err = _catalog("refresh", "vms.csv", "--force")

    assert (1, "vms.csv:7:1: p5.48xlarge.Price: `0` is no price\n") == (code, err)
    assert not (folder / OWN).exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("none.csv",), 1, "none.csv: No such file"),
        (("empty.toml",), 1, "empty.toml: nothing in it is in the catalogue"),
        (("empty.toml", "--seen", "yesterday"), 2, "a day is written"),
        (("empty.toml", "--seen", "2999-01-01"), 2, "lies in the future"),
        (("empty.toml", "--cloud", "aws"), 2, "go together"),
        (("new.toml", "--to", "no/such/own.toml"), 1, "own.toml: No such file"),
        (("ftp://127.0.0.1/x",), 1, "only http:// and https:// are fetched"),
    ],
)
def test_what_cannot_be_done_is_told(folder, words, code, says):
    """In one sentence, with an exit code that tells a wrong call from a failure."""
    (folder / "empty.toml").write_text("")
    (folder / "new.toml").write_text("[accelerator.h100]\nusd = 30000\n")
    found, _, err = _catalog("refresh", *words)

    assert code == found
    assert says in " ".join(err.replace("│", " ").split())


def test_a_url_is_fetched(folder, url):
    """What may be secret in it is not written down; the day is today."""
    address = f"{url}/vms.csv?token=secret".replace("//", "//user:word@")
    code, _, _ = _catalog("refresh", f"{url}/vms.csv?token=secret")
    row = json.loads(_catalog("show", "p4d.24xlarge", "--json")[1])

    assert (0, f"{url}/vms.csv") == (code, row["source"])
    assert datetime.now(UTC).date().isoformat() == row["seen"]
    assert f"{url}/vms.csv" == named(address)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/missing", "answered 404"),
        ("/bytes", "can't decode"),
        ("/long", "larger than 1,000 bytes"),
    ],
)
def test_a_fetch_that_fails_is_told(url, path, says):
    """Whatever the server does, it is one sentence, and bounded."""
    with pytest.raises(FetchError, match=says):
        fetch(url + path, bytes_max=1000)


def test_a_slow_server_is_left(url):
    """A fetch has a bound on its whole time."""
    with pytest.raises(FetchError, match=r"took longer than 0\.1 s"):
        fetch(url + "/drip", fetch_s=0.1)


def test_nobody_at_home_is_told():
    """A port where nothing listens."""
    with pytest.raises(FetchError, match="refused"):
        fetch("http://127.0.0.1:9/x")


def test_a_file_is_written_whole_or_not_at_all(folder, monkeypatch):
    """When the disk fails, the old one is there, and nothing lies about."""
    path = folder / "own.toml"
    path.write_text("old")
    path.chmod(0o600)

    def fail(_):
        raise OSError(28, "No space left on device")

    write_file(path, "newer")
    assert ("newer", 0o600) == (path.read_text(), path.stat().st_mode & 0o777)
    monkeypatch.setattr("baseload.cli.catalogfiles.os.fsync", fail)
    with pytest.raises(FetchError, match="No space left"):
        write_file(path, "newest")
    assert ["own.toml"] == [found.name for found in folder.iterdir()]
    assert "newer" == path.read_text()
