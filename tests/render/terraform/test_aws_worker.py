"""The worker of patient jobs, against a real HTTP server; the services of AWS are doubles."""

import importlib.util
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from threading import Thread
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

FILE = "modules/aws/modules/patient/worker.py"
JOB = {"id": "j-1", "path": "/v1/chat/completions", "body": {"model": "r1", "stream": True}}


class Services:
    """A double of S3, SQS and Secrets Manager, as the worker asks them: it remembers."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.given_back: dict[str, int] = {}

    def key(self) -> str:
        return "secret"

    def put(self, name: str, text: str) -> None:
        self.kept[name] = json.loads(text)

    def give_back(self, receipt: str, seconds: int) -> None:
        self.given_back[receipt] = seconds


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    """Give the file that Lambda runs, as a module."""
    path = resources.files("baseload.render.terraform") / FILE
    spec = importlib.util.spec_from_file_location("worker", str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Give a server that answers as it is told, and remembers what it was asked."""
    said = SimpleNamespace(status=200, heads={}, text='{"choices": []}', asked=[])

    class Engine(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            said.asked.append((self.path, self.headers["authorization"], json.loads(body)))
            self.send_response(said.status)
            for name, value in said.heads.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("URL", f"http://127.0.0.1:{server.server_port}/")
    yield said
    server.shutdown()
    thread.join()
    server.server_close()


def _work(
    worker: ModuleType, *jobs: Any, left_s: float = 900, tries: int = 1
) -> tuple[Services, list[str]]:
    """Hand in jobs; give what the services saw, and which jobs come back."""
    services = Services()
    records = [
        {
            "messageId": f"m-{place}",
            "receiptHandle": f"r-{place}",
            "body": job if isinstance(job, str) else json.dumps(job),
            "attributes": {"ApproximateReceiveCount": str(tries)},
        }
        for place, job in enumerate(jobs)
    ]
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: left_s * 1000)
    said = worker.work({"Records": records}, context, services)
    return services, [each["itemIdentifier"] for each in said["batchItemFailures"]]


def test_an_answer_is_kept_under_the_jobs_name(worker: ModuleType, engine: SimpleNamespace):
    """The engine is asked with its key, not streamed, and its answer is the result."""
    services, back = _work(worker, JOB)

    assert [] == back
    assert {"results/j-1.json": {"status": 200, "body": {"choices": []}}} == services.kept
    asked = ("/v1/chat/completions", "Bearer secret", {"model": "r1", "stream": False})
    assert [asked] == engine.asked


def test_a_job_without_a_name_has_its_messages(worker: ModuleType, engine: SimpleNamespace):
    """Whoever sends a job knows the message's id."""
    services, _ = _work(worker, {"path": "/v1/completions", "body": {}})

    assert ["results/m-0.json"] == list(services.kept)


@pytest.mark.parametrize(
    ("heads", "tries", "seconds"),
    [({}, 1, 30), ({"retry-after": "120"}, 1, 120), ({}, 3, 120), ({"retry-after": "99999"}, 1, 900), ({}, 40, 900)],
)  # fmt: skip
def test_without_room_a_job_comes_back_later(
    worker: ModuleType, engine: SimpleNamespace, heads: dict[str, str], tries: int, seconds: int
):
    """It comes back when the engine says, each time later, and at most a quarter of an hour on."""
    engine.status, engine.heads = 429, heads
    services, back = _work(worker, JOB, tries=tries)

    assert (["m-0"], {"r-0": seconds}, {}) == (back, services.given_back, services.kept)


def test_a_refusal_for_good_is_an_answer(worker: ModuleType, engine: SimpleNamespace):
    """A body that the engine does not take is not sent again."""
    engine.status, engine.text = 422, "no such model"
    services, back = _work(worker, JOB)

    assert ([], {"status": 422, "body": "no such model"}) == (
        back,
        services.kept["results/j-1.json"],
    )


@pytest.mark.parametrize(
    "job",
    [
        "{", "[]", {"path": "/v1/x"}, {"path": "//elsewhere.example", "body": {}},
        {"path": "/v1/x", "body": "text"}, {"path": "/v1/x", "body": {}, "id": "../x"},
        {"path": 1, "body": {}},
    ],
)  # fmt: skip
def test_what_is_no_job_is_answered_and_not_sent(
    worker: ModuleType, engine: SimpleNamespace, job: Any
):
    """Neither another server nor another key of the bucket can be reached by a job."""
    services, back = _work(worker, job)

    assert ([], []) == (back, engine.asked)
    assert {"results/m-0.json": {"status": 400, "body": "not a job"}} == services.kept


def test_one_job_that_comes_back_keeps_no_other(worker: ModuleType, engine: SimpleNamespace):
    """Of a batch only those that failed are named."""
    engine.text = "half an ans"
    services, back = _work(worker, JOB, "{")

    assert (["m-0"], ["results/m-1.json"]) == (back, list(services.kept))


def test_without_time_nothing_is_begun(worker: ModuleType, engine: SimpleNamespace):
    """A job that Lambda would cut off goes back before the engine is asked."""
    assert (["m-0"], []) == (_work(worker, JOB, left_s=15)[1], engine.asked)


def test_when_the_engine_is_away_a_job_comes_back(
    worker: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    """A refused connection is no answer."""
    monkeypatch.setenv("URL", "http://127.0.0.1:9")
    services, back = _work(worker, JOB)

    assert (["m-0"], {"r-0": 30}) == (back, services.given_back)
