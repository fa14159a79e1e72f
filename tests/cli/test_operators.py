"""The verbs that ask a running gateway's operators' port, against a real port over doubles."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from baseload.cli import app
from baseload.web.plane import Reloaded
from tests.web.doubles import TOKEN, Port, served

FLEET = """\
admin: 127.0.0.1:{port}
admin_token: {token}
backends: {{edge: {{url: http://127.0.0.1:9/v1, api_key: "${{SOME_KEY}}"}}}}
models: {{m: {{tiers: [{{edge: {{model: m}}}}]}}}}
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    """A port with a token, and a fleet file that knows both."""
    with served(tmp_path) as port:
        write_fleet(tmp_path, port, TOKEN)
        yield port


def write_fleet(folder: Path, port: Port, token: str) -> None:
    """Write the fleet file that `run` names."""
    number = port.client.base_url.port
    (folder / "fleet.yaml").write_text(FLEET.format(port=number, token=token))


def run(folder: Path, *words: str, env: dict[str, str] | None = None) -> Result:
    """Run a verb with the fleet file."""
    kept = {"BASELOAD_ADMIN_TOKEN": None, "SOME_KEY": None, "COLUMNS": "200", **(env or {})}
    return CliRunner().invoke(app, [*words, "-c", str(folder / "fleet.yaml")], env=kept)


def test_backends_are_shown_and_operated(port: Port, tmp_path: Path):
    """Without words the verb lists; with an action and a name it changes one."""
    listed = run(tmp_path, "backends")
    as_json = run(tmp_path, "backends", "--json")
    drained = run(tmp_path, "backends", "drain", "edge")
    enabled = run(tmp_path, "backends", "enable", "edge", "--json")

    assert [0, 0, 0, 0] == [one.exit_code for one in (listed, as_json, drained, enabled)]
    assert "edge" in listed.stdout
    assert ["edge", "cpu"] == [one["name"] for one in json.loads(as_json.stdout)["backends"]]
    assert "edge: draining (it was enabled)\n" == drained.stdout
    assert {"backend": "edge", "was": "draining", "is_now": "enabled"} == json.loads(enabled.stdout)


def test_a_backend_that_is_not_there_and_one_that_is_not_named(port: Port, tmp_path: Path):
    """Exit code 1 and one sentence; a name is never read as a path."""
    unknown = run(tmp_path, "backends", "disable", "none")
    strange = run(tmp_path, "backends", "disable", "../keys")
    nameless = run(tmp_path, "backends", "drain")

    assert [1, 1, 1] == [one.exit_code for one in (unknown, strange, nameless)]
    assert "HTTP 404: none: there is no such backend" in unknown.stderr
    assert "HTTP 404" in strange.stderr
    assert "which backend?" in nameless.stderr


def test_reload_tells_what_changed(port: Port, tmp_path: Path):
    """What changed and what has to wait is said, as is that nothing did."""
    port.plane.report = Reloaded(changed=["queue.size"], needs_restart=["listen"])
    some = run(tmp_path, "reload")
    port.plane.report = Reloaded()
    none = run(tmp_path, "reload")

    assert "changed: queue.size\ntakes effect at the next start: listen\n" == some.stdout
    assert (0, "nothing has changed\n") == (none.exit_code, none.stdout)


def test_reload_of_a_bad_file_fails_with_its_mistakes(port: Port, tmp_path: Path):
    """Exit code 1, every mistake on a line of its own."""
    port.plane.report = Reloaded(mistakes=["fleet.yaml:1:1: wrong", "fleet.yaml:2:1: too"])
    result = run(tmp_path, "reload")

    assert 1 == result.exit_code
    assert "nothing was changed\n  fleet.yaml:1:1: wrong\n  fleet.yaml:2:1: too" in result.stderr


def test_audit_shows_who_did_what(port: Port, tmp_path: Path):
    """Newest first, as a table and as data."""
    run(tmp_path, "backends", "drain", "edge")
    run(tmp_path, "reload")
    table = run(tmp_path, "audit")
    data = run(tmp_path, "audit", "--json", "-n", "1")

    assert "token 127.0.0.1  drain_backend  edge  enabled → draining" in table.stdout
    assert ["reload"] == [row["action"] for row in json.loads(data.stdout)["changes"]]


def test_the_token_comes_from_the_option_the_environment_or_the_file(port: Port, tmp_path: Path):
    """In this order; a variable that is not set here is no token."""
    write_fleet(tmp_path, port, "'${BASELOAD_ADMIN_TOKEN}'")
    none = run(tmp_path, "status")
    by_environment = run(tmp_path, "status", env={"BASELOAD_ADMIN_TOKEN": TOKEN})
    wrong_first = run(
        tmp_path, "status", "--token", "wrong-wrong-wrong", env={"BASELOAD_ADMIN_TOKEN": TOKEN}
    )
    write_fleet(tmp_path, port, "another-token-of-enough-signs")
    by_option = run(tmp_path, "status", "--token", TOKEN)

    assert [1, 0, 1, 0] == [one.exit_code for one in (none, by_environment, wrong_first, by_option)]
    assert "HTTP 401: show the fleet file's `admin_token`" in none.stderr
    assert "BASELOAD_ADMIN_TOKEN" in none.stderr
    assert "this is not the token" in wrong_first.stderr


def test_the_files_token_goes_to_the_files_address_only(port: Port, tmp_path: Path):
    """Another URL is asked without it: it may be anybody's."""
    result = run(tmp_path, "status", "--url", str(port.client.base_url))

    assert 1 == result.exit_code
    assert "HTTP 401" in result.stderr


def test_nobody_there_is_said_in_a_sentence(tmp_path: Path):
    """No answer, or one that is no HTTP, ends with 1 and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
    gone = run(tmp_path, "audit", "--url", f"http://127.0.0.1:{number}")
    strange = run(tmp_path, "audit", "--url", "nonsense")

    assert [1, 1] == [gone.exit_code, strange.exit_code]
    assert "is `baseload up` running?" in gone.stderr
    assert "nonsense" in strange.stderr


def test_a_warning_of_the_port_is_shown(port: Port, tmp_path: Path, monkeypatch):
    """A change that could not be written down was made, and the verb says what it lacks."""

    def broken(_self: object, _change: object) -> None:
        from baseload.store.database import DatabaseError  # noqa: PLC0415 - beside its only use

        raise DatabaseError("disk is full")

    monkeypatch.setattr("baseload.store.audit.AuditLog.write", broken)
    result = run(tmp_path, "backends", "drain", "edge")

    assert 0 == result.exit_code
    assert "warning: not in the audit log yet: disk is full" in result.stderr
