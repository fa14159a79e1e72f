"""Weights are pulled from servers on loopback, through every trouble that servers make."""

import time

import pytest

from baseload.engines.weights import find_weights, parts, pulling
from baseload.engines.weights.pieces import WeightsError
from baseload.engines.weights.staging import stage
from baseload.engines.weights.store import Store
from tests.engines.weights_kit import FILES, MODEL, bring, gguf, serving, sha256, tree

CHUNK = 128 * 1024
AT = "/r1/model.safetensors"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Let a file of three megabytes have two dozen chunks, in ranges of four."""
    for module in (parts, pulling):
        monkeypatch.setattr(module, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(pulling, "RANGE_CHUNKS_MAX", 4)


@pytest.fixture
def web():
    with serving() as server:
        server.put_sums("r1", FILES)
        yield server


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def ranges(web, path=AT):
    return sorted(asked for _, at, asked, _ in web.asked if at == path and asked)


def test_a_model_comes_in_ranges_and_only_once(web, store):
    """Files lie as at the source, a large one came in ranges, and a second pull fetches nothing."""
    manifest, is_new = bring(store, f"{web.url}/r1/")
    sent = web.sent.copy()
    again, is_new_again = bring(store, f"{web.url}/r1/")

    assert FILES == tree(store.folder("r1"))
    assert (True, False) == (is_new, is_new_again)
    assert manifest == again
    assert sha256(MODEL) == next(f.sha256 for f in manifest.files if f.path.startswith("model"))
    assert 6 == len(ranges(web))
    assert len(MODEL) == sent[AT] == web.sent[AT]
    assert store.folder("r1") == find_weights("r1", store.root)


def test_a_server_without_ranges_gives_the_file_once(web, store):
    """Where a server knows no ranges, its one answer is the file, and nobody asks beside it."""
    web.has_ranges = False
    bring(store, f"{web.url}/r1/")

    assert FILES == tree(store.folder("r1"))
    assert len(MODEL) == web.sent[AT]


def test_what_counts_is_which_part_came(web, store):
    """A part that comes with status 200 is a part, as ModelScope answers."""
    web.status_of_ranges = 200
    bring(store, f"{web.url}/r1/")

    assert FILES == tree(store.folder("r1"))


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_connection_that_breaks_is_taken_up_again(web, store, has_ranges):
    """Breaking off costs what was not noted yet, or, without ranges, one more answer."""
    web.has_ranges = has_ranges
    web.cuts[AT] = [CHUNK + 5, 0, 1] if has_ranges else [2 * CHUNK + 5, 1]
    bring(store, f"{web.url}/r1/")

    assert FILES == tree(store.folder("r1"))
    assert not web.cuts[AT]
    if has_ranges:
        assert web.sent[AT] < len(MODEL) + CHUNK


def test_busy_servers_say_when_to_come_back(web, store):
    """429 and 503 are asked again after the time that they name, and no sooner."""
    web.first[AT] = [(429, {"Retry-After": "1"}), (503, {})]
    began_s = time.monotonic()
    bring(store, f"{web.url}/r1/")

    assert time.monotonic() - began_s >= 1
    assert FILES == tree(store.folder("r1"))


@pytest.mark.parametrize(
    ("status", "said"),
    [(404, "no such model"), (403, "may not be read"), (401, "not open to all"), (400, "no use")],
)
def test_refusals_are_told_in_words_and_not_asked_again(web, store, status, said):
    """What a server refuses for good ends the pull at once, and the file is named."""
    web.first[AT] = [(200, {"Content-Length": str(len(MODEL))}), (status, {})]
    with pytest.raises(WeightsError, match=f"model.safetensors: {status}: .*{said}"):
        bring(store, f"{web.url}/r1/")

    assert [] == store.names()


def test_giving_up_keeps_what_came(web, store):
    """A server that stays broken is given up after a few attempts; the next pull goes on."""
    web.cuts[AT] = [2 * CHUNK + 1] + [0] * 40
    with pytest.raises(WeightsError, match=r"given up after 4 attempts\. What came is kept"):
        bring(store, f"{web.url}/r1/")
    assert [] == store.names()
    assert "r1" in store.parts()
    web.cuts.clear()
    bring(store, f"{web.url}/r1/")

    assert FILES == tree(store.folder("r1"))
    assert web.sent[AT] < len(MODEL) + CHUNK
    assert {} == store.parts()


def test_a_file_that_changes_meanwhile_is_begun_anew(web, store):
    """Parts of two versions are never put together: another ETag begins the file anew."""
    web.etags[AT] = '"one"'
    web.cuts[AT] = [2 * CHUNK + 1] + [0] * 40
    with pytest.raises(WeightsError, match="given up"):
        bring(store, f"{web.url}/r1/")
    web.cuts.clear()
    web.etags[AT] = '"two"'
    web.sent.clear()
    bring(store, f"{web.url}/r1/")

    assert FILES == tree(store.folder("r1"))
    assert web.sent[AT] >= len(MODEL)


def test_another_size_than_was_listed_is_told(web, store):
    """A length that lies, in the list or in the answer, is no reason to name half a file."""
    web.first[AT] = [(200, {"Content-Length": str(len(MODEL) + 7)})]
    with pytest.raises(WeightsError, match=f"{len(MODEL)} bytes; {len(MODEL) + 7} were listed"):
        bring(store, f"{web.url}/r1/")
    web.has_ranges = False
    web.lengths["/r1/config.json"] = 50
    with pytest.raises(WeightsError, match=r"config\.json: .*given up after 4 attempts"):
        bring(store, f"{web.url}/r1/")

    assert [] == store.names()


@pytest.mark.parametrize("path", ["config.json", "model.safetensors"])
def test_a_flipped_byte_is_refused_and_removed(web, store, path):
    """A file that is not what its digest says gets no name; the next pull fetches it anew."""
    whole = FILES[path]
    web.files[f"/r1/{path}"] = whole[:-1] + bytes([whole[-1] ^ 1])
    with pytest.raises(WeightsError, match=f"{path}: its digest is sha256:"):
        bring(store, f"{web.url}/r1/")
    assert [] == store.names()
    web.files[f"/r1/{path}"] = whole
    bring(store, f"{web.url}/r1/")

    assert FILES == tree(store.folder("r1"))


def test_hidden_and_outer_files_are_refused(web, store):
    """A list cannot name a file outside the model's folder, or one that hides in it."""
    for name in ("../evil", "/etc/evil", "a/../evil", "a//b", ".bashrc", "a/.b", "a\\b"):
        web.files["/r1/SHA256SUMS"] = f"{'0' * 64}  {name}\n".encode()
        with pytest.raises(WeightsError, match="outside its folder, or hide"):
            bring(store, f"{web.url}/r1/")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x.pt", "x.ckpt", "X.PKL", "x.pth"])
