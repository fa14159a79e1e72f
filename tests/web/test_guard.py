"""Who is let in on the operator's port: each operation of the table, with and without a token."""

import socket
from pathlib import Path

import httpx
import pytest
from starlette.datastructures import Headers

from baseload.web import guard
from baseload.web.problem import ProblemError
from baseload.web.routes import ROUTES, Route
from tests.web.doubles import TOKEN, Port, served

PLAIN = {"x-baseload-admin": "1"}
Ports = dict[str | None, Port]


def ask(client: httpx.Client, route: Route, **headers: str) -> httpx.Response:
    """Ask for one operation as its table describes it."""
    name = "edge" if route.noun == "backend" else "made"
    body = {"name": "another"} if route.name == "create_key" else {}
    kept = {"json": body} if route.is_change else {}
    return client.request(route.method, route.path.format(name=name), headers=headers, **kept)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory):
    """A port with a token, one for all tests of this module that change nothing."""
    with served(tmp_path_factory.mktemp("guard")) as port:
        port.keys.create("made")
        yield port


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory):
    """Two ports on which things are done: one with a token, and one without."""
    with (
        served(tmp_path_factory.mktemp("token")) as with_token,
        served(tmp_path_factory.mktemp("open"), token=None) as without,
    ):
        yield {TOKEN: with_token, None: without}


def fresh(port: Port) -> Port:
    """Give a port as if nothing had been done on it."""
    port.plane.__init__()  # type: ignore[misc]
    port.keys.kept.clear()
    port.keys.create("made")
    return port


@pytest.fixture
def stranger(port: Port):
    """A client without the token."""
    with httpx.Client(base_url=port.client.base_url, trust_env=False) as client:
        yield client


def names(route: Route) -> str:
    """Name a case by its operation."""
    return route.name


@pytest.mark.parametrize("route", ROUTES, ids=names)
def test_without_a_token_no_operation_is_done(route: Route, port: Port, stranger: httpx.Client):
    """401, a challenge, nothing changed and nothing in the audit log."""
    before = (dict(port.plane.states), dict(port.keys.kept), port.actions())
    answer = ask(stranger, route)

    assert 401 == answer.status_code
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert {"title", "status", "detail", "request_id"} == set(answer.json())
    assert before == (dict(port.plane.states), dict(port.keys.kept), port.actions())


@pytest.mark.parametrize("route", ROUTES, ids=names)
def test_with_a_wrong_token_no_operation_is_done(
    route: Route, port: Port, stranger: httpx.Client, monkeypatch: pytest.MonkeyPatch
):
    """As without one; neither a part of the token, nor another scheme will do."""
    monkeypatch.setattr(guard, "WRONG_TOKENS_MAX", 1000)
    before = (dict(port.plane.states), dict(port.keys.kept), port.actions())
    wrong = (
        f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer",
        f"Bearer {TOKEN} {TOKEN}", "", "Bearer \xff",
    )  # fmt: skip
    answers = [ask(stranger, route, authorization=value.encode("latin-1")) for value in wrong]

    assert {401} == {answer.status_code for answer in answers}
    assert before == (dict(port.plane.states), dict(port.keys.kept), port.actions())


@pytest.mark.parametrize("route", ROUTES, ids=names)
def test_with_the_token_every_operation_is_done(route: Route, used: Ports):
    """The answer is the one that the table promises; `bearer` may be written as one likes."""
    answer = ask(fresh(used[TOKEN]).client, route, authorization=f"bEARER {TOKEN}")

    assert route.status == answer.status_code, answer.text


@pytest.mark.parametrize("route", ROUTES, ids=names)
def test_without_a_token_set_this_machine_is_let_in(route: Route, used: Ports):
    """On loopback and without `admin_token`, nothing needs to be shown."""
    answer = ask(fresh(used[None]).client, route)

    assert route.status == answer.status_code, answer.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/"])
def test_probes_and_prometheus_need_no_token(path: str, stranger: httpx.Client):
    """What load balancers and Prometheus ask for is open, and so is the empty page."""
    assert 200 == stranger.get(path).status_code


@pytest.mark.parametrize("route", [route for route in ROUTES if route.is_change], ids=names)
@pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "token"])
def test_a_foreign_page_cannot_send_a_change(route: Route, token: str | None, used: Ports):
    """What a browser sends for another page, with or without asking first, changes nothing."""
    port = fresh(used[token])
    before = (dict(port.plane.states), port.plane.state, dict(port.keys.kept))
    path = route.path.format(name="edge" if route.noun == "backend" else "made")
    own = f"http://{port.client.base_url.netloc.decode()}"
    json = {"content-type": "application/json"}
    forged = [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "text/plain; application/json"},
        {},
        json | {"origin": "http://evil.example"},
        json | {"origin": "null"},
        json | {"origin": own.replace("http:", "http://evil.example:")},
        json | {"origin": f"{own}0"},
        json | {"sec-fetch-site": "cross-site"},
        PLAIN | {"sec-fetch-site": "same-site"},
        PLAIN | {"origin": "http://127.0.0.1:1"},
    ]
    statuses = [
        port.client.request(route.method, path, content=b'{"name":"x"}', headers=headers)
        for headers in forged
    ]
    preflight = port.client.options(path, headers={"origin": "http://evil.example"})
    after = (dict(port.plane.states), port.plane.state, dict(port.keys.kept))

    assert [403] * len(forged) == [answer.status_code for answer in statuses]
    assert 405 == preflight.status_code
    assert before == after


