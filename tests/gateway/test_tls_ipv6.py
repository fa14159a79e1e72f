"""TLS and IPv6 on both sides of the gateway, with a certificate authority made for the test."""

import asyncio
import shutil
import socket
import ssl
import subprocess

import pytest

from baseload.config import fleet
from baseload.config.fleet import Inbound, Tls
from baseload.gateway import gateway as gateway_module
from tests.gateway.harness import (
    COMPLETION,
    Backend,
    call_up,
    chat,
    hello,
    on_both_loops,
    on_uvloop,
    raw,
    request,
    start_gateway,
    token,
)
from tests.needs import give_up

MB = 1 << 20
KERNEL_BYTES_MAX = 16 * MB
"""What the kernel may hold of two connections at their ends, generously."""


class Papers:
    """A private authority, and certificates that it signed."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = str(folder / "ca.pem")
        self._make("ca", "-addext", "keyUsage=critical,keyCertSign")

    def tls(self, name, *names):
        """Give certificate and key for such names: `DNS:localhost`, `IP:::1`."""
        signed = ("-CA", self.ca, "-CAkey", str(self.folder / "ca.key"))
        self._make(name, *signed, "-addext", f"subjectAltName={','.join(names)}")
        return Tls(cert=str(self.folder / f"{name}.pem"), key=str(self.folder / f"{name}.key"))

    def _make(self, name, *more):
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        )
        files = ("-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.pem")
        subject = ("-subj", f"/CN={name}")
        subprocess.run([*command.split(), *files, *subject, *more], check=True, capture_output=True)


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """Make the authority once."""
    if shutil.which("openssl") is None:
        give_up("openssl, to make certificates with")
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def good(papers):
    """Certificate and key for this machine's own addresses."""
    return papers.tls("good", "DNS:localhost", "IP:127.0.0.1", "IP:::1")


def shown(tls):
    """Give a server's context that shows a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.cert, tls.key)
    return context


def places(*backends, ca):
    """Give the backends of a fleet, each of which trusts a private authority, or none."""
    return {
        f"b{number}": fleet.Backend(name=f"b{number}", url=backend.url, ca=ca, probe_s=0.0)
        for number, backend in enumerate(backends)
    }


@pytest.fixture
def ipv6():
    """Skip where the machine has no IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")


# -- TLS in --------------------------------------------------------------------------------------


@on_both_loops
async def test_callers_over_tls(papers, good):
    """Calls and streams are answered over TLS, one after the other on one connection."""
    context = ssl.create_default_context(cafile=papers.ca)
    async with Backend() as backend, start_gateway(backend, tls=good) as gateway:
        for host in ("127.0.0.1", "localhost"):
            async with call_up(gateway.address[1], host, context) as caller:
                await caller.send(chat())
                assert COMPLETION == (await caller.answer()).json()
                await caller.send(chat(stream=True))
                assert (await caller.answer()).text() == "hello"


@on_both_loops
async def test_callers_that_do_not_speak_tls(papers, good):
    """Plain HTTP, noise and an early end on the TLS port are closed; the next caller is served."""
    context = ssl.create_default_context(cafile=papers.ca)
    async with Backend() as backend, start_gateway(backend, tls=good) as gateway:
        for data in (chat(), b"\x16\x03\x01\xff\xff" + b"\0" * 100, b""):
            async with call_up(gateway.address[1]) as caller:
                await caller.send(data)
                caller.writer.write_eof()
                assert b"HTTP/" not in await caller.rest()
        with pytest.raises(ssl.SSLCertVerificationError):
            async with call_up(gateway.address[1], tls=ssl.create_default_context()):
                pass
        async with call_up(gateway.address[1], tls=context) as caller:
            await caller.send(chat())
            assert COMPLETION == (await caller.answer()).json()


@on_both_loops
@pytest.mark.parametrize("framing", ["content-length: 52428800", "transfer-encoding: chunked"])
@pytest.mark.parametrize("is_patient", [False, True])
async def test_a_body_too_large_is_refused_readably_over_tls(papers, good, framing, is_patient):
    """Whether it reads while it sends fifty megabytes, or only then: a caller can read the 413."""
    context = ssl.create_default_context(cafile=papers.ca)
    bounds = Inbound(body_mb=1)
    async with (
        Backend() as backend,
        start_gateway(backend, tls=good, inbound=bounds) as gateway,
        call_up(gateway.address[1], tls=context) as caller,
    ):
        caller.writer.write(request(head=f"{framing}\r\n"))
        chunk = b"x" * MB if "length" in framing else b"100000\r\n" + b"x" * MB + b"\r\n"
        for _ in range(50):
            caller.writer.write(chunk)
        if is_patient:
            await caller.writer.drain()

        assert (await caller.answer()).status == 413


@on_both_loops
async def test_a_handshake_that_never_ends(good):
    """A connection that does not even shake hands is closed after the time that a head may take."""
    bounds = Inbound(header_s=0.2)
    async with (
        Backend() as backend,
        start_gateway(backend, tls=good, inbound=bounds) as gateway,
        call_up(gateway.address[1]) as caller,
    ):
        assert await asyncio.wait_for(caller.rest(), 5) == b""


