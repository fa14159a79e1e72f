"""The small parts of bringing weights: copying blocks, waiting as told, redirects, what is chosen."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from baseload.engines.weights import find_weights
from baseload.engines.weights.copying import STARVED, Spent, Task, copy
from baseload.engines.weights.hashing import CHUNK_BYTES, digests_of
from baseload.engines.weights.pieces import Piece, WeightsError, chosen, first_shard, sums_of
from baseload.engines.weights.sources import name_of
from baseload.engines.weights.store import FileRecord, store_path
from baseload.engines.weights.wire import RETRY_AFTER_MAX_S, led_to, retry_after_s
from baseload.errors import EngineError
from tests.engines.weights_kit import safetensors, serving

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "size", [0, 1, 4095, 4096, 4097, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 4097]
)
def test_any_size_is_copied_to_the_last_byte(tmp_path, size):
    """Blocks are aligned, files are not: the copy ends where its source does, and is verified."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(os.urandom(size))
    found = digests_of(source, "", size)
    record = FileRecord(path="a", size_bytes=size, sha256=found.sha256, chunks=found.chunks)
    target.write_bytes(b"what was there before, and longer" * 1000)
    done = copy([Task(source, target, size, record)])

    assert source.read_bytes() == target.read_bytes()
    assert size == done.size_bytes


def test_a_source_that_ends_early_is_named(tmp_path):
    """A file that shrank since it was listed is an error and no shorter copy."""
    (tmp_path / "a").write_bytes(bytes(5000))
    with pytest.raises(WeightsError, match="a is cut short: it ends at byte"):
        copy([Task(tmp_path / "a", tmp_path / "b", 9000)])


def test_what_bound_a_copy_is_told_from_waiting_for_a_core():
    """The longest step bound it, unless reckoning shows that all steps waited for a core."""
    assert ("write", 0.5) == Spent(read=1, hash=1, write=2, hash_core=1).bound()
    assert ("hash", 0.25) == Spent(read=1, hash=1, write=2, hash_core=0.9 / STARVED).bound()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0), ("Thu, 26 Nov 2026 12:00:05 GMT", 5.0), ("Thu, 26 Nov 2026 11:00:00 GMT", 0.0),
        ("", 0.0), ("soon", 0.0), ("-3", 0.0), ("9" * 40, RETRY_AFTER_MAX_S),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms_and_bounded(text, seconds):
    """Seconds and dates are understood, what is neither asks for no wait, and none is too long."""
    assert seconds == retry_after_s(text, NOW)


def test_redirects_stay_as_safe_as_they_were():
    """A redirect leads to a web address, and from https never to http."""
    assert "https://b/x" == led_to("https://a/y", "https://b/x", "f")
    assert "https://a/x" == led_to("https://a/y", "/x", "f")
    for to in ("http://b/x", "file:///etc/passwd", ""):
        with pytest.raises(WeightsError, match="redirected"):
            led_to("https://a/y", to, "f")


def test_redirects_end(tmp_path):
    """A circle of redirects is left after a few."""
    from baseload.engines.weights.wire import Wire  # noqa: PLC0415

    with serving() as web:
        web.redirects["/a"] = "/a"
        wire = Wire()
        with pytest.raises(WeightsError, match="redirected more than"):
            wire.text(f"{web.url}/a", "a")
        wire.close()


def pieces(*paths):
    return [Piece(path, 1, "", path) for path in paths]


@pytest.mark.parametrize(
    ("paths", "pattern", "taken"),
    [
        ("config.json m.safetensors pytorch_model.bin m.gguf", "", "config.json m.safetensors"),
        ("m.gguf README.md x.pt", "", "m.gguf README.md"),
        ("m-00001-of-00002.gguf m-00002-of-00002.gguf", "", "m-00001-of-00002.gguf m-00002-of-00002.gguf"),
        ("a.gguf b.gguf", "a.*", "a.gguf"),
        ("d/a.gguf d/b.gguf", "d/b.gguf", "d/b.gguf"),
    ],
)  # fmt: skip
def test_what_an_engine_reads_is_chosen(paths, pattern, taken):
    """Safetensors before all else, then the one GGUF model, whole; a glob where it is wanted."""
    found = chosen(pieces(*paths.split()), pattern, "hf://a/b")

    assert taken.split() == [piece.path for piece in found]


def test_a_pickle_is_refused_where_it_is_asked_for():
    """A glob that names pickles gets none, and a source of nothing like it says what it has."""
    with pytest.raises(WeightsError, match=r"x\.bin is a pickle"):
        chosen(pieces("x.bin", "m.safetensors"), "*.bin", "hf://a/b")
    with pytest.raises(WeightsError, match=r"has no file like \*\.gguf; it has m\.safetensors"):
        chosen(pieces("m.safetensors"), "*.gguf", "hf://a/b")


def test_names_come_from_addresses():
    """A model is called like its repository, folder or file, unless a name is given."""
    assert "R1" == name_of("hf://deepseek-ai/R1@main/x.gguf")
    assert "R1" == name_of("ms://deepseek-ai/R1")
    assert "r1" == name_of("https://models.example/x/r1/")
    assert "m-Q4" == name_of("https://models.example/m-Q4.gguf")
    assert "m" == name_of("/data/m.gguf") == name_of("file:///data/m.gguf")
    assert "r1" == name_of("s3://bucket/models/r1")


def test_sums_are_read_strictly():
    """Lines of SHA256SUMS are digest and name; others are refused."""
    assert {"a b": "sha256:" + "0" * 64} == sums_of(f"{'0' * 64} *./a b\n\n", "SUMS")
    with pytest.raises(WeightsError, match="no digest and file"):
        sums_of("0123  a\n", "SUMS")


def test_the_first_shard_stands_for_a_model():
    """Of a split model, its first file is what an engine is given."""
    split = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]

    assert split[:1] == first_shard(split)
    assert ["a.gguf"] == first_shard(["a.gguf"])


def test_the_store_is_where_it_is_said_to_be(tmp_path):
    """An option goes before the variable, the variable before the fleet's state directory."""
    assert Path("/a") == store_path(Path("/a"), "/c", {"BASELOAD_WEIGHTS": "/b"})
    assert Path("/b") == store_path(None, "/c", {"BASELOAD_WEIGHTS": "/b"})
    assert Path("/c/weights") == store_path(None, "/c", {})


def test_a_folder_of_safetensors_is_a_model(tmp_path):
    """A folder is given as it is if it is a model; what it lacks, or is damaged, is told."""
    with pytest.raises(EngineError, match=r"has no config\.json"):
        find_weights(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "m.safetensors").write_bytes(safetensors(1000))
    assert tmp_path == find_weights(str(tmp_path))
    (tmp_path / "m.safetensors").write_bytes(safetensors(1000)[:-1])
    with pytest.raises(EngineError, match=r"m\.safetensors is cut short"):
        find_weights(str(tmp_path))
