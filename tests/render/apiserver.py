"""A test double of the Kubernetes API server: objects in memory, every write held against schemas.

Real clients talk to it: kubectl discovers, creates, patches, scales and watches; lightkube too. A
write that the schemas of the newest version refuse, those of `schemas/`, or `rules`, is answered
with 422, a stale one with 409, one into a namespace that is not there with 404.

What it does not prove: admission and policies, defaults that a server fills in, rules stated in
CEL, quotas, permissions, conversion between versions, controllers (nothing runs, no status is
written). Server-side apply is a plain merge here: no owners, no conflicts, and what the applier no
longer names stays.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.render.kinds import BY_PATH, KINDS, Kind, discovery, openapi
from tests.render.kubernetes_tools import MINORS, Object, invalid, schema_of
from tests.render.merging import merged, strategic
from tests.render.rules import refused

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
Key = tuple[str, str, str, str]
"""API, plural, namespace, name."""


class RefusedError(Exception):
    """An answer that is no object."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


class Store:
    """The objects, and what happened to them, in order."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.events: list[tuple[int, str, Key, Object]] = []
        self.changed = threading.Condition()
        self.is_open = True
        for name in ("default", "kube-system"):
            made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            self.write(("v1", "namespaces", "", name), made, "ADDED")

    @property
    def version(self) -> int:
        return len(self.events)

    def get(self, key: Key) -> Object:
        """Give an object, or refuse with 404."""
        if key not in self.objects:
            resource = BY_PATH[key[:2]].resource
            raise RefusedError(404, "NotFound", f'{resource} "{key[3]}" not found')
        return self.objects[key]

    def write(self, key: Key, made: Object, event: str) -> Object:
        """Keep an object and tell watchers; what is as it was is no event."""
        number, before = self.version + 1, self.objects.get(key, {"metadata": {}})
        made = deepcopy(made)
        if event == "MODIFIED":
            made["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
            if made == before:
                return before
        made["metadata"] |= {
            "resourceVersion": str(number),
            "uid": before["metadata"].get("uid", f"00000000-0000-4000-8000-{number:012d}"),
            "creationTimestamp": "2026-11-26T00:00:00Z",
        }
        with self.changed:
            if event == "DELETED":
                del self.objects[key]
            else:
                self.objects[key] = made
            self.events.append((number, event, key, made))
            self.changed.notify_all()
        return made

    def since(self, number: int) -> Iterator[tuple[int, str, Key, Object]]:
        """Give what happened after a version, and go on until the server stops."""
        while self.is_open:
            with self.changed:
                if number >= self.version:
                    self.changed.wait(0.5)
                found = self.events[number:]
            yield from found
            number += len(found)

    def close(self) -> None:
        """End all watches."""
        self.is_open = False
        with self.changed:
            self.changed.notify_all()


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    store: Store

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answered(self, act: Callable[[Kind, Key, str], None]) -> None:
        address = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        length = int(self.headers.get("content-length") or 0)
        self.body = self.rfile.read(length)
        try:
            act(*self._where(address.path))
        except RefusedError as refused:
            self._send(refused.code, {
                "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
                "code": refused.code, "reason": refused.reason, "message": refused.message,
            })  # fmt: skip

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.rstrip("/")
        if path in ("/api", "/apis"):
            self._send(200, discovery(core=path == "/api"), AGGREGATED)
        elif path == "/version":
            major, minor = MINORS[-1].split(".")
            self._send(200, {"major": major, "minor": minor, "gitVersion": f"v{MINORS[-1]}.0"})
        elif path.startswith("/openapi/v3"):
            self._send(200, openapi(path.removeprefix("/openapi/v3").lstrip("/")))
        else:
            self._answered(self._read)

    def do_POST(self) -> None:
        self._answered(self._create)

    def do_PUT(self) -> None:
        self._answered(self._replace)

    def do_PATCH(self) -> None:
        self._answered(self._patch)

    def do_DELETE(self) -> None:
        self._answered(self._delete)

    def _where(self, path: str) -> tuple[Kind, Key, str]:
        """Give the kind, the key and the subresource that a path names."""
        if "protobuf" in self.headers.get("content-type", ""):
            raise RefusedError(415, "UnsupportedMediaType", "the double reads no protobuf")
        parts = path.strip("/").split("/")
        api, rest = (
            (parts[1], parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        )
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces" and (api, rest[2]) in BY_PATH:
            namespace, rest = rest[1], rest[2:]
        if not rest or (api, rest[0]) not in BY_PATH:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        plural, name, below = [*rest, "", ""][:3]
        return BY_PATH[api, plural], (api, plural, namespace, name), below

    def _read(self, kind: Kind, key: Key, below: str) -> None:
        if key[3]:
            found = self.store.get(key)
            self._send(200, _scale(kind, found) if below == "scale" else found)
        elif self.query.get("watch") in ("1", "true"):
            self._watch(kind, key)
        else:
            items = [each for at, each in self.store.objects.items() if self._wanted(key, at, each)]
            self._send(200, {
                "apiVersion": kind.api, "kind": f"{kind.kind}List", "items": items,
                "metadata": {"resourceVersion": str(self.store.version)},
            })  # fmt: skip

    def _wanted(self, asked: Key, at: Key, found: Object) -> bool:
        """Say whether a list or watch is about an object."""
        name = self.query.get("fieldSelector", "").removeprefix("metadata.name=") or at[3]
        labels = found["metadata"].get("labels", {})
        wanted = [each for each in self.query.get("labelSelector", "").split(",") if each]
        return (
            at[:2] == asked[:2] and asked[2] in ("", at[2]) and name == at[3]
            and all(labels.get(each.split("=")[0]) == each.split("=")[-1] for each in wanted)
        )  # fmt: skip

    def _watch(self, kind: Kind, key: Key) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        start = int(self.query.get("resourceVersion") or self.store.version)
        try:
            for _, event, at, made in self.store.since(start):
                if self._wanted(key, at, made):
                    line = json.dumps({"type": event, "object": made}).encode() + b"\n"
                    self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                    self.wfile.flush()
        except OSError:
            pass
        self.close_connection = True

    def _create(self, kind: Kind, key: Key, below: str) -> None:
        made = yaml.safe_load(self.body)
        key = (*key[:3], str(made.get("metadata", {}).get("name", "")))
        if key in self.store.objects:
            message = f'{kind.resource} "{key[3]}" already exists'
            raise RefusedError(409, "AlreadyExists", message)
        self._keep(kind, key, made, "ADDED")

    def _replace(self, kind: Kind, key: Key, below: str) -> None:
        before, given = self.store.get(key), yaml.safe_load(self.body)
        wanted = given.get("metadata", {}).get("resourceVersion")
        if wanted and wanted != before["metadata"]["resourceVersion"]:
            what = "the object has been modified; please apply your changes to the latest version"
            message = f'Operation cannot be fulfilled on {kind.resource} "{key[3]}": {what}'
            raise RefusedError(409, "Conflict", message)
        if below == "scale":
            given = _scaled(before, given)
        self._keep(kind, key, given, "MODIFIED", below)

    def _patch(self, kind: Kind, key: Key, below: str) -> None:
        patch, how = yaml.safe_load(self.body), self.headers["content-type"]
        if "apply-patch" in how and key not in self.store.objects:
            self._keep(kind, key, patch, "ADDED")
            return
        before = self.store.get(key)
        if below == "scale":
            after = _scaled(before, merged(_scale(kind, before), patch))
        elif "strategic" in how:
            after = strategic(before, patch, schema_of(kind.api, kind.kind))
        elif "merge-patch" in how or "apply-patch" in how:
            after = merged(before, patch)
        else:
            raise RefusedError(415, "UnsupportedMediaType", f"the double takes no {how}")
        self._keep(kind, key, after, "MODIFIED", below)

    def _delete(self, kind: Kind, key: Key, below: str) -> None:
        gone = self.store.get(key)
        if "dryRun" not in self.query:
            self.store.write(key, gone, "DELETED")
        self._send(200, {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"})

    def _keep(self, kind: Kind, key: Key, made: Object, event: str, below: str = "") -> None:
        """Hold an object against everything, keep it and answer with it."""
        if kind.is_namespaced and ("v1", "namespaces", "", key[2]) not in self.store.objects:
            raise RefusedError(404, "NotFound", f'namespaces "{key[2]}" not found')
        said = (made.get("apiVersion"), made.get("kind"), made.get("metadata", {}).get("name"))
        if said != (kind.api, kind.kind, key[3]) or not key[3]:
            raise RefusedError(400, "BadRequest", f"{said} is not what the path names")
        if kind.is_namespaced:
            made["metadata"].setdefault("namespace", key[2])
        if made["metadata"].get("namespace", "") != key[2]:
            raise RefusedError(400, "BadRequest", "the namespace is not that of the request")
        if wrong := invalid([made], MINORS[-1]) or refused(made):
            raise RefusedError(422, "Invalid", f"{kind.kind} is invalid: {'; '.join(wrong)}")
        if "dryRun" not in self.query:
            made = self.store.write(key, made, event)
        code = 201 if event == "ADDED" else 200
        self._send(code, _scale(kind, made) if below == "scale" else made)

    def _send(self, code: int, value: Object, kind: str = "application/json") -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _scale(kind: Kind, of: Object) -> Object:
    names = ("name", "namespace", "resourceVersion", "uid", "creationTimestamp")
    replicas = of.get("spec", {}).get("replicas", 1)
    return {
        "apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": replicas},
        "metadata": {name: of["metadata"][name] for name in names if name in of["metadata"]},
        "status": {"replicas": replicas},
    }  # fmt: skip


def _scaled(of: Object, scale: Object) -> Object:
    return {**of, "spec": {**of.get("spec", {}), "replicas": scale["spec"]["replicas"]}}


class ApiServer:
    """A running double."""

    def __init__(self, url: str, config: Path, store: Store) -> None:
        self.url, self.config, self.store = url, config, store

    def names(self) -> set[str]:
        """Give what has been made, as `Kind/namespace/name`."""
        kinds = {(each.api, each.plural): each.kind for each in KINDS}
        return {f"{kinds[key[:2]]}/{key[2]}/{key[3]}" for key in self.store.objects} - {
            "Namespace//default", "Namespace//kube-system",
        }  # fmt: skip


@contextmanager
def serving(folder: Path) -> Iterator[ApiServer]:
    """Run a double on a free port, with a kubeconfig for it in a folder."""
    store = Store()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"store": store}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    config = folder / "kubeconfig"
    config.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "double",
        "clusters": [{"name": "double", "cluster": {"server": url}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "double", "context": {"cluster": "double", "user": "nobody"}}],
    }))  # fmt: skip
    try:
        yield ApiServer(url, config, store)
    finally:
        store.close()
        server.shutdown()
        thread.join()
        server.server_close()
