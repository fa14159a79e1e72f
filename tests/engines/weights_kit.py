"""A web server of weights on loopback, with real sockets, and each trouble that a source can make.

Of https:// sources, and of where hubs redirect to, it is no double. Of the hubs themselves it is
one: it answers the addresses that are asked as their documentation and clients describe them, and
does not prove that the hubs do.
"""

import hashlib
import json
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

from baseload.engines.weights.bringing import pull
from baseload.engines.weights.pulling import Patience

PIECE_BYTES = 64 * 1024
COMMIT = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"


class Web(ThreadingHTTPServer):
    """Files by path, and what was asked for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.first: dict[str, list] = {}
        """Answers, as (status, headers), that come before the true one; by path."""
        self.cuts: dict[str, list[int]] = {}
        """After how many bytes of a body a connection ends, each once; by path."""
        self.lengths: dict[str, int] = {}
        """Lengths that are said instead of the true ones; by path."""
        self.pace_s: dict[str, float] = {}
        """Pause after each 64 kB; by path."""
        self.has_ranges = True
        self.status_of_ranges = 206
        self.asked: list[tuple[str, str, str | None, str | None]] = []
        """Method, path, `Range` and `Authorization`."""
        self.cookies: set[str | None] = set()
        self.packing: dict[str, str] = {}
        """`Content-Encoding` that is said, though nothing is packed; by path."""
        self.sent = Counter()
        """Bytes of bodies, by path."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def put_sums(self, folder, files):
        """Serve files with their SHA256SUMS."""
        sums = "".join(f"{sha256(data)}  {name}\n" for name, data in files.items())
        for name, data in {**files, "SHA256SUMS": sums.encode()}.items():
            self.files[f"/{folder}/{name}"] = data

    def put_hf(self, name, files, large, elsewhere=None, commit=COMMIT):
        """Serve files as Hugging Face's hub does; `elsewhere` has the bytes of large ones."""
        rows = [{"type": "directory", "path": "x"}]
        for path, data in files.items():
            row = {"type": "file", "path": path, "size": len(data), "oid": git_blob(data)}
            if path in large:
                row["lfs"] = {"oid": sha256(data), "size": len(data)}
            rows.append(row)
            at = f"/{name}/resolve/{commit}/{path}"
            self.files[at] = data
            if elsewhere is not None and path in large:
                elsewhere.files[f"/cdn/{path}"] = data
                self.redirects[at] = f"{elsewhere.url}/cdn/{path}"
        api = f"/api/models/{name}"
        first, second = f"{api}/tree/{commit}?recursive=true", f"{api}/tree/{commit}?cursor=2"
        self.files[f"{api}/revision/main"] = json.dumps({"sha": commit}).encode()
        self.files[first] = json.dumps(rows[:2]).encode()
        self.files[second] = json.dumps(rows[2:]).encode()
        self.links[first] = f'<{self.url}{second}>; rel="next"'

    def put_ms(self, name, files):
        """Serve files as ModelScope does."""
        api = f"/api/v1/models/{name}/repo"
        rows = [{"Type": "tree", "Path": "x", "Size": 0, "Sha256": ""}]
        for path, data in files.items():
            row = {"Type": "blob", "Path": path, "Size": len(data), "Sha256": sha256(data)}
            rows.append(row | {"Revision": COMMIT})
            self.files[f"{api}?Revision=master&FilePath={quote(path)}"] = data
        answer = {"Code": 200, "Success": True, "Data": {"Files": rows}}
        self.files[f"{api}/files?Revision=master&Recursive=true"] = json.dumps(answer).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def log_message(self, *_):
        pass

    def _answer(self):
        web, path, asked = self.server, self.path, self.headers.get("Range")
        web.asked.append((self.command, path, asked, self.headers.get("Authorization")))
        web.cookies.add(self.headers.get("Cookie"))
        if web.first.get(path):
            status, headers = web.first[path].pop(0)
            return self._head(status, 0, **headers)
        if path in web.redirects:
            return self._head(302, 0, Location=web.redirects[path])
        if (data := web.files.get(path)) is None:
            return self._head(404, 0)
        begin, end, status, more = 0, len(data), 200, {}
        if asked and web.has_ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(len(data), int(last) + 1)
            status = web.status_of_ranges
            more["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        more |= {"Link": web.links[path]} if path in web.links else {}
        more |= {"Content-Encoding": web.packing[path]} if path in web.packing else {}
        more |= {"ETag": web.etags[path]} if path in web.etags else {}
        self._head(status, web.lengths.get(path, end - begin), **more)
        return None if self.command == "HEAD" else self._body(path, data[begin:end])

    def _body(self, path, data):
        web = self.server
        stop = web.cuts[path].pop(0) if web.cuts.get(path) else None
        for at in range(0, len(data) if stop is None else min(stop, len(data)), PIECE_BYTES):
            some = data[at : at + PIECE_BYTES if stop is None else min(at + PIECE_BYTES, stop)]
            try:
                self.wfile.write(some)
            except OSError:
                break  # The other end was killed.
            web.sent[path] += len(some)
            time.sleep(web.pace_s.get(path, 0))
        self.close_connection = stop is not None or path in web.lengths

    def _head(self, status, length, **more):
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **more}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


@contextmanager
def serving():
    """Serve until the block ends."""
    server = Web()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def safetensors(data_bytes, seed=0):
    """Return a whole file with one tensor of pseudo-random bytes."""
    header = {"w": {"dtype": "U8", "shape": [data_bytes], "data_offsets": [0, data_bytes]}}
    head = json.dumps(header).encode()
    block = hashlib.sha256(b"%d" % seed).digest() * 331  # no power of two: chunks differ
    data = b"".join(b"%8d" % number + block for number in range(data_bytes // len(block) + 1))
    return struct.pack("<Q", len(head)) + head + data[:data_bytes]


def gguf(data_bytes=64):
    """Return a whole GGUF file with one tensor."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 1) + b"w"
    head += struct.pack("<IQIQ", 1, data_bytes // 4, 0, 0)
    return head + bytes(-len(head) % 32) + bytes(data_bytes)


MODEL = safetensors(3_000_000)
FILES = {
    "config.json": b'{"a": 1}',
    "model.safetensors": MODEL,
    "more/tokens.txt": b"",
    "a.txt": b"a",
}
HASTY = Patience(attempts_max=4, pause_first_s=0.01, pause_max_s=0.05)


def bring(store, source, name="r1", **more):
    """Pull a model, with little patience and nothing from the environment."""
    return pull(store, name, source, patience=HASTY, **{"env": {}, **more})


def tree(folder):
    """Give what people see in a model's folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
