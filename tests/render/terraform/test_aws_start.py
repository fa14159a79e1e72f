"""What a machine in AWS does when it starts: the script that Terraform planned, run for real.

Commands that touch disks, Docker and AWS are doubles that note what they were told.
"""

import base64
import json
import os
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.render.terraform.test_aws import plan, terraform

__all__ = ["plan", "terraform"]  # fixtures

COMMANDS = (
    "aws", "blkid", "curl", "dnf", "docker", "lsblk", "mdadm", "mkfs.xfs", "mount", "mountpoint",
    "systemctl",
)  # fmt: skip
DOUBLE = """#!/bin/bash
printf '%s' "${0##*/}" >>"$CALLS"; printf ' %q' "$@" >>"$CALLS"; echo >>"$CALLS"
case "${0##*/} $*" in
  "aws s3 sync "*) cp "$BUCKET"/* "${@: -1}" ;;
  "aws secretsmanager "*) echo secret ;;
  "lsblk "*) printf '/dev/nvme1n1 Amazon EC2 NVMe Instance Storage\\n/dev/nvme0n1 Amazon Elastic Block Store\\n' ;;
  "mountpoint "*) exit 1 ;;
  "curl "*) printf 'vllm:num_requests_running{a="b"} 5.0\\nvllm:num_requests_waiting{a="b"} 2.0\\nother 9\\n' ;;
esac
"""
Start = Callable[[], tuple[int, list[str]]]


@pytest.fixture
def start(plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Give a function that runs the script, and says how it ended and what was called."""
    commands, bucket = tmp_path / "bin", tmp_path / "bucket"
    commands.mkdir()
    bucket.mkdir()
    for name in COMMANDS:
        (commands / name).write_text(DOUBLE)
        (commands / name).chmod(0o755)
    (bucket / "model.safetensors").write_bytes(b"weights")
    digest = sha256(b"weights").hexdigest()
    (bucket / "SHA256SUMS").write_text(f"{digest}  model.safetensors\n")
    script = tmp_path / "user_data"
    encoded = plan["module.fleet.aws_launch_template.engine"]["user_data"]
    script.write_bytes(base64.b64decode(encoded))
    calls = tmp_path / "calls"
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setenv("BUCKET", str(bucket))
    monkeypatch.setenv("BASELOAD_ROOT", str(tmp_path / "root"))

    def run() -> tuple[int, list[str]]:
        done = subprocess.run(["bash", script], capture_output=True, timeout=20, check=False)
        return done.returncode, calls.read_text().splitlines()

    return run


def test_an_engine_is_started_on_whole_weights(start: Start, tmp_path: Path):
    """Its own NVMe is used, weights are mounted read-only, and the key is in no command line."""
    status, calls = start()
    root = tmp_path / "root"
    (docker,) = [each for each in calls if each.startswith("docker ")]

    assert 0 == status
    assert any(each.startswith("mdadm --create /dev/md0") for each in calls)
    assert f"--volume {root}/nvme/weights:/weights:ro" in docker
    command = "--entrypoint vllm vllm/vllm-openai:v0.24.0 serve /weights --served-model-name r1-32b"
    assert f" {command} " in docker
    assert "secret" not in docker
    assert "--env VLLM_HTTP_TIMEOUT_KEEP_ALIVE=660 " in docker
    assert "mode=non-blocking" in docker
    assert "VLLM_API_KEY=secret\n" == (root / "run/baseload/key").read_text()
    assert 0o600 == (root / "run/baseload/key").stat().st_mode & 0o777
    assert "systemctl enable --now baseload-in-flight.timer" == calls[-1]


def test_the_agent_needs_no_rights_of_its_own(start: Start, tmp_path: Path):
    """Its metrics have the group's name; names that it would look up itself take ec2:DescribeTags."""
    start()
    told = json.loads((tmp_path / "root/etc/baseload-agent.json").read_text())["metrics"]

    assert {"baseload-prod"} == {
        each["append_dimensions"]["Group"] for each in told["metrics_collected"].values()
    }
    assert [["Group"]] == told["aggregation_dimensions"]
    assert "aws:" not in json.dumps(told)


def test_no_engine_is_started_on_other_weights(start: Start, tmp_path: Path):
    """One flipped byte, and the machine never becomes healthy."""
    (tmp_path / "bucket" / "model.safetensors").write_bytes(b"weightt")
    status, calls = start()

    assert 0 != status
    assert [] == [each for each in calls if each.startswith("docker ")]


def test_calls_in_flight_are_told(start: Start, tmp_path: Path):
    """Those that run and those that wait are one number, under the group's name."""
    start()
    subprocess.run([tmp_path / "root/usr/local/bin/baseload-in-flight"], check=True, timeout=20)
    told = (tmp_path / "calls").read_text().splitlines()[-1]

    assert told.startswith("aws cloudwatch put-metric-data --namespace Baseload")
    assert told.endswith("--dimensions Group=baseload-prod --storage-resolution 1 --value 7")
