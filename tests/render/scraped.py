"""A real Prometheus that scrapes a real gateway and a real llama.cpp engine under load.

The load has a bit of everything that a panel counts: streams and whole answers, a backend that is
closed, keys that are wrong, over a limit, and with a budget. llama.cpp does not say how full its
cache is, so a double of vLLM's page of metrics stands in for that one figure; that vLLM's page
reads so is not proved here. An engine that the gateway itself starts is metered by a double of the
kernel's counter of joules, a file that is moved on; no sensor of power is proved by it.

Prometheus also works out the rules that are rendered for this fleet, every second. Nobody waits
here for minutes, so alerts fire at once (`for` is left out): how long they wait is tried by
promtool.
"""

import asyncio
import contextlib
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import httpx
import yaml

from baseload.config.fleet import Backend
from baseload.engines.hardware.looking import SYSTEM_ROOT
from baseload.render.monitoring import rules
from tests.engines.engine_kit import MODEL, running
from tests.engines.hardware.counting import counting
from tests.needs import give_up, need_the_engine
from tests.render.pictures import picture

LOAD_S = 6.0
READY_S_MAX = 60.0
KEYS = {"team": "key-of-team", "poor": "key-of-poor"}


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


PAGE = b"""vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:num_requests_running{engine="0"} 3
vllm:num_requests_waiting{engine="0"} 1
"""


class PageDouble(BaseHTTPRequestHandler):
    """Answers every GET with a page of vLLM's metrics, and is no model server."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("content-length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *words) -> None:
        """Say nothing."""


@contextlib.contextmanager
def paged() -> Iterator[str]:
    """Run the double; give its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), PageDouble)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