# -- TLS out -------------------------------------------------------------------------------------


@on_both_loops
async def test_a_backend_with_a_private_authority(papers, good):
    """A backend whose `ca` is named is asked over TLS, on a connection that is kept."""
    async with (
        Backend(tls=shown(good)) as backend,
        start_gateway(backend, backends=places(backend, ca=papers.ca)) as gateway,
    ):
        for is_stream in (False, True, False):
            (answer,) = await raw(gateway.address[1], chat(stream=is_stream))

            assert answer.text() == "hello" if is_stream else COMPLETION == answer.json()
        assert backend.connections <= 2  # one may have been warmed while the first was dialled
        assert f"127.0.0.1:{backend.port}" == backend.asked[0].headers["host"]


@on_both_loops
@pytest.mark.parametrize("fault", ["authority", "name"])
async def test_a_backend_that_cannot_be_trusted(papers, good, fault):
    """A backend that no known authority vouches for is never asked; the next tier answers."""
    other = papers.tls("other", "DNS:elsewhere.example")
    ca, tls = (None, good) if fault == "authority" else (papers.ca, other)
    async with Backend(tls=shown(tls)) as bad, Backend() as next_:
        backends = places(bad, ca=ca) | {"b1": fleet.Backend(name="b1", url=next_.url, probe_s=0.0)}
        async with start_gateway(bad, next_, backends=backends) as gateway:
            (answer,) = await raw(gateway.address[1], chat())

            assert (COMPLETION, "b1") == (answer.json(), answer.headers["x-baseload-backend"])
            assert gateway.failures["b0"].fact == "unreachable"
            assert "certificate verify failed" in gateway.failures["b0"].reason
            assert gateway.gate.seats["b0"].breaker.failures == 1
        assert bad.asked == []


@on_both_loops
async def test_a_tls_stream_that_is_cut_is_not_taken_for_whole(papers, good):
    """A connection that ends without TLS's farewell breaks the stream, with a typed error."""

    async def cut(asked, wire):
        await wire.begin()
        await wire.chunk(token("a"))
        await asyncio.sleep(0)
        wire.writer.transport.abort()

    async with (
        Backend(cut, tls=shown(good)) as backend,
        start_gateway(backend, backends=places(backend, ca=papers.ca)) as gateway,
    ):
        (answer,) = await raw(gateway.address[1], chat(stream=True))

        assert '"code":"stream_broken"' in answer.events()[-1]


@on_both_loops
async def test_an_unread_stream_is_bounded_over_tls(papers, good, monkeypatch):
    """With TLS on both sides, too, an unread stream pauses its backend and is then let go."""
    monkeypatch.setattr(gateway_module, "SWEEP_S", 0.02)
    wires = []
    gone = asyncio.Event()

    async def endless(asked, wire):
        if not asked.json()["stream"]:
            await hello(asked, wire)
            return
        wires.append(wire)
        await wire.begin()
        try:
            while True:
                await wire.chunk(token("x" * 60_000))
        finally:
            gone.set()

    context = ssl.create_default_context(cafile=papers.ca)
    bounds = Inbound(unread_s=0.5)
    async with Backend(endless, tls=shown(good)) as backend:
        backends = places(backend, ca=papers.ca)
        async with start_gateway(backend, tls=good, inbound=bounds, backends=backends) as gateway:
            async with call_up(gateway.address[1], tls=context) as caller:
                caller.writer.transport.pause_reading()
                await caller.send(chat(stream=True))
                await gone.wait()

                assert 4 * 60_000 < wires[0].sent < KERNEL_BYTES_MAX
                assert not gateway.clients
            async with call_up(gateway.address[1], tls=context) as caller:
                await caller.send(chat())
                assert COMPLETION == (await caller.answer()).json()


# -- IPv6 ----------------------------------------------------------------------------------------


@on_both_loops
async def test_ipv6(ipv6):
    """Callers come in over IPv6, backends are asked over IPv6, named with their brackets."""
    async with (
        Backend(host="::1") as backend,
        start_gateway(backend, listen="[::1]:0") as gateway,
        call_up(gateway.address[1], "::1") as caller,
    ):
        await caller.send(chat())

        assert COMPLETION == (await caller.answer()).json()
        assert gateway.address[0] == "::1"
        assert f"[::1]:{backend.port}" == backend.asked[0].headers["host"]


@on_uvloop
async def test_ipv6_with_tls(ipv6, papers, good):
    """An IPv6 address is checked against the certificate like any other."""
    context = ssl.create_default_context(cafile=papers.ca)
    async with Backend(host="::1", tls=shown(good)) as backend:
        backends = places(backend, ca=papers.ca)
        async with (
            start_gateway(backend, listen="[::1]:0", tls=good, backends=backends) as gateway,
            call_up(gateway.address[1], "::1", context) as caller,
        ):
            await caller.send(chat())

            assert COMPLETION == (await caller.answer()).json()