def test_pickles_are_never_fetched(web, store, name):
    """A model that comes as a pickle is refused by name, before a byte of it is asked for."""
    web.put_sums("old", {"config.json": b"{}", name: b"\x80\x04."})
    with pytest.raises(WeightsError, match=f"{name} is a pickle"):
        bring(store, f"{web.url}/old/")

    assert 0 == web.sent[f"/old/{name}"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.safetensors", b"PK\x03\x04 data.pkl", "is a pickle"),
        ("notes.txt", b"\x80\x04\x95\x00", "is a pickle"),
        ("a.safetensors", MODEL[:-1], "is cut short"),
        ("a.gguf", gguf()[:-1], "is cut short"),
        ("a.gguf", b"<html>", "is not a GGUF model"),
    ],
)
def test_poisoned_files_are_refused_though_their_digest_is_right(web, store, name, content, said):
    """What its source damaged or disguised is named and removed."""
    web.put_sums("bad", {name: content})
    with pytest.raises(WeightsError, match=f"{name} {said}"):
        bring(store, f"{web.url}/bad/", "bad")

    assert [] == store.names()


def test_a_missing_shard_is_named(web, store):
    """An index that names a shard which is not there makes no whole model."""
    index = b'{"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}'
    web.put_sums("r2", FILES | {"model.safetensors.index.json": index})
    with pytest.raises(WeightsError, match=r"names 'model-2\.safetensors', which is not among"):
        bring(store, f"{web.url}/r2/")


