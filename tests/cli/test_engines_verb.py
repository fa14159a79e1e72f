"""Tests of `baseload engines`: what it shows, what it refuses, and what it takes from a plan."""

import json

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from baseload.cli import app
from baseload.cli import engines as verb
from baseload.config.serving import Serve
from baseload.plan.result import Way
from baseload.plan.speed.layout import Layout
from tests.engines.machines import machine, model_folder
from tests.needs import need_the_engine

MODEL = "smollm2-135m-instruct"


@pytest.fixture
def show(tmp_path, monkeypatch):
    """Run the verb on a fleet file with these backends; give its result."""
    monkeypatch.setattr(verb, "look", lambda: machine(2, 80))

    def run(*arguments, **backends):
        tier = {name: {"model": "m"} for name in backends}
        fleet = {"backends": backends, "models": {"m": {"tiers": [tier]}}}
        file = tmp_path / "fleet.yaml"
        file.write_text(yaml.safe_dump(fleet))
        return CliRunner().invoke(app, ["engines", "-c", str(file), *arguments])

    return run


def vllm(folder, **serve):
    """Give a backend whose program is there, though it is no vLLM: nothing is started."""
    return {
        "engine": "vllm", "model": str(model_folder(folder / "m", 15_000_000_000)),
        "serve": {"program": ["sh", "serve"]} | serve,
    }  # fmt: skip


def test_each_flag_is_shown_with_its_reason(show, tmp_path):
    """Command, environment and reasons are there, the key is not, and nothing was wrong."""
    need_the_engine()
    cpu = {"engine": "llama.cpp", "model": MODEL, "api_key": "s3cret", "serve": {"slots": 2}}
    done = show(gpu=vllm(tmp_path), cpu=cpu)

    assert 0 == done.exit_code, done.output
    for text in ("● gpu (vllm)", "--gpu-memory-utilization=0.9", "alone on its GPUs", "--slots 2"):
        assert text in done.output
    assert "s3cret" not in done.output


def test_json_has_the_same_and_no_secret(show, tmp_path):
    """The command line is a list, and the second engine takes another GPU than the first."""
    done = show("--json", a=vllm(tmp_path) | {"api_key": "s3cret"}, b=vllm(tmp_path))
    told = json.loads(done.output)["engines"]

    assert ["a", "b"] == [one["backend"] for one in told]
    assert [[0], [1]] == [one["launch"]["gpus"] for one in told]
    assert {"VLLM_API_KEY": "***"} == told[0]["launch"]["secrets"]
    assert "--max-num-seqs=128" in told[0]["launch"]["argv"]
    assert "s3cret" not in done.output


def test_what_could_not_be_started_is_said_and_is_exit_1(show, tmp_path):
    """A missing program and a model that does not fit are both told."""
    lacking = show(gpu=vllm(tmp_path, program=["/no/vllm", "serve"]))
    model_folder(tmp_path / "big", 10**12)
    large = show(gpu=vllm(tmp_path) | {"model": str(tmp_path / "big")})

    assert [1, 1] == [lacking.exit_code, large.exit_code]
    assert "there is no program `/no/vllm`" in lacking.output
    assert "the model does not fit: 931.3 GiB" in large.output


def test_engines_that_cannot_share_their_gpu_are_named(show, tmp_path, monkeypatch):
    """One that names no part, and MPS that is not installed, are told of before any start."""
    monkeypatch.setattr(verb.shutil, "which", lambda _name: None)
    program = {"program": ["/bin/sh", "serve"], "gpus": [0]}
    a = vllm(tmp_path, **program, mps_threads=50, gpu_memory=0.6)
    done = show(a=a, b=vllm(tmp_path, **program))
    without = show(a=vllm(tmp_path, **program, gpu_memory=0.6), b=vllm(tmp_path, **program))

    assert 1 == done.exit_code
    assert "backends.b.serve.gpu_memory: needed, because it shares GPU 0 with a" in done.output
    assert "nvidia-cuda-mps-control is not installed" in done.output
    assert "needed" not in without.output


def test_a_plan_fills_in_what_the_file_leaves_open():
    """Split and precision come from a way; what the file says stays."""
    way = Way(
        name="1 x h100", tenure="owned", hardware="h100", precision="fp8", layout=Layout(tp=2),
        usd_month=1.0, usd_horizon=1.0, usd_mtok=1.0, availability=1.0,
    )  # fmt: skip
    filled, notes = verb.with_plan(Serve(), way)
    kept, _ = verb.with_plan(Serve(precision="bf16", tensor_parallel=1), way)
    neither, none = verb.with_plan(
        Serve(), msgspec.structs.replace(way, precision="fp4", layout=None)
    )

    assert ("fp8", 2, 1) == (filled.precision, filled.tensor_parallel, filled.pipeline_parallel)
    assert "`serve: {tensor_parallel: 2, pipeline_parallel: 1, precision: fp8}`" in notes[0]
    assert ("bf16", 1) == (kept.precision, kept.tensor_parallel)
    assert (Serve(), ()) == (neither, none)


def test_a_file_that_is_no_plan_is_named(show, tmp_path):
    """With what was expected."""
    (tmp_path / "plan.json").write_text("{}")
    done = show("--plan", str(tmp_path / "plan.json"), gpu=vllm(tmp_path))

    assert 1 == done.exit_code
    assert "not a plan as `baseload plan --json` prints it" in done.output