@pytest.mark.parametrize("headers", [PLAIN, {"content-type": "application/json; charset=utf-8"}])
def test_the_own_page_can(headers: dict[str, str], tmp_path: Path):
    """The same request from this port's own page goes through."""
    with served(tmp_path) as port:
        own = f"http://{port.client.base_url.netloc.decode()}"
        more = {"origin": own, "sec-fetch-site": "same-origin"}
        answer = port.client.post("/api/v1/reload", headers=headers | more)

    assert 200 == answer.status_code


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9090",
        "127.0.0.1.evil.example",
        "",
        "localhost:1@evil.example",
        "[::1]evil.example",
        "127.0.0.1:9090:evil.example",
    ],
)
def test_a_rebound_name_reads_nothing(host: str, tmp_path: Path):
    """On loopback a name that may point anywhere is refused, for data, metrics and health."""
    with served(tmp_path, token=None) as port:
        paths = ("/status", "/api/v1/keys", "/metrics", "/healthz", "/openapi.json")
        answers = [port.client.get(path, headers={"host": host}) for path in paths]

    assert [403] * len(paths) == [answer.status_code for answer in answers]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:9090", "10.0.0.1", "ops.localhost"]
)
def test_addresses_and_localhost_cannot_be_rebound(host: str, tmp_path: Path):
    """An address is no name, and `localhost` is always here."""
    with served(tmp_path, token=None) as port:
        assert 200 == port.client.get("/status", headers={"host": host}).status_code


def test_a_probe_without_a_host_is_no_browser(tmp_path: Path):
    """Some load balancers still ask in HTTP/1.0."""
    with served(tmp_path, token=None) as port:
        url = port.client.base_url
        with socket.create_connection((url.host, url.port), timeout=10) as raw:
            raw.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            answer = raw.recv(4096)

    assert b" 200 OK" in answer.partition(b"\r\n")[0]


def test_a_proxy_may_use_its_own_name_with_the_token(tmp_path: Path):
    """Whoever shows the token is no rebound page, whatever name was used."""
    with served(tmp_path) as port:
        with_token = port.client.get("/status", headers={"host": "ops.example"})
        page = httpx.get(
            f"{port.client.base_url}/", headers={"host": "ops.example"}, trust_env=False
        )
        change = port.client.post(
            "/api/v1/reload",
            json={},
            headers={"host": "ops.example", "origin": "https://ops.example"},
        )

    assert [200, 200, 200] == [with_token.status_code, page.status_code, change.status_code]


def test_the_name_in_the_fleet_file_may_be_used(tmp_path: Path):
    """A name of this machine that `admin` says is as good as localhost."""
    with served(tmp_path, token=None, host="box.localhost") as port:
        assert 200 == port.client.get("/status", headers={"host": "box.localhost"}).status_code


def test_off_loopback_a_lost_token_closes_the_port():
    """If a reload took the token away, only this machine is served."""
    rules = guard.Guard("0.0.0.0", lambda: None, lambda: 0.0)
    headers = Headers({"host": "box.example"})
    here = rules.let_in(headers, "127.0.0.1", is_change=False, is_open=False)
    with pytest.raises(ProblemError, match="only this machine") as refused:
        rules.let_in(headers, "192.0.2.7", is_change=False, is_open=False)

    assert guard.Who("loopback", "127.0.0.1") == here
    assert 403 == refused.value.status


def test_two_tokens_are_none(tmp_path: Path):
    """A request that shows two is read by no one's rules but ours: it is refused."""
    with served(tmp_path) as port:
        answer = port.client.get(
            "/status",
            headers=[("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}")],
        )

    assert 401 == answer.status_code


def test_wrong_tokens_are_bounded_and_the_right_one_is_let_in():
    """After some wrong tokens come 429s; the right one still works, and time forgives."""
    now = [0.0]
    rules = guard.Guard("127.0.0.1", lambda: TOKEN, lambda: now[0])

    def status(token: str) -> int:
        headers = Headers({"host": "localhost", "authorization": f"Bearer {token}"})
        try:
            rules.let_in(headers, "127.0.0.1", is_change=False, is_open=False)
        except ProblemError as problem:
            return problem.status
        return 200

    first = [status("wrong") for _ in range(guard.WRONG_TOKENS_MAX + 5)]
    right = status(TOKEN)
    now[0] = 2 * guard.WRONG_TOKENS_S
    later = [status("wrong") for _ in range(3)]

    assert [401] * guard.WRONG_TOKENS_MAX + [429] * 5 == first
    assert 200 == right
    assert [401, 401, 429] == later


def test_the_token_of_a_reloaded_fleet_holds_at_once():
    """The guard asks for the token each time."""
    tokens = [TOKEN]
    rules = guard.Guard("127.0.0.1", lambda: tokens[0], lambda: 0.0)
    headers = Headers({"host": "localhost", "authorization": f"Bearer {TOKEN}"})
    first = rules.let_in(headers, "127.0.0.1", is_change=False, is_open=False)
    tokens[0] = "another-token-of-enough-signs"
    with pytest.raises(ProblemError, match="not the token"):
        rules.let_in(headers, "127.0.0.1", is_change=False, is_open=False)

    assert guard.Who("token", "127.0.0.1") == first
