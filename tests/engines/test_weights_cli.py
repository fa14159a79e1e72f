"""`baseload weights` as people run it: killed, out of room, and asked for everything that it can."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from baseload.cli.weights import weights
from baseload.engines.weights.parts import CHUNK_BYTES, RANGE_CHUNKS_MAX
from tests.engines.engine_kit import MODEL as KNOWN
from tests.engines.engine_kit import until
from tests.engines.weights_kit import gguf, safetensors, serving, tree

CHUNKS = 10
MODEL = safetensors(CHUNKS * CHUNK_BYTES - 100)
FILES = {"config.json": b"{}", "model.safetensors": MODEL}
AT = "/r1/model.safetensors"
PART, JOURNAL = ".model.safetensors.part", ".model.safetensors.ranges"
RUN_MAX_S = 60
IN_FLIGHT_MAX = -(-CHUNKS // RANGE_CHUNKS_MAX) + 1
"""Chunks that are half there at any time, one for each range, and what sockets hold."""


@pytest.fixture(scope="module")
def web():
    with serving() as server:
        server.put_sums("r1", FILES)
        server.put_sums("tiny", {"m.gguf": gguf()})
        yield server


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def command(store, *words):
    return [sys.executable, "-m", "baseload", "weights", *words, "--dir", str(store)]


def environment(**more):
    paths = os.pathsep.join(path for path in sys.path if path)
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": paths, **more}


def run(store, *words, code=0, cwd="/", typed=""):
    """Run a verb in this process; give what it printed, standard error too."""
    with contextlib.chdir(cwd):
        told = CliRunner().invoke(weights, [*words, "--dir", str(store)], input=typed)
    assert code == told.exit_code, told.output
    return told.output


def run_apart(store, *words, code=0, env=None, **more):
    """Run a verb in a process of its own; give what it printed, standard error last."""
    done = subprocess.run(
        command(store, *words), env=env or environment(), cwd="/", capture_output=True, text=True,
        timeout=RUN_MAX_S, check=False, **more,
    )  # fmt: skip
    assert code == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


def noted(store):
    """Give how many chunks the journal has."""
    journal = store / ".incoming/r1" / JOURNAL
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0


def test_a_killed_pull_goes_on(web, store):
    """Killed with SIGKILL, a pull leaves no model; the next fetches little twice, and is right."""
    kill_after = 3
    web.sent.clear()
    web.pace_s[AT] = 0.004
    process = subprocess.Popen(command(store, "pull", f"{web.url}/r1/"), env=environment(), cwd="/")
    until(lambda: noted(store) >= kill_after)
    process.send_signal(signal.SIGKILL)
    process.wait(RUN_MAX_S)
    web.pace_s.clear()
    had = noted(store)
    assert not (store / "r1").exists()
    assert "coming" in run(store, "list")
    run(store, "pull", f"{web.url}/r1/")

    assert FILES == tree(store / "r1")
    assert kill_after <= had < CHUNKS
    assert web.sent[AT] <= len(MODEL) + IN_FLIGHT_MAX * CHUNK_BYTES
    assert {} == tree(store / ".incoming")


def test_a_journal_that_was_cut_or_is_anothers_is_not_believed(web, store):
    """A line that was cut is not read, and a journal of another file begins the part anew."""
    folder = store / ".incoming/r1"
    folder.mkdir(parents=True)
    (folder / PART).write_bytes(b"rubbish")
    (folder / JOURNAL).write_bytes(b'{"size_bytes": 1, "digest": "", "chunk_bytes": 8}\n0\n1')
    run(store, "pull", f"{web.url}/r1/")

    assert FILES == tree(store / "r1")


def test_a_disk_that_fills_up_is_told_and_nothing_is_lost(web, store):
    """Where no more can be written, a pull says so and goes on later from what is there.

    A limit on the size of files stands for the full disk: the kernel refuses the write in the same
    place, with EFBIG instead of ENOSPC.
    """
    size = 4 * CHUNK_BYTES

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    said = run_apart(store, "pull", f"{web.url}/r1/", code=1, preexec_fn=limit)
    had = noted(store)
    web.sent.clear()
    run(store, "pull", f"{web.url}/r1/")

    assert "is full" in said
    assert "the same command goes on from there" in said
    assert FILES == tree(store / "r1")
    assert len(MODEL) - had * CHUNK_BYTES == web.sent[AT]


def test_a_damaged_model_is_named_and_mended(web, store):
    """A flipped byte is found by verify, kept from engines, and mended by a pull of one file."""
    run(store, "pull", f"{web.url}/r1/")
    path = store / "r1/model.safetensors"
    with path.open("r+b") as file:
        file.seek(20_000_000)
        byte = file.read(1)
        file.seek(20_000_000)
        file.write(bytes([byte[0] ^ 0x10]))
    said = run(store, "verify", "r1", code=1)
    report = json.loads(run(store, "verify", "--json", code=1).splitlines()[-1])
    web.sent.clear()
    run(store, "pull", f"{web.url}/r1/")

    assert "r1: model.safetensors is damaged between bytes 16777216 and 33554432" in said
    assert ("r1", False) == (report["name"], report["sound"])
    assert FILES == tree(store / "r1")
    assert 0 == web.sent["/r1/config.json"]
    assert "as they came from" in run(store, "verify")
    with path.open("r+b") as file:
        file.truncate(1000)
    assert "model.safetensors is cut short: 1000 bytes" in run(store, "verify", "r1", code=1)


def test_scripts_are_told_line_by_line(web, store):
    """With --json each line is an object: what is listed, each file, and the end."""
    lines = [
        json.loads(line) for line in run(store, "pull", f"{web.url}/r1/", "--json").splitlines()
    ]
    events = [line["event"] for line in lines if line["event"] != "progress"]

    assert ["listed", "file", "file", "done"] == events
    assert len(MODEL) + 2 == lines[-1]["size_bytes"]


def test_a_staged_model_is_whole_and_a_damaged_one_is_not_staged(web, store, tmp_path):
    """Staging verifies what it copies, says what bound it, and leaves nothing of what is wrong."""
    run(store, "pull", f"{web.url}/r1/")
    nvme = tmp_path / "nvme"
    lines = run(store, "stage", "r1", "--to", str(nvme), "--report", "--json").splitlines()
    told = json.loads(lines[-1])
    again = run(store, "stage", "r1", "--to", str(nvme))

    assert FILES == tree(nvme / "r1")
    assert told["bound_by"] in {"read", "hash", "write"}
    assert {"read_bytes_s", "write_bytes_s", "copy_bytes_s"} == set(told["pair"])
    assert told["ratio"] > 0
    assert len(MODEL) + 2 == told["load"]["target"]["size_bytes"] == told["size_bytes"]
    assert "already" in again
    run(nvme, "verify", "r1")
    with (store / "r1/model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"X")
    said = run(store, "stage", "r1", "--to", str(tmp_path / "other"), code=1)
    assert "model.safetensors is not as it came" in said
    assert {} == tree(tmp_path / "other")


def test_pruning_keeps_what_backends_use_and_never_leaves_the_store(web, store, tmp_path):
    """What no backend uses goes after a question; links are removed, and what they lead to stays."""
    for name in ("used", "unused"):
        run(store, "pull", f"{web.url}/tiny/", "--name", name)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (store / "linked").symlink_to(outside)
    (store / "unused/link").symlink_to(outside)
    (store / ".incoming/half").mkdir()
    (store / ".incoming/half/.m.part").write_bytes(bytes(5000))
    fleet = {
        "backends": {"edge": {"engine": "llama.cpp", "model": "used"}},
        "models": {"m": {"tiers": [{"edge": {"model": "m"}}]}},
    }
    (tmp_path / "baseload.yaml").write_text(json.dumps(fleet))
    dry = run(store, "prune", "--dry-run", cwd=tmp_path)
    asked = run(store, "prune", cwd=tmp_path, code=1, typed="n\n")
    kept = run(store, "prune", "used", "--yes", cwd=tmp_path, code=1)
    odd = run(store, "prune", "../outside", "--yes", cwd=tmp_path, code=1)
    assert (store / "unused").is_dir()
    assert "edge" in run(store, "list", cwd=tmp_path)
    run(store, "prune", "--yes", cwd=tmp_path)

    assert "unused: model" in dry
    assert "half: part" in dry
    assert "linked" not in dry
    assert "remove 2 from" in asked
    assert "used is used by edge: it stays" in kept
    assert "not in" in odd
    assert ["linked", "used"] == sorted(
        each.name for each in store.iterdir() if each.name[0] != "."
    )
    assert "x" == (outside / "precious").read_text()
    assert {} == tree(store / ".incoming")


def test_a_link_in_place_of_the_stores_own_folders_is_refused(web, store, tmp_path):
    """Where parts are kept elsewhere by a link, nothing is removed or written behind it."""
    (tmp_path / "elsewhere/tiny").mkdir(parents=True)
    store.mkdir()
    (store / ".incoming").symlink_to(tmp_path / "elsewhere")

    assert "is a link" in run(store, "pull", f"{web.url}/tiny/", code=1)
    assert "nothing to remove" in run(store, "prune", "--yes")
    assert (tmp_path / "elsewhere/tiny").is_dir()


def test_an_engine_runs_a_model_by_its_name_in_the_store(real_engine, store, monkeypatch):
    """The real model, pulled from a path, is found by the name that it has in the store."""
    from baseload.engines.weights import find_weights  # noqa: PLC0415

    run(store, "pull", str(find_weights(KNOWN)), "--name", "small")
    monkeypatch.setenv("BASELOAD_WEIGHTS", str(store))

    assert store / "small" == find_weights("small").parent
    assert find_weights(KNOWN).stat().st_size == find_weights("small").stat().st_size


def test_what_cannot_be_is_one_clear_line(store, tmp_path):
    """Missing libraries, odd names and unknown sources end with exit code 1 and one line."""
    (tmp_path / "httpx.py").write_text("raise ImportError")
    env = environment(PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[2] / 'src'}")
    said = run_apart(store, "pull", "https://models.invalid/r1/", code=1, env=env)

    assert "httpx is not installed: run `pip install 'baseload[weights]'`\n" == said
    for words, code, said in (
        (["pull", "ftp://x/y"], 1, "ftp:// is no source"),
        (["pull", "x", "--name", ".."], 1, "no model can be called '..'"),
        (["pull", "/no/where"], 1, "there is no file and no folder"),
        (["verify", "r9"], 1, "is not there in"),
        (["stage"], 2, "Missing argument"),
    ):
        assert said in run(store, *words, code=code)
