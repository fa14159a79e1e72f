"""Tests of watching an engine that somebody else started, over real sockets and real TLS.

The engine is a double: it answers its health and a chat as it is told to, and proves nothing of real
servers. Certificates are those of openssl.
"""

import asyncio
import shlex
import shutil
import ssl
import subprocess

import pytest

from baseload.config.fleet import Backend
from baseload.engines.state import Patience
from baseload.engines.watched import Watched
from baseload.errors import EngineError
from tests.needs import give_up

SOON = Patience(ping_every_s=0.02, ping_max_s=2.0, liveness_max_s=0.2, ready_max_s=5.0)
CHAT = '{"model": "other", "choices": [{"index": 0}], "usage": {"completion_tokens": 1}}'


class Double:
    """An engine at a URL: `health` is the status of its paths, `asked` what it was asked for."""

    def __init__(self, paths=("/base/health",), tls=None, key=""):
        self.paths, self.key, self.tls, self.health = paths, key, tls, 200
        self.asked = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://localhost:{port}/base/v1"
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        self.asked.append(path)
        status, body = (self.health if path in self.paths else 404), "{}"
        if path == "/base/v1/chat/completions":
            status, body = self.health, CHAT
        if self.key and f"Authorization: Bearer {self.key}\r\n" not in head:
            status = 401
        half = len(body) // 2  # In chunks, as servers behind proxies answer.
        parts = [body[:half], body[half:], ""]
        chunked = "".join(f"{len(part):x}\r\n{part}\r\n" for part in parts)
        writer.write(f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}".encode())
        writer.close()


def watching(double, states, scene, **more):
    """Watch a double while a scene is played."""

    async def main():
        async with double:
            backend = Backend(name="far", engine="external", model="m", url=double.url, **more)
            watched = Watched(backend, states, patience=SOON)
            running = asyncio.create_task(watched.run())
            await scene(watched)
            await watched.stop()
            await running

    asyncio.run(main())


def test_it_is_down_and_ready_again_and_never_restarted(states):
    """Ready by a chat; down after its health was ill for a while; ready as soon as it is well."""
    double = Double()

    async def scene(_watched):
        assert double.url == (await states.reach("ready")).url
        double.health = 503
        assert "health answers 503, for 0.2 s" == (await states.reach("down")).reason
        double.health = 200
        ready = await states.reach("ready")
        assert (0, None, False) == (ready.restarts, ready.pid, ready.is_ours)

    watching(double, states, scene)

    assert ("down", "not watched any longer") == (states.all[-1].phase, states.all[-1].reason)
    assert "/base/v1/chat/completions" in double.asked


def test_without_a_page_for_health_its_models_are_asked_for(states):
    """Whoever answers `/v1/models` is up."""
    double = Double(paths=("/base/v1/models",))

    async def scene(_watched):
        await states.reach("ready")

    watching(double, states, scene)


@pytest.mark.parametrize(("key", "phase"), [("right", "ready"), ("wrong", "down")])
def test_its_key_is_shown(states, key, phase):
    """With the right key it is ready; a refusal is said as such."""
    double = Double(key="right")

    async def scene(_watched):
        state = await states.reach(phase)
        assert phase == "ready" or "it refuses the key (status 401)" == state.reason

    watching(double, states, scene, api_key=key)


@pytest.mark.parametrize(("is_trusted", "phase"), [(True, "ready"), (False, "down")])
def test_https_is_as_trusted_as_the_file_says(tmp_path, states, is_trusted, phase):
    """The CA of the file is trusted for it, and nobody else is."""
    if shutil.which("openssl") is None:
        give_up("openssl, to make certificates with")
    subprocess.run(
        shlex.split("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"),
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def scene(_watched):
        await states.reach(phase)

    watching(
        Double(tls=tls), states, scene,
        ca=str(tmp_path / "cert.pem") if is_trusted else None,
    )  # fmt: skip


def test_a_ca_that_cannot_be_read_has_failed(tmp_path, states):
    """The file's mistake is said, with its place."""
    backend = Backend(
        name="far",
        engine="external",
        model="m",
        url="https://x.example/v1",
        ca=str(tmp_path / "no"),
    )
    asyncio.run(Watched(backend, states).run())

    assert "failed" == states.all[0].phase
    assert "backends.far.ca: No such file or directory" == states.all[0].reason


def test_without_a_url_there_is_nothing_to_watch(states):
    """It is refused where it is made."""
    with pytest.raises(EngineError, match="needs a `url`"):
        Watched(Backend(name="far", engine="external", model="m"), states)
