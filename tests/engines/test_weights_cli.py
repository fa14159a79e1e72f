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


def test_two_pulls_in_two_processes_do_not_meet(web, store):
    """While one process pulls, others that would change the model are told so; it goes on."""
    web.sent.clear()
    web.pace_s[AT] = 0.004
    first = subprocess.Popen(command(store, "pull", f"{web.url}/r1/"), env=environment(), cwd="/")
    until(lambda: noted(store) >= 1)
    web.pace_s[AT] = 1.0  # It cannot end before the others were answered.
    said = run_apart(store, "pull", f"{web.url}/r1/", code=1)
    kept = run_apart(store, "prune", "r1", "--yes", code=1)
    is_pulling = first.poll() is None
    web.pace_s.clear()

    assert "r1 is being changed by another process" in said
    assert "r1 is being changed by another process" in kept
    assert is_pulling
    assert 0 == first.wait(RUN_MAX_S)
    assert FILES == tree(store / "r1")
    assert len(MODEL) == web.sent[AT]


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


def test_what_a_backend_names_by_path_is_used(web, store, tmp_path):
    """A path into the store, absolute, relative or behind a link, keeps its model from pruning."""
    for name in ("path", "draft", "linked", "unused"):
        run(store, "pull", f"{web.url}/tiny/", "--name", name)
    (tmp_path / "other").symlink_to(store)
    (store / "broken").mkdir()
    (store / "broken/.baseload-weights.json").write_text("{")
    backends = {
        "a": {"engine": "llama.cpp", "model": str(store / "path/m.gguf")},
        "b": {"engine": "llama.cpp", "model": "store/path/m.gguf",
              "serve": {"draft": "store/draft/m.gguf"}},
        "c": {"engine": "llama.cpp", "model": f"{tmp_path}/other/linked/m.gguf"},
        "d": {"engine": "llama.cpp", "model": "broken"},
    }  # fmt: skip
    fleet = {"backends": backends, "models": {"m": {"tiers": [{"a": {"model": "m"}}]}}}
    (tmp_path / "baseload.yaml").write_text(json.dumps(fleet))
    rows = [json.loads(line) for line in run(store, "list", "--json", cwd=tmp_path).splitlines()]
    dry = run(store, "prune", "--dry-run", cwd=tmp_path)
    kept = run(store, "prune", "draft", "--yes", cwd=tmp_path, code=1)

    used = {"broken": ["d"], "draft": ["b"], "linked": ["c"], "path": ["a", "b"], "unused": []}
    assert used == {row["name"]: row["used_by"] for row in rows}
    assert ["unused: model", "no backend of"] == [line[:13] for line in dry.splitlines()]
    assert "draft is used by b: it stays" in kept


def test_only_models_are_listed_and_removed(web, store):
    """A store may lie among other folders: they are not its own, and stay."""
    run(store, "pull", f"{web.url}/tiny/", "--name", "tiny")
    (store / "mine").mkdir()
    (store / "mine/precious").write_text("x")
    said = run(store, "prune", "mine", "--yes", code=1)
    run(store, "prune", "--yes")

    assert "not in" in said
    assert {"precious": b"x"} == tree(store / "mine")
    assert "no models in" in run(store, "list")
    assert "no models in" in run(store, "verify")


def test_a_model_whose_manifest_is_broken_is_not_sound(web, store):
    """Verifying goes on with the others, says so, and a pull mends it; list says what is damaged."""
    for name in ("a", "b"):
        run(store, "pull", f"{web.url}/tiny/", "--name", name)
    (store / "a/.baseload-weights.json").write_text("{")
    (store / "b/m.gguf").write_bytes(b"GGUF")
    said = run(store, "verify", code=1)
    rows = [json.loads(line) for line in run(store, "list", "--json").splitlines()]
    for name in ("a", "b"):
        run(store, "pull", f"{web.url}/tiny/", "--name", name)

    assert "a: has no manifest that can be read" in said
    assert "b: m.gguf is cut short" in said
    assert ["not whole", "damaged"] == [row["state"] for row in rows]
    assert "as they came from" in run(store, "verify")


def test_a_model_of_empty_files_is_staged_and_measured(store, tmp_path):
    """Where there is nothing to read no rate is divided by, and a planted link is not followed."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/config.json").write_bytes(b"")
    run(store, "pull", str(tmp_path / "empty"))
    (tmp_path / "precious").write_text("x")
    (tmp_path / "nvme").mkdir()
    (tmp_path / "nvme/.measure").symlink_to(tmp_path / "precious")
    words = ["stage", "empty", "--to", str(tmp_path / "nvme"), "--report"]

    assert "symbolic links" in run(store, *words, code=1)
    assert "x" == (tmp_path / "precious").read_text()
    assert "0 MB in" in run(store, *words)


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
