"""A server of weights for tests: real files by real HTTP, and each mistake that a source can make.

It is no double for https:// sources. For a hub it is one: it answers the three addresses that are
asked, as the hub's documentation describes them, and does not prove that the hub does.
"""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from baseload.render import stage

SCRIPT = Path(stage.__file__)


class Weights(ThreadingHTTPServer):
    """Files by path below `/`, and what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.links: dict[str, str] = {}
        """What `Link` says, by path with query."""
        self.claims: dict[str, int] = {}
        """Sizes that HEAD gives instead of the true ones."""
        self.cuts: dict[str, int] = {}
        """After how many bytes a connection ends, once."""
        self.has_ranges = True
        self.asked: list[tuple[str, str, str | None, str | None]] = []
        """Method, path, `Range` and `Authorization`."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, folder: str, files: dict[str, bytes]) -> None:
        """Serve files with their SHA256SUMS."""
        sums = "".join(f"{sha256(data)}  {name}\n" for name, data in files.items())
        for name, data in {**files, "SHA256SUMS": sums.encode()}.items():
            self.files[f"/{folder}/{name}"] = data

    def put_hub(self, name: str, files: dict[str, bytes], large: set[str]) -> None:
        """Serve files as a hub's repository at one commit, in two pages."""
        rows = [
            {
                "type": "file", "path": path, "size": len(data), "oid": git_blob(data),
                **({"lfs": {"oid": sha256(data), "size": len(data)}} if path in large else {}),
            }
            for path, data in files.items()
        ]  # fmt: skip
        api = f"/api/models/{name}"
        first, second = f"{api}/tree/c0ffee?recursive=true", f"{api}/tree/c0ffee?cursor=2"
        self.files[f"{api}/revision/main"] = json.dumps({"sha": "c0ffee"}).encode()
        self.files[first] = json.dumps([*rows[:1], {"type": "directory", "path": "x"}]).encode()
        self.files[second] = json.dumps(rows[1:]).encode()
        self.links[first] = f'<{self.url}{second}>; rel="next"'
        for path, data in files.items():
            self.redirects[f"/{name}/resolve/c0ffee/{path}"] = f"/elsewhere/{path}"
            self.files[f"/elsewhere/{path}"] = data


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Weights

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def log_message(self, *_):
        pass

    def _answer(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append((self.command, self.path, asked, self.headers.get("Authorization")))
        if (to := server.redirects.get(self.path)) is not None:
            return self._head(302, 0, Location=to)
        if (data := server.files.get(self.path)) is None:
            return self._head(404, 0)
        begin = int(asked[6:-1]) if asked and server.has_ranges else 0
        claimed = server.claims.get(self.path) if self.command == "HEAD" else None
        length = len(data) - begin if claimed is None else claimed
        more = {"Link": server.links[self.path]} if self.path in server.links else {}
        if begin:
            more["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        self._head(206 if begin else 200, length, **more)
        if self.command == "HEAD":
            return None
        end = server.cuts.pop(self.path, len(data))
        self.wfile.write(data[begin:end])
        self.close_connection = end < len(data)
        return None

    def _head(self, status, length, **more):
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **more}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


@contextmanager
def serving() -> Iterator[Weights]:
    """Serve until the block ends."""
    server = Weights()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run(source: str, folder: Path, *more: str, **env: str) -> tuple[int, str]:
    """Run the script as a pod does; give its exit status and what it said."""
    done = subprocess.run(
        [sys.executable, "-S", SCRIPT, source, folder, *more],
        env={"PATH": "/usr/bin:/bin", "STAGE_PAUSE_S": "0", **env},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
