"""The operator's port, on a real socket and in its own thread: health, metrics, the page."""

import asyncio
import socket
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from baseload.gateway.status import Status
from baseload.web import api, shield
from baseload.web.operator import Operator, make_app
from baseload.web.plane import Office
from tests.web.doubles import DoublePlane, served


class _Stuck(DoublePlane):
    """A double of a data plane whose loop does not turn."""

    async def status(self) -> Status:
        await asyncio.sleep(60)
        raise AssertionError("nobody waits this long")


def test_a_serving_gateway_is_alive_and_ready(tmp_path: Path):
    """Health and readiness are 200, the status is the gateway's own."""
    with served(tmp_path) as port:
        answers = [port.client.get(path) for path in ("/healthz", "/readyz", "/status")]

    assert [200, 200, 200] == [answer.status_code for answer in answers]
    assert "serving" == answers[2].json()["state"]


def test_a_gateway_that_serves_nothing_is_alive_but_not_ready(tmp_path: Path):
    """A load balancer must send no callers, and nobody must restart it."""
    with served(tmp_path) as port:
        port.plane.state = "starting"
        statuses = [port.client.get(path).status_code for path in ("/healthz", "/readyz")]

    assert [200, 503] == statuses


def test_a_stuck_data_plane_is_not_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """If the data plane's loop does not answer, every page but the metrics says so."""
    monkeypatch.setattr(api, "LOOP_WAIT_S", 0.05)
    with served(tmp_path, plane=_Stuck()) as port:
        paths = ("/healthz", "/readyz", "/status", "/api/v1/backends", "/metrics")
        statuses = [port.client.get(path).status_code for path in paths]

    assert [503, 503, 503, 503, 200] == statuses


def test_metrics_are_in_prometheus_text(tmp_path: Path):
    """The registry's counters are there, in the format that Prometheus reads."""
    with served(tmp_path) as port:
        answer = port.client.get("/metrics")

    assert "calls_total 3.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


def test_unknown_pages_and_methods_are_problems_too(tmp_path: Path):
    """Whatever goes wrong is said in one form, and says what else could be done."""
    with served(tmp_path) as port:
        answers = [
            port.client.get("/nothing"),
            port.client.post("/metrics", json={}),
            port.client.put("/api/v1/keys", json={}),
            port.client.get("/api/v1/keys/"),
        ]

    assert [404, 405, 405, 404] == [answer.status_code for answer in answers]
    assert {"application/problem+json"} == {answer.headers["content-type"] for answer in answers}
    assert "GET, HEAD, POST" == answers[2].headers["allow"]
    assert answers[0].json()["detail"].startswith("GET /nothing")


def test_small_pieces_are_not_held_back(tmp_path: Path):
    """Connections have it from the socket that they come in by; asyncio leaves that to its maker."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        before = door.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        app = make_app(DoublePlane(), Office(audit=None), CollectorRegistry())
        operator = Operator(door.getsockname(), app)
        operator.start([door])
        after = door.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        operator.stop()

    assert 0 == before
    assert 0 < after


def test_a_taken_port_is_an_error_and_stop_frees_it(tmp_path: Path):
    """Starting on a taken port raises; after `stop` the port can be had again."""
    office = Office(audit=None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        app = make_app(DoublePlane(), office, CollectorRegistry())
        second = Operator(taken.getsockname(), app)
        with pytest.raises(OSError, match="in use"):
            second.start()
    with served(tmp_path) as port:
        number = port.client.base_url.port
    with socket.create_server(("127.0.0.1", number)) as again:
        assert number == again.getsockname()[1]


def test_files_are_served_from_their_folder_and_nothing_else_is(tmp_path: Path):
    """The page needs no token, and no path leaves its folder, quoted or not."""
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><p>the page")
    (tmp_path / "secret.txt").write_text("hidden")
    files = Mount("/page", StaticFiles(directory=folder, html=True))
    with served(tmp_path, more=[files]) as port:
        url = port.client.base_url
        with httpx.Client(base_url=url, trust_env=False) as stranger:
            index = stranger.get("/page/", headers={"host": "ops.example"})
            outside = [
                stranger.get("/page/..%2fsecret.txt").status_code,
                stranger.get("/page/%2e%2e/secret.txt").status_code,
                stranger.get("/page//etc/passwd").status_code,
            ]
        with socket.create_connection((url.host, url.port)) as raw:
            raw.sendall(b"GET /page/../secret.txt HTTP/1.1\r\nhost: localhost\r\n\r\n")
            unwashed = raw.recv(4096)

    assert "the page" in index.text
    assert shield.HEADERS["content-security-policy"] == index.headers["content-security-policy"]
    assert [404] * 3 == outside
    assert unwashed.startswith(b"HTTP/1.1 404")


def test_without_a_page_its_place_says_what_is_there(tmp_path: Path):
    """A baseload without the page still answers at `/`."""
    with served(tmp_path) as port:
        answer = port.client.get("/")

    assert "/metrics" in answer.json()["here"]


def test_every_answer_keeps_a_browser_on_a_short_leash(tmp_path: Path):
    """Pages, data and problems all carry the same protective headers, and no CORS header."""
    with served(tmp_path, token=None) as port:
        origin = {"origin": "http://evil.example"}
        answers = [
            port.client.get(path, headers=origin)
            for path in ("/", "/healthz", "/status", "/api/v1/keys", "/nothing")
        ]
        answers.append(
            port.client.options(
                "/api/v1/keys", headers=origin | {"access-control-request-method": "POST"}
            )
        )

    for answer in answers:
        assert shield.HEADERS == {name: answer.headers.get(name) for name in shield.HEADERS}
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "server" not in answer.headers
    assert 405 == answers[-1].status_code