class Scraped:
    """A Prometheus that can be asked."""

    def __init__(self, url: str, file: Path = Path()) -> None:
        self.url, self.file = url, file
        # By then the rules have seen what was scraped.
        self.since = time.time() + 2

    def numbers(self, query: str) -> list[float]:
        """Give the numbers of a query now, those that are none left out."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": query}).json()
        assert "success" == answer["status"], answer
        values = [float(each["value"][1]) for each in answer["data"]["result"]]
        return [value for value in values if not math.isnan(value)]

    def labels(self, query: str, name: str) -> set[str]:
        """Give the values that one label has among the series of a query, since load began."""
        span = {"start": self.since, "end": time.time(), "step": 1}
        answer = httpx.get(f"{self.url}/api/v1/query_range", params={"query": query, **span}).json()
        return {each["metric"].get(name, "") for each in answer["data"]["result"]}


def fleet_of(folder: Path, engine_url: str, page_url: str) -> dict:
    """Give the fleet under test: a closed backend before an engine with one slot to spare."""
    limits = {"team": {"usd_day": 5, "usd_month": 50}, "poor": {"rpm": 1}}
    return {
        "listen": f"127.0.0.1:{free_port()}",
        "admin": f"127.0.0.1:{free_port()}",
        "state_dir": str(folder),
        "store": {"ledger": f"sqlite:///{folder / 'ledger.db'}"},
        "backends": {
            "closed": {"url": f"http://127.0.0.1:{free_port()}/v1"},
            "edge": {"url": engine_url, "probe_s": 1, "concurrency": 3},
            "paged": {"url": page_url, "probe_s": 1},
            "own": {"engine": "llama.cpp", "model": MODEL, "concurrency": 1},
        },
        "models": {
            "m": {"tiers": [{"closed": {"model": MODEL}}, {"edge": {"model": MODEL}}]},
            "small": {"tiers": [{"own": {"model": MODEL}}]},
        },
        "keys": [
            {"name": name, "sha256": sha256(key.encode()).hexdigest(), **limits[name]}
            for name, key in KEYS.items()
        ],
        "prices": [
            {"backend": "edge", "model": MODEL, "since": "2026-01-01", "input_usd_mtok": 1.0,
             "output_usd_mtok": 2.0},
        ],
        "deploy": {
            "gateway": {"replicas": 1},
            "engines": {
                "edge": {"model": "deepseek-r1-distill-qwen-7b", "weights": "hf://a/b",
                         "accelerator": "h100"},
            },
        },
    }  # fmt: skip


async def load(base: str) -> None:
    """Call for a while, six at once."""
    body = {"model": "m", "max_tokens": 12, "messages": [{"role": "user", "content": "Hello"}]}

    async def one(client: httpx.AsyncClient, key: str, **more) -> None:
        headers = {"authorization": f"Bearer {key}"}
        await client.post(f"{base}/chat/completions", json=body | more, headers=headers)

    async def caller(client: httpx.AsyncClient, number: int) -> None:
        while time.monotonic() < ends:
            await one(client, KEYS["team"], stream=number % 3 != 0)
            if number == 0:
                await one(client, KEYS["poor"])
                await one(client, "no-key")
                await one(client, KEYS["team"], model="nobody")
            if number == 1:
                await one(client, KEYS["team"], model="small", max_tokens=2)

    ends = time.monotonic() + LOAD_S
    async with httpx.AsyncClient(timeout=60) as client:
        await asyncio.gather(*(caller(client, number) for number in range(6)))


@contextlib.contextmanager
def scraped(folder: Path) -> Iterator[Scraped]:
    """Start engine, gateway and Prometheus, put load on them, and give Prometheus."""
    need_the_engine()
    if shutil.which("prometheus") is None:
        give_up("prometheus")
    engine = Backend(name="edge", engine="llama.cpp", model=MODEL)
    with running(engine, folder) as state, contextlib.ExitStack() as stack:
        address = "{}:{}".format(*state.address)
        page_url = stack.enter_context(paged())
        fleet = fleet_of(folder, f"http://{address}/v1", page_url)
        file = folder / "fleet.yaml"
        file.write_text(yaml.safe_dump(fleet))
        stack.enter_context(counting(folder))
        stack.enter_context(mock.patch.dict(os.environ, {SYSTEM_ROOT: str(folder)}))
        command = [sys.executable, "-m", "baseload", "up", "-c", str(file)]
        stack.enter_context(started(command, f"http://{fleet['admin']}/readyz", folder))
        (folder / "rules.yml").write_text(yaml.safe_dump({"groups": at_once(file)}))
        url = stack.enter_context(prometheus(folder, fleet["admin"], address))
        until_there(lambda: Scraped(url).numbers('baseload_backend_up{backend="own"} == 1'))
        found = Scraped(url, file)
        asyncio.run(load(f"http://{fleet['listen']}/v1"))
        until_there(lambda: found.numbers("baseload_engine_joules_per_token"))
        yield found


def at_once(file: Path) -> list[dict]:
    """Give the rules for a fleet, with alerts that wait for nothing."""
    groups = rules.groups(picture(file))
    for rule in (rule for group in groups for rule in group["rules"]):
        rule.pop("for", None)
    return groups


@contextlib.contextmanager
def prometheus(folder: Path, gateway: str, engine: str) -> Iterator[str]:
    """Run a Prometheus that scrapes both every second, and itself."""
    address = f"127.0.0.1:{free_port()}"
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": [
            {"job_name": "baseload", "static_configs": [{"targets": [gateway]}]},
            {"job_name": "engines", "static_configs": [
                {"targets": [engine], "labels": {"backend": "edge"}},
            ]},
            {"job_name": "prometheus", "static_configs": [{"targets": [address]}]},
        ],
    }  # fmt: skip
    (folder / "prometheus.yml").write_text(json.dumps(config))
    command = [
        "prometheus", f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address={address}",
        "--log.level=warn",
    ]  # fmt: skip
    url = f"http://{address}"
    with started(command, f"{url}/-/ready", folder):
        until_there(lambda: Scraped(url).numbers("sum(up) == 3"))
        yield url


@contextlib.contextmanager
def started(command: list[str], ready: str, folder: Path) -> Iterator[None]:
    """Run a process until the block ends; begin when it says that it is ready."""
    log = (folder / f"{Path(command[0]).name}.log").open("wb")
    with subprocess.Popen(command, stdout=log, stderr=log, env=os.environ) as process:
        try:
            until_there(lambda: answers(ready))
            yield
        finally:
            process.send_signal(signal.SIGTERM)
    log.close()


def answers(url: str) -> bool:
    """Say whether a GET is answered with success."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url).is_success
    return False


def until_there(condition) -> None:
    """Wait until something is so."""
    ends = time.monotonic() + READY_S_MAX
    while not condition():
        assert time.monotonic() < ends, "not ready in time"
        time.sleep(0.05)
