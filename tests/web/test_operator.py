"""The operator's port, on a real socket and in its own thread."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter

from baseload.web import operator
from baseload.web.operator import AskStatus, Operator, make_app


class _Status(msgspec.Struct):
    """A double of the gateway's status."""

    is_ready: bool
    state: str = "whatever"


@contextlib.contextmanager
def _served(ask_status: AskStatus) -> Iterator[httpx.Client]:
    registry = CollectorRegistry()
    Counter("calls", "Calls.", registry=registry).inc(3)
    port = Operator(("127.0.0.1", 0), make_app(ask_status, registry))
    port.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port.address[1]}", timeout=5) as client:
            yield client
    finally:
        port.stop()


async def _ready() -> _Status:
    return _Status(is_ready=True)


async def _unready() -> _Status:
    return _Status(is_ready=False)


async def _stuck() -> _Status:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits this long")


def test_a_serving_gateway_is_alive_and_ready():
    """Health and readiness are 200, the status is the gateway's own."""
    with _served(_ready) as client:
        answers = [client.get(path) for path in ("/healthz", "/readyz", "/status")]

    assert [200, 200, 200] == [answer.status_code for answer in answers]
    assert {"is_ready": True, "state": "whatever"} == answers[2].json()


def test_a_gateway_that_serves_nothing_is_alive_but_not_ready():
    """A load balancer must send no callers, and nobody must restart it."""
    with _served(_unready) as client:
        statuses = [client.get(path).status_code for path in ("/healthz", "/readyz")]

    assert [200, 503] == statuses


def test_a_stuck_data_plane_is_not_alive(monkeypatch: pytest.MonkeyPatch):
    """If the data plane's loop does not answer, every page but the metrics says so."""
    monkeypatch.setattr(operator, "LOOP_WAIT_S", 0.05)
    with _served(_stuck) as client:
        paths = ("/healthz", "/readyz", "/status", "/metrics")
        statuses = [client.get(path).status_code for path in paths]

    assert [503, 503, 503, 200] == statuses


def test_metrics_are_in_prometheus_text():
    """The registry's counters are there, in the format that Prometheus reads."""
    with _served(_ready) as client:
        answer = client.get("/metrics")

    assert "calls_total 3.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


def test_unknown_pages_and_methods():
    """There are only a few pages, and they are only read."""
    with _served(_ready) as client:
        statuses = [client.get("/nothing").status_code, client.post("/status").status_code]

    assert [404, 405] == statuses


def test_a_taken_port_is_an_error_and_stop_frees_it():
    """Starting on a taken port raises; after `stop` the port can be had again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        second = Operator(taken.getsockname(), make_app(_ready, CollectorRegistry()))
        with pytest.raises(OSError, match="in use"):
            second.start()
    with _served(_ready) as client:
        port = client.base_url.port
    with socket.create_server(("127.0.0.1", port)) as again:
        assert port == again.getsockname()[1]
