"""What operators see and do by the API: keys, backends, the fleet file, problems."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from baseload.cli.office import LateAudit
from baseload.web.asked import BODY_BYTES_MAX
from baseload.web.operator import make_app
from baseload.web.plane import NotBuiltError, Office, Reloaded
from baseload.web.routes import ROUTES
from tests.web.doubles import SECRET, DoublePlane, Live, Port, served


@pytest.fixture
def port(tmp_path: Path):
    """A port of its own for each test."""
    with served(tmp_path) as port:
        yield port


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory):
    """One port for all tests that leave nothing behind, or do not mind what others left."""
    with served(tmp_path_factory.mktemp("shared")) as port:
        yield port


def problem(port: Port, method: str, path: str, **kept: Any) -> tuple[int, str]:
    """Ask, expect a problem, and give its status and field."""
    answer = port.client.request(method, path, **kept)
    body = answer.json()

    assert "application/problem+json" == answer.headers["content-type"], answer.text
    assert answer.status_code == body["status"]
    assert answer.headers["x-request-id"] == body["request_id"]
    return body["status"], body.get("field", "")


def test_a_key_from_its_birth_to_its_end(port: Port):
    """Made, shown, changed, rotated, revoked; the secret is in two answers and nowhere else."""
    client = port.client
    made = client.post("/api/v1/keys", json={"name": "team-a", "rpm": 60, "models": ["m"]})
    shown = client.get("/api/v1/keys/team-a")
    changed = client.patch("/api/v1/keys/team-a", json={"rpm": None, "usd_day": 5})
    rotated = client.post("/api/v1/keys/team-a/rotate", json={"grace_s": 60})
    listed = client.get("/api/v1/keys")
    revoked = client.delete("/api/v1/keys/team-a", headers={"x-baseload-admin": "1"})
    gone = client.get("/api/v1/keys/team-a")

    assert [201, 200, 200, 200, 200, 200, 404] == [
        answer.status_code for answer in (made, shown, changed, rotated, listed, revoked, gone)
    ]
    assert SECRET == made.json()["secret"] == rotated.json()["secret"]
    assert (60, ["m"]) == (made.json()["key"]["rpm"], shown.json()["models"])
    assert (None, 5.0) == (changed.json()["rpm"], changed.json()["usd_day"])
    assert ["from-file", "team-a"] == [key["name"] for key in listed.json()["keys"]]
    assert SECRET not in shown.text + changed.text + listed.text + revoked.text
    assert SECRET not in str(port.actions())


def test_keys_of_the_fleet_file_are_shown_and_not_changed(port: Port):
    """They say where they come from, without their hash; changing one is a conflict."""
    body = port.client.get("/api/v1/keys/from-file").json()
    statuses = [
        problem(port, "PATCH", "/api/v1/keys/from-file", json={"rpm": 1})[0],
        problem(port, "DELETE", "/api/v1/keys/from-file", json={})[0],
        problem(port, "POST", "/api/v1/keys/from-file/rotate", json={})[0],
        problem(port, "POST", "/api/v1/keys", json={"name": "from-file"})[0],
    ]

    assert ("file", 60) == (body["kept"], body["rpm"])
    assert "sha256" not in body
    assert [409] * 4 == statuses


@pytest.mark.parametrize("name", ["a/b", "a b", "ü", "a%2Fb", "a?b", "..a", "rotate", "x" * 64])
def test_any_name_that_a_key_may_have_can_be_asked_for(name: str, shared: Port):
    """A name is one part of a path, whatever signs it has."""
    from urllib.parse import quote  # noqa: PLC0415 - beside its only use

    made = shared.client.post("/api/v1/keys", json={"name": name})
    found = shared.client.get(f"/api/v1/keys/{quote(name, safe='')}")

    assert 201 == made.status_code
    assert name == found.json()["name"]


@pytest.mark.parametrize("name", ["%00", "%0a", "%ff", "x" * 65, "%F0%9F"])
def test_what_can_be_no_name_is_not_there(name: str, shared: Port):
    """Neither store nor plane is asked for a name that nothing can have."""
    assert (404, "") == problem(shared, "GET", f"/api/v1/keys/{name}")
    assert (404, "") == problem(shared, "POST", f"/api/v1/backends/{name}/drain", json={})


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"name":"a","rpm":"x"}', 400, "rpm"),
        (b'{"name":"a","rpm":0}', 400, "rpm"),
        (b'{"name":"a","per_model":{"m":{"tpm":[]}}}', 400, "per_model[...].tpm"),
        (b'{"name":"a","priority":"high"}', 400, "priority"),
        (b'{"name":"a","expires":"tomorrow"}', 400, "expires"),
        (b'{"name":"a","unknown":1}', 400, "unknown"),
        (b'{"name":""}', 400, "name"),
        (b"{}", 400, "name"),
        (b"[]", 400, ""),
        (b"", 400, ""),
        (b'{"name":', 400, ""),
        (b'{"name":"\\ud800"}', 400, ""),
        (b'{"name":"\xff"}', 400, ""),
        (b"\xef\xbb\xbf{}", 400, ""),
        (b"[" * 50_000, 400, ""),
        (b'{"labels":' * 5_000 + b"{}" + b"}" * 5_000, 400, ""),
        (b'{"name":"a\\n"}', 422, ""),
    ],
)
def test_a_body_that_cannot_be_used_is_said_to_be_so(
    body: bytes, status: int, field: str, shared: Port
):
    """The problem names the field; no garbage gets further than that."""
    json = {"content-type": "application/json"}
    found = problem(shared, "POST", "/api/v1/keys", content=body, headers=json)

    assert (status, field) == found


def test_bodies_have_a_form_and_a_size(shared: Port):
    """Another type is 415, too much is 413, told beforehand or not."""
    plain = {"x-baseload-admin": "1", "content-type": "text/plain"}
    json = {"content-type": "application/json"}
    large = b" " * (BODY_BYTES_MAX + 1)

    assert 415 == problem(shared, "POST", "/api/v1/keys", content=b"{}", headers=plain)[0]
    assert 413 == problem(shared, "POST", "/api/v1/keys", content=large, headers=json)[0]
    assert 413 == problem(shared, "POST", "/api/v1/keys", content=iter([large]), headers=json)[0]


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/api/v1/audit?limit=0", 400, "limit"),
        ("/api/v1/audit?limit=ten", 400, "limit"),
        ("/api/v1/audit?lines=10", 400, "lines"),
        ("/api/v1/audit?limit=1&limit=2", 400, ""),
        ("/api/v1/live?since=nan", 400, "since"),
        ("/api/v1/live?since=inf", 400, "since"),
        ("/api/v1/live?since=-1", 400, "since"),
        ("/api/v1/usage?by=nothing", 400, "by"),
        ("/api/v1/usage?by=key%0a", 400, "by"),
        ("/api/v1/usage?since=yesterday", 400, "since"),
        ("/api/v1/usage?since=2026-02-31", 422, ""),
        ("/api/v1/status?verbose=1", 400, "verbose"),
    ],
)
def test_a_query_that_cannot_be_used_is_said_to_be_so(
    path: str, status: int, field: str, shared: Port
):
    """What is not described is refused, not passed over."""
    assert (status, field) == problem(shared, "GET", path)


def test_usage_is_added_up_over_a_time(shared: Port):
    """Days and durations become seconds; each column of `by` is asked for once."""
    answer = shared.client.get(
        "/api/v1/usage", params={"by": "key,model,key", "since": "2026-11-01", "until": "now"}
    )
    body = answer.json()

    assert (["key", "model"], 1793491200.0) == (body["by"], body["since"])
    assert [({"key": "x", "model": "x"}, 3, 0.5)] == [
        (row["by"], row["calls"], row["cost_usd"]) for row in body["rows"]
    ]


def test_backends_are_drained_disabled_and_enabled(port: Port):
    """Each answer says what was and is; one that is not there is 404."""
    client = port.client
    moved = [
        client.post(f"/api/v1/backends/edge/{action}", json={}).json()["is_now"]
        for action in ("drain", "disable", "enable")
    ]

    assert ["draining", "disabled", "enabled"] == moved
    assert 404 == problem(port, "POST", "/api/v1/backends/none/drain", json={})[0]
    assert ["edge", "cpu"] == [
        one["name"] for one in client.get("/api/v1/backends").json()["backends"]
    ]


def test_a_bad_fleet_file_is_refused_with_its_mistakes(port: Port):
    """422 and every mistake; the audit log has the refusal."""
    port.plane.report = Reloaded(mistakes=["f:1:1: wrong", "f:2:1: wrong, too"])
    answer = port.client.post("/api/v1/reload", json={})

    assert 422 == answer.status_code
    assert ["f:1:1: wrong", "f:2:1: wrong, too"] == answer.json()["errors"]
    assert ("reload", "422: the fleet file has mistakes; nothing was changed") == (
        port.actions()[0][0],
        port.actions()[0][4],
    )


def test_a_drain_is_begun_and_not_awaited(port: Port):
    """202: the answer comes before the end."""
    answer = port.client.post("/api/v1/drain", json={})

    assert (202, {"state": "draining"}) == (answer.status_code, answer.json())
    assert "draining" == port.plane.state


def test_a_request_keeps_its_name(shared: Port):
    """A sound `x-request-id` comes back; one that could do harm is replaced."""
    kept = shared.client.get("/status", headers={"x-request-id": "trace-1"})
    replaced = shared.client.get("/status", headers={"x-request-id": "x" * 129})

    assert "trace-1" == kept.headers["x-request-id"]
    assert re.fullmatch("adm-[0-9a-f]{16}", replaced.headers["x-request-id"])


def test_a_mistake_of_ours_is_a_problem_without_details(
    port: Port, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """An error that nobody foresaw says nothing of itself to the asker, and all to the log."""

    def broken(*_: object) -> object:
        raise RuntimeError("inner words")

    monkeypatch.setattr(port.plane, "live", broken)
    answer = port.client.get("/api/v1/live")

    assert 500 == answer.status_code
    assert "inner words" not in answer.text
    assert "inner words" in caplog.text


class Unseen(DoublePlane):
    """A plane with nothing for the page, as that of several workers is."""

    async def live(self, since: int) -> Live:
        raise NotBuiltError("no page")


def test_what_is_not_built_says_so(tmp_path: Path):
    """Without a ledger, a key store and live figures, those operations are 501."""
    from starlette.testclient import TestClient  # noqa: PLC0415 - beside its only use

    audit = LateAudit(f"sqlite:///{tmp_path}/audit.db")
    app = make_app(Unseen(), Office(audit=audit), CollectorRegistry())
    client = TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1))
    statuses = [
        client.get("/api/v1/usage").status_code,
        client.get("/api/v1/live").status_code,
        client.post("/api/v1/keys", json={"name": "a"}).status_code,
        client.get("/api/v1/keys").status_code,
    ]
    app.state.backroom.close()
    rows = audit.newest(10)
    audit.close()

    assert [501, 501, 501, 200] == statuses
    assert ["create_key"] == [row.action for row in rows]


def test_the_description_holds_every_operation_once(shared: Port):
    """OpenAPI's paths and the table are one; every status that is used is described."""
    described = shared.client.get("/openapi.json").json()
    found = {
        (method.upper(), path, operation["operationId"])
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }

    assert {(route.method, route.path, route.name) for route in ROUTES} == found
    assert len(ROUTES) == len(found)
    assert "3.1.0" == described["openapi"]
    text = msgspec.json.encode(described).decode()
    refs = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert refs <= set(described["components"]["schemas"])


def test_the_operators_page_of_the_documentation_names_every_operation():
    """No operation is added without a line for people."""
    text = (Path(__file__).parent.parent.parent / "docs" / "operations.md").read_text()

    assert [] == [
        f"{route.method} {route.path}"
        for route in ROUTES
        if f"`{route.method} {route.path}" not in text
    ]
