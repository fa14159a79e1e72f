"""Keys made by one process while another serves: `baseload keys` beside a real `baseload up`.

The fleet's one backend is a port where nobody listens: a call that was let in ends with 502, and
one that was not with 401. What a backend answers is shown elsewhere.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from baseload.cli.making import _must_not_be_open
from baseload.config.fleet import Fleet
from baseload.config.reading import parse_fleet
from baseload.errors import BaseloadError
from baseload.store.keys import digest_of, new_secret
from tests.store.postgres import postgres

WAIT_S_MAX = 30.0
FLEET = """\
listen: {listen}
admin: 127.0.0.1:0
drain_s: 1
backends: {{a: {{url: http://127.0.0.1:9/v1, probe_s: 0}}}}
models: {{m: {{tiers: [{{a: {{model: m}}}}]}}, n: {{tiers: [{{a: {{model: m}}}}]}}}}
store: {{ledger: "{ledger}"}}
"""


def baseload(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end."""
    return subprocess.run(
        [sys.executable, "-m", "baseload", *words],
        capture_output=True, text=True, check=False, cwd=folder, env=os.environ | env,
        timeout=WAIT_S_MAX,
    )  # fmt: skip


class Up:
    """A running `baseload up`; `lines` is all that it says."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "baseload", "up"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
            env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
        )  # fmt: skip
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self.url = self.find(r"at (http://\S+)/v1")

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.lines.extend(lines)

    def find(self, pattern: str) -> str:
        """Wait until a line matches; give its first group."""
        found: list[str] = []

        def look() -> bool:
            found.extend(m[1] for line in list(self.lines) if (m := re.search(pattern, line)))
            return bool(found)

        soon(look, lambda: "".join(self.lines))
        return found[0]

    def status(self, secret: str | None = None) -> int:
        """Ask for the models, with a key or without."""
        headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
        return httpx.get(f"{self.url}/v1/models", headers=headers, timeout=10).status_code

    def call(self, secret: str, model: str = "m") -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        headers = {"x-api-key": secret}
        url = f"{self.url}/v1/chat/completions"
        return httpx.post(url, json=body, headers=headers, timeout=10)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(WAIT_S_MAX)
        self.reader.join(WAIT_S_MAX)
        return code


def soon(holds: Callable[[], bool], why: Callable[[], str] = str) -> None:
    """Wait for what another process is to bring about."""
    until = time.monotonic() + WAIT_S_MAX
    while not holds():
        assert time.monotonic() < until, why()
        time.sleep(0.02)


@contextlib.contextmanager
def up(folder: Path) -> Iterator[Up]:
    running = Up(folder)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait(10)
        running.reader.join(10)


def fleet_file(folder: Path, ledger: str = "sqlite:///b.db", listen: str = "127.0.0.1:0") -> Path:
    file = folder / "baseload.yaml"
    file.write_text(FLEET.format(ledger=ledger, listen=listen))
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield "sqlite:///b.db"
    else:
        with postgres() as url:
            yield url


def test_keys_come_and_go_while_it_runs(tmp_path: Path, ledger: str):
    """The first key closes the gateway; each change holds soon, and no secret is ever logged."""
    fleet_file(tmp_path, ledger)
    with up(tmp_path) as running:
        assert 200 == running.status()
        first = baseload(tmp_path, "keys", "create", "a", "-m", "m").stdout.strip()
        soon(lambda: running.status() == 401)
        assert (200, 401) == (running.status(first), running.status("bl-no"))
        assert [502, 404] == [running.call(first, model).status_code for model in ("m", "n")]
        second = baseload(tmp_path, "keys", "rotate", "a", "--grace", "2s").stdout.strip()
        soon(lambda: running.status(second) == 200)
        soon(lambda: running.status(first) == 401)
        assert "was replaced by a newer one" in running.call(first).text
        baseload(tmp_path, "keys", "change", "a", "--unset", "models")
        soon(lambda: running.call(second, "n").status_code == 502)
        baseload(tmp_path, "keys", "revoke", "a")
        soon(lambda: running.status(second) == 401)
        assert "was revoked" in running.call(second).text
        assert (401, 401) == (running.status(), running.status(first))
        assert 0 == running.stop()
        lines = "".join(running.lines)

    assert all(digest_of(secret.encode()) not in lines for secret in (first, second))
    assert all(secret not in lines for secret in (first, second))
    assert "Traceback" not in lines


def test_a_person_with_a_key_gets_on(tmp_path: Path):
    """The line to paste says where the key goes, and `ask` takes it from its variable."""
    fleet_file(tmp_path)
    secret = baseload(tmp_path, "keys", "create", "a").stdout.strip()
    with up(tmp_path) as running:
        line = running.find(r"^  (curl .*)$")
        asking = ("ask", "hi", "--url", running.url)
        without = baseload(tmp_path, *asking, BASELOAD_API_KEY="")
        wrong = baseload(tmp_path, *asking, BASELOAD_API_KEY="bl-no\n")
        with_key = baseload(tmp_path, *asking, BASELOAD_API_KEY=secret)
        pasted = subprocess.run(
            ["bash", "-c", f"{line} --silent --max-time 20"],
            capture_output=True, text=True, check=True, env=os.environ | {"BASELOAD_API_KEY": secret},
        )  # fmt: skip

    assert "did not show an API key" in without.stderr
    assert "signs that no key has" in wrong.stderr
    assert "could be reached" in with_key.stderr
    assert "could be reached" in pasted.stdout
    assert secret not in line


def test_it_does_not_listen_to_everybody_without_keys(tmp_path: Path):
    """Off loopback it ends at once with what to do about it; the port was never open."""
    fleet_file(tmp_path, listen="0.0.0.0:0")
    done = baseload(tmp_path, "up")

    assert 1 == done.returncode
    assert "`listen: 0.0.0.0:0` can be reached from other machines" in done.stderr
    assert "baseload keys create NAME" in done.stderr
    assert "open_to_all" in done.stderr


@pytest.mark.parametrize(
    ("listen", "more", "may"),
    [
        ("127.0.0.1:1", "", True),
        ("127.1.2.3:1", "", True),
        ("localhost:1", "", True),
        ('"[::1]:1"', "", True),
        ("0.0.0.0:1", "", False),
        ('"[::]:1"', "", False),
        ("192.168.0.7:1", "", False),
        ("gateway.example:1", "", False),
        ("0.0.0.0:1", "open_to_all: true\n", True),
    ],
)
def test_where_it_may_listen_without_keys(listen: str, more: str, may: bool):
    """On loopback, or where its owner said so."""
    fleet: Fleet = parse_fleet(FLEET.format(ledger="sqlite:///x.db", listen=listen) + more, "f", {})
    refused = contextlib.nullcontext() if may else pytest.raises(BaseloadError, match="no keys")
    with refused:
        _must_not_be_open(fleet)


def test_keys_that_cannot_be_looked_up(tmp_path: Path):
    """Without the database it does not start, be there keys in the fleet file or not."""
    file = fleet_file(tmp_path)
    (tmp_path / "b.db").write_bytes(b"no database " * 500)
    alone = baseload(tmp_path, "up")
    digest = digest_of(new_secret().encode())
    file.write_text(file.read_text() + f"keys: [{{name: a, sha256: {digest}}}]\n")
    with_key = baseload(tmp_path, "up")

    for done in (alone, with_key):
        assert 1 == done.returncode
        assert (
            "`store.ledger` cannot be used: sqlite:///b.db: file is not a database" in done.stderr
        )
