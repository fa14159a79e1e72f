"""Tests against texts that vLLM 0.24.0 and nvidia-smi really printed on an H100 (`real/README.md`)."""

from pathlib import Path

from baseload.apis.enginemetrics import Metrics, read_metrics
from baseload.engines.hardware.nvidia import by_smi
from baseload.engines.idling import work_of
from baseload.engines.journal import Journal
from baseload.engines.outofmemory import sign_in

REAL = Path(__file__).parent / "real"
LOG = (REAL / "vllm_0_24_h100.log").read_bytes().decode().split("\n")
READY = next(at for at, line in enumerate(LOG) if "Application startup complete" in line) + 1


def heard(folder):
    """Let a journal hear vLLM's start and then a call; give it, and what it then kept."""
    log = Journal(folder / "gpu.log")
    log.begin("start 1")
    for line in LOG[:READY]:
        log.hear(line)
    before = log.path.read_bytes()
    log.serving()
    for line in LOG[READY:]:
        log.hear(line)
    return log, before.decode(), log.path.read_bytes().decode().removeprefix(before.decode())


def test_a_start_is_kept_and_understood(tmp_path):
    """The size of the KV cache is read, nothing is a lack of memory, and a bar is one short line."""
    log, start, _ = heard(tmp_path)

    assert 960_432 == log.kv_tokens
    assert [] == [line for line in LOG if sign_in(line)]
    assert "\r" not in start
    assert "(EngineCore pid=715) Capturing CUDA graphs (decode, FULL): 100%" in start
    assert "35/35" in start


def test_nothing_that_it_says_of_calls_is_kept(tmp_path):
    """An error of a call has the same form as one of a start, and may quote the caller."""
    log, _, kept = heard(tmp_path)

    assert any("ERROR" in line and "ValueError: " in line for line in LOG[READY:])
    assert "" == kept
    assert len([line for line in LOG[READY:] if line]) == log.withheld
    assert "" == log.cause()


def test_its_metrics_are_read():
    """What runs and waits, how full the cache is and what it holds; work is tokens in and out."""
    page = (REAL / "vllm_0_24_h100.prom").read_bytes()
    kind, metrics = read_metrics(page)

    assert ("vllm", 960_432, 0) == (kind, metrics.kv_tokens, metrics.preemptions)
    assert Metrics(0.0, 0, 0, 960_432, 16_880, None, 0) == metrics
    assert 296_448 + 16_880 == work_of(page)


def test_a_gpu_is_read_as_nvidia_smi_tells_it(tmp_path):
    """Memory comes in MiB, and a machine of one node may have no file for it."""
    (gpu,) = by_smi((REAL / "nvidia_smi_h100.csv").read_text(), tmp_path)

    assert ("NVIDIA H100 80GB HBM3", 81_559 << 20, 81_079 << 20) == (
        gpu.name, gpu.memory_bytes, gpu.free_bytes
    )  # fmt: skip
    assert ("580.159.04", (9, 0), 700.0, None) == (
        gpu.driver, gpu.compute, gpu.watts_max, gpu.numa
    )  # fmt: skip