@pytest.mark.parametrize("path", ["SHA256SUMS", "model.safetensors"])
def test_what_comes_packed_is_refused(web, store, path):
    """A packed answer might unpack to any size; it is refused before it is read."""
    web.packing[f"/r1/{path}"] = "gzip"
    with pytest.raises(WeightsError, match=f"{path}: the server packs it"):
        bring(store, f"{web.url}/r1/")

    assert [] == store.names()


def test_one_file_comes_by_its_digest(web, store):
    """A single https file needs its digest, and without one nothing is fetched."""
    web.files["/m.gguf"] = gguf()
    with pytest.raises(WeightsError, match="What has no digests is not fetched"):
        bring(store, f"{web.url}/m.gguf", "m")
    bring(store, f"{web.url}/m.gguf", "m", sha256=sha256(gguf()))

    assert {"m.gguf": gguf()} == tree(store.folder("m"))
    web.files["/a%20b.gguf"] = gguf()
    bring(store, f"{web.url}/a%20b.gguf", "a", sha256=sha256(gguf()))
    assert {"a b.gguf": gguf()} == tree(store.folder("a"))
    for url in ("http://:word@h/m.gguf", "http://h/m.gguf?key=x", "http://me@h/m.gguf"):
        with pytest.raises(WeightsError, match="may be secret"):
            bring(store, url, "m2")
    with pytest.raises(WeightsError, match="outside its folder"):
        bring(store, f"{web.url}/%2e%2e%2fm.gguf", "m2", sha256="0" * 64)


def test_a_part_of_a_split_model_is_not_a_whole_one(web, store):
    """Parts are counted by their names, and the one that is missing is named."""
    files = {f"d/m-0000{number}-of-00003.gguf": gguf() for number in (1, 3)}
    web.put_sums("split", files)
    with pytest.raises(WeightsError, match=r"its part 'd/m-00002-of-00003\.gguf' is not among"):
        bring(store, f"{web.url}/split/")
    web.put_sums("split", files | {"d/m-00002-of-00003.gguf": gguf()})
    bring(store, f"{web.url}/split/")

    assert "d/m-00001-of-00003.gguf" in tree(store.folder("r1"))


def test_a_folder_that_no_pull_brought_is_left_alone(web, store, tmp_path):
    """Neither pulling nor staging nor removing touches what only has a model's name."""
    bring(store, f"{web.url}/r1/")
    (tmp_path / "outside").mkdir()
    (store.root / "linked").symlink_to(tmp_path / "outside")
    other = Store(tmp_path / "other")
    for place in (store.root / "mine", other.root / "r1"):
        place.mkdir(parents=True)
        (place / "precious").write_text("x")
    for name in ("mine", "linked"):
        with pytest.raises(WeightsError, match="no model of this store: it stays"):
            bring(store, f"{web.url}/r1/", name)
        with store.locked(name), pytest.raises(WeightsError, match="it stays"):
            store.remove(name)
    with pytest.raises(WeightsError, match="it stays"):
        stage(store, "r1", other)

    assert ["r1"] == store.names()
    assert {"precious": b"x"} == tree(store.root / "mine") == tree(other.root / "r1")
    assert (store.root / "linked").is_symlink()


def test_two_pulls_of_one_model_do_not_meet(web, store):
    """While a model is being pulled, another pull of it is told so and changes nothing."""
    with store.locked("r1"), pytest.raises(WeightsError, match="changed by another process"):
        bring(store, f"{web.url}/r1/")
    bring(store, f"{web.url}/r1/")

    assert FILES == tree(store.folder("r1"))


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(web, store):
    """Need, room and place are named, and no file is asked for."""
    web.first[AT] = [(200, {"Content-Length": str(10**18)})]
    with pytest.raises(WeightsError, match=r"more bytes are needed in .*are free: make room"):
        bring(store, f"{web.url}/r1/")

    assert {"HEAD"} == {method for method, path, *_ in web.asked if "SUMS" not in path}
