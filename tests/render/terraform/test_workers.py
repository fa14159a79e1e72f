"""The workers of patient jobs in Azure and Tencent Cloud; their clouds' services are doubles.

What an answer is, and which jobs come back, is of the worker that they share (`test_aws_worker.py`).
"""

import json
import sys
from importlib import resources, util
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

MODULES = resources.files("baseload.render.terraform") / "modules"
JOB = json.dumps({"id": "j-1", "path": "/v1/chat/completions", "body": {"model": "r1"}})
ANSWER = {"status": 200, "body": {"choices": []}}


class Services:
    """A double of a cloud's storage and key store: it remembers."""

    def __init__(self, kept: dict[str, str] | None = None) -> None:
        self.kept = kept or {}
        self.slept_s: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)

    def key(self) -> str:
        return "secret"

    def jobs(self) -> list[str]:
        return sorted(name for name in self.kept if name.startswith("jobs/"))

    def get(self, name: str) -> str | None:
        return self.kept.get(name)

    def put(self, name: str, text: str) -> None:
        self.kept[name] = text

    def remove(self, name: str) -> None:
        del self.kept[name]


def _loaded(path: str, name: str) -> ModuleType:
    spec = util.spec_from_file_location(name, str(MODULES / path))
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the worker that all clouds share, with an engine that answers."""
    worker = _loaded("aws/modules/patient/worker.py", "worker")
    monkeypatch.setattr(worker, "ask", lambda *_: ANSWER)
    monkeypatch.setitem(sys.modules, "worker", worker)
    return worker


@pytest.fixture
def azure(shared: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the file that Azure runs, with a double of the package that it has there."""
    assert shared
    app = SimpleNamespace(service_bus_queue_trigger=lambda **_: lambda job: job)
    functions = SimpleNamespace(FunctionApp=lambda: app, ServiceBusMessage=object)
    monkeypatch.setitem(sys.modules, "azure", SimpleNamespace(functions=functions))
    return _loaded("azure/patient/worker/function_app.py", "function_app")


@pytest.fixture
def tencent(shared: ModuleType) -> ModuleType:
    """Give the file that SCF runs."""
    assert shared
    return _loaded("tencent/patient/worker/main.py", "main")


def _event(name: str) -> dict[str, Any]:
    """Give what SCF says of a new object, as Tencent Cloud's documentation shows it."""
    made = {"key": f"/1250000000/baseload-weights/{name}", "size": 10}
    return {
        "Records": [{"cos": {"cosObject": made}, "event": {"eventName": "cos:ObjectCreated:Put"}}]
    }


def test_azure_keeps_an_answer(azure: ModuleType):
    """A message's answer is put under the job's own id."""
    services = Services()
    azure.work("m-1", JOB, 1, services)

    assert [] == services.slept_s
    assert {"results/j-1.json": ANSWER} == {k: json.loads(v) for k, v in services.kept.items()}


def test_azure_gives_back_what_is_not_answered(
    azure: ModuleType, shared: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    """An error leaves the function, so that its host does not acknowledge the message.

    Before that the job is kept, each time longer, since Service Bus hands it out again at once.
    """

    def busy(*_: Any) -> Any:
        raise shared.NotNowError("HTTP 429")

    monkeypatch.setattr(shared, "ask", busy)
    services = Services()

    for tries in (1, 2, 40):
        with pytest.raises(shared.NotNowError):
            azure.work("m-1", JOB, tries, services)
    assert {} == services.kept
    assert [30, 60, 900] == services.slept_s


def test_tencent_answers_a_new_object_and_removes_it(tencent: ModuleType):
    """The job goes when its answer is there; a second call for it finds nothing to do."""
    services = Services({"jobs/a.json": JOB})
    tencent.work(_event("jobs/a.json"), services)
    tencent.work(_event("jobs/a.json"), services)

    assert ["results/j-1.json"] == list(services.kept)


def test_tencent_leaves_a_job_that_is_not_answered(
    tencent: ModuleType, shared: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    """It stays where it is, and the timer takes up one at a time."""
    left = Services({"jobs/a.json": JOB, "jobs/b.json": JOB.replace("j-1", "j-2")})
    with monkeypatch.context() as away:
        away.setattr(shared, "answered", lambda *_: (_ for _ in ()).throw(shared.NotNowError("x")))
        with pytest.raises(shared.NotNowError):
            tencent.work(_event("jobs/a.json"), left)
    before = sorted(left.kept)
    tencent.work({"Type": "Timer", "TriggerName": "hourly"}, left)

    assert ["jobs/a.json", "jobs/b.json"] == before
    assert ["jobs/b.json", "results/j-1.json"] == sorted(left.kept)


def test_the_shared_worker_comes_along():
    """Both packages hold the worker that they import."""
    from baseload.render.terraform.output import shipped  # noqa: PLC0415

    for cloud in ("azure", "tencent"):
        assert "def answered" in dict(shipped(cloud))["patient/worker/worker.py"]
