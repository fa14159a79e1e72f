"""Clients that send garbage, too much, or too slowly, on a raw socket."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from baseload.web import asked, shield
from tests.web.doubles import TOKEN, Port, served

AUTHORIZATION = f"authorization: Bearer {TOKEN}\r\n"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    """A port that must still serve after each test."""
    with served(tmp_path) as port:
        yield port
        assert 200 == port.client.get("/healthz").status_code


def talk(port: Port, *parts: bytes) -> bytes:
    """Send some bytes; give all that comes until the other side closes."""
    url = port.client.base_url
    told = b""
    with socket.create_connection((url.host, url.port), timeout=10) as raw:
        try:
            for part in parts:
                raw.sendall(part)
            while data := raw.recv(65536):
                told += data
        except ConnectionError:
            pass  # It was cut off while it was still sending, which is an answer as well.
    return told


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"GET\r\n\r\n",
        b"\x00" * 1000,
        b"GET / HTTP/9.9\r\nhost: localhost\r\n\r\n",
        b"POST /api/v1/reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /drain HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        b"POST /api/v1/reload HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz",
    ],
)
def test_garbage_is_refused(garbage: bytes, port: Port):
    """What is no HTTP gets a 400 or nothing, and changes nothing."""
    told = talk(port, garbage)

    assert told[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 401", b"")
    assert [] == port.audit.newest(10)


def test_a_head_that_never_ends_is_bounded(port: Port):
    """A single endless header is as little a way to fill memory as many of them."""
    many = b"x-filler: " + b"y" * 1000 + b"\r\n"
    for filler in (many * 1000, b"x-one: " + b"z" * 1_000_000):
        told = talk(port, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n", filler)

        assert told[:12] in (b"HTTP/1.1 400", b"")


def test_a_head_that_is_sent_too_slowly_is_cut_off(port: Port, monkeypatch: pytest.MonkeyPatch):
    """So is a connection on which nothing is ever sent, and one that was kept for more."""
    monkeypatch.setattr(shield, "HEAD_S_MAX", 0.2)
    whole = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"

    assert b"" == talk(port)
    assert b"" == talk(port, b"GET /healthz HTTP/1.1\r\nhost: loc")
    assert talk(port, whole, b"GET /healthz HTTP/1.1\r\nhost: loc").startswith(b"HTTP/1.1 200")


def test_a_body_that_is_sent_too_slowly_is_given_up(port: Port, monkeypatch: pytest.MonkeyPatch):
    """408, and the connection is closed; the key is not made."""
    monkeypatch.setattr(asked, "BODY_S_MAX", 0.2)
    head = (
        f"POST /api/v1/keys HTTP/1.1\r\nhost: localhost\r\n{AUTHORIZATION}"
        "content-type: application/json\r\ncontent-length: 1000\r\n\r\n"
    )
    told = talk(port, head.encode(), b'{"name":')

    assert told.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in told
    assert {} == port.keys.kept


def test_a_body_for_a_stranger_is_not_even_read(port: Port):
    """Without the token the answer comes before the body does."""
    head = (
        "POST /api/v1/keys HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        "content-type: application/json\r\ncontent-length: 1000000000\r\n\r\n"
    )
    told = talk(port, head.encode())

    assert told.startswith(b"HTTP/1.1 401")


def test_a_caller_that_leaves_half_way_leaves_nothing_behind(port: Port):
    """A body that is cut off makes no key and no row."""
    url = port.client.base_url
    head = (
        f"POST /api/v1/keys HTTP/1.1\r\nhost: localhost\r\n{AUTHORIZATION}"
        'content-type: application/json\r\ncontent-length: 1000\r\n\r\n{"name":"a"}'
    )
    with socket.create_connection((url.host, url.port), timeout=10) as raw:
        raw.sendall(head.encode())
    port.client.get("/healthz")

    assert ({}, []) == (port.keys.kept, port.audit.newest(10))
