"""Tests of watching an engine that somebody else started, over real sockets and real TLS.

The engine is a double: it answers its health and a chat as it is told to, and proves nothing of real
servers. Certificates are those of openssl.
"""

import asyncio
import contextlib
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from baseload.config.fleet import Backend
from baseload.engines.asking import access_of, ask
from baseload.engines.state import Patience
from baseload.engines.watched import Watched
from baseload.errors import EngineError
from tests.needs import give_up

SOON = Patience(ping_every_s=0.02, ping_max_s=2.0, liveness_max_s=0.2, ready_max_s=5.0)
CHAT = '{"model": "other", "choices": [{"index": 0}], "usage": {"completion_tokens": 1}}'


class Double(ThreadingHTTPServer):
    """An engine at a URL, of threads: `health` is the status of its paths; `asked` is kept."""

    def __init__(self, paths=("/base/health",), tls=None, key=""):
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths, self.key, self.tls, self.health = paths, key, tls, 200
        self.asked = []
        self.url = f"{'https' if tls else 'http'}://localhost:{self.server_port}/base/v1"

    def finish_request(self, request, client_address):
        """Shake hands in the connection's own thread; whoever does not trust us is let go."""
        with contextlib.suppress(OSError):
            if self.tls is not None:
                request.settimeout(5)
                request = self.tls.wrap_socket(request, server_side=True)
            with request:
                super().finish_request(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers in chunks, as servers behind proxies do."""

    def do_GET(self):
        self.answer(self.server.health if self.path in self.server.paths else 404, "{}")

    def do_POST(self):
        is_chat = self.path == "/base/v1/chat/completions"
        self.answer(self.server.health if is_chat else 404, CHAT)

    def answer(self, status, body):
        double, half = self.server, len(body) // 2
        double.asked.append(self.path)
        if double.key and self.headers["Authorization"] != f"Bearer {double.key}":
            status = 401
        parts = [body[:half], body[half:], ""]
        chunked = "".join(f"{len(part):x}\r\n{part}\r\n" for part in parts)
        head = f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.wfile.write(f"{head}{chunked}".encode())

    def log_message(self, *_):
        pass


def watching(double, states, scene, **more):
    """Watch a double while a scene is played."""

    async def main():
        backend = Backend(name="far", engine="external", model="m", url=double.url, **more)
        watched = Watched(backend, states, patience=SOON)
        running = asyncio.create_task(watched.run())
        await scene(watched)
        await watched.stop()
        await running

    thread = threading.Thread(target=double.serve_forever, args=(0.02,))
    thread.start()
    try:
        asyncio.run(main())
    finally:
        double.shutdown()
        double.server_close()
        thread.join()


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


def certified(folder):
    """Make a certificate in a folder; give what a server shows it with."""
    if shutil.which("openssl") is None:
        give_up("openssl, to make certificates with")
    subprocess.run(
        shlex.split("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"),
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return tls


@pytest.mark.parametrize(("is_trusted", "phase"), [(True, "ready"), (False, "down")])
def test_https_is_as_trusted_as_the_file_says(tmp_path, states, is_trusted, phase):
    """The CA of the file is trusted for it, and nobody else is."""
    tls = certified(tmp_path)

    async def scene(_watched):
        await states.reach(phase)

    watching(
        Double(tls=tls), states, scene,
        ca=str(tmp_path / "cert.pem") if is_trusted else None,
    )  # fmt: skip


def test_who_hangs_behind_tls_is_not_waited_for(tmp_path):
    """A look ends at its time: a good-bye that never comes is not waited for after it."""
    tls, is_over = certified(tmp_path), threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def hang():
        connection, _ = listening.accept()
        with tls.wrap_socket(connection, server_side=True):
            is_over.wait(60)

    async def look():
        url = f"https://localhost:{listening.getsockname()[1]}/v1"
        address, access = access_of(url, "", str(tmp_path / "cert.pem"))
        with pytest.raises(TimeoutError):
            await ask(address, "/health", b"", 1.0, access)

    thread = threading.Thread(target=hang)
    thread.start()
    began = time.monotonic()
    with listening:
        asyncio.run(look())
        took_s = time.monotonic() - began
        is_over.set()
        thread.join()

    assert took_s < 20  # asyncio waits for thirty.


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

    assert ["failed"] == [state.phase for state in states.all]
    assert "backends.far.ca: No such file or directory" == states.all[0].reason


def test_without_a_url_there_is_nothing_to_watch(states):
    """It is refused where it is made."""
    with pytest.raises(EngineError, match="needs a `url`"):
        Watched(Backend(name="far", engine="external", model="m"), states)


def test_a_defect_of_the_watcher_is_not_hidden(states, monkeypatch):
    """Whoever runs it hears of it, and the engine is not left as if it were watched."""
    backend = Backend(name="far", engine="external", model="m", url="http://127.0.0.1:9/v1")
    watched = Watched(backend, states, patience=SOON)

    async def broken():
        raise RuntimeError("a defect")

    monkeypatch.setattr(watched, "_fault", broken)

    with pytest.raises(RuntimeError, match="a defect"):
        asyncio.run(watched.run())

    assert ("failed", "watching it failed: RuntimeError") == (
        states.all[-1].phase,
        states.all[-1].reason,
    )
