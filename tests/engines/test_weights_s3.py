"""Weights come from S3 through the real boto3, from moto's server, which imitates S3."""

import subprocess
from pathlib import Path

import boto3
import pytest

from baseload.engines.weights import parts, pulling
from baseload.engines.weights.bringing import pull
from baseload.engines.weights.pieces import WeightsError
from baseload.engines.weights.pulling import Patience
from baseload.engines.weights.store import Store
from tests.engines.weights_kit import safetensors, sha256, tree
from tests.needs import give_up

PYTHON = Path(__file__).parents[2] / ".venv/terraform/bin/python"
SERVE = """
import sys
from moto.server import ThreadedMotoServer
moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
moto.start()
print("http://%s:%d" % moto.get_host_and_port(), flush=True)
sys.stdin.read()
moto.stop()
"""
MODEL = safetensors(2_000_000)
FILES = {"config.json": b"{}", "model.safetensors": MODEL}
HASTY = Patience(attempts_max=2, pause_first_s=0.01, pause_max_s=0.05)


@pytest.fixture(scope="module")
def moto():
    if not PYTHON.exists():
        give_up("moto (in .venv/terraform)")
    with subprocess.Popen(
        [PYTHON, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(30)


@pytest.fixture
def bucket(moto, monkeypatch):
    """Give a client of a store that has a model; the environment says where it is."""
    for name, value in {
        "AWS_ENDPOINT_URL": moto, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "word",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for module in (parts, pulling):
        monkeypatch.setattr(module, "CHUNK_BYTES", 128 * 1024)
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    sums = "".join(f"{sha256(data)}  {name}\n" for name, data in FILES.items())
    for name, data in {**FILES, "SHA256SUMS": sums.encode()}.items():
        client.put_object(Bucket="models", Key=f"r1/{name}", Body=data)
    yield client
    client.close()


def test_a_model_comes_from_a_bucket_in_ranges(bucket, tmp_path):
    """Files below a prefix come in ranges, each as SHA256SUMS says."""
    store = Store(tmp_path)
    manifest, _ = pull(store, "r1", "s3://models/r1", patience=HASTY)

    assert FILES == tree(tmp_path / "r1")
    assert "s3://models/r1" == manifest.source


def test_a_flipped_byte_in_a_bucket_is_refused(bucket, tmp_path):
    """What is not what SHA256SUMS says gets no name."""
    bucket.put_object(Bucket="models", Key="r1/config.json", Body=b"[]")
    with pytest.raises(WeightsError, match=r"config\.json: its digest is sha256:"):
        pull(Store(tmp_path), "r1", "s3://models/r1", patience=HASTY)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("s3://models/other", r"s3://models/other/SHA256SUMS: NoSuchKey; it needs digests"),
        ("s3://nobodys/r1", "NoSuchBucket"),
        ("s3:///r1", "s3://BUCKET/PREFIX is meant"),
    ],
)
def test_what_a_bucket_lacks_is_told(bucket, tmp_path, source, said):
    """A prefix without digests, a bucket that is not there and a wrong address are told apart."""
    with pytest.raises(WeightsError, match=said):
        pull(Store(tmp_path), "r1", source, patience=HASTY)


def test_a_store_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    """Where nobody listens, the pull ends after its attempts and says what happened."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="EndpointConnectionError; given up after 2 attempts"):
        pull(Store(tmp_path), "r1", "s3://models/r1", patience=HASTY)
