"""Weights are pulled from hubs, which are doubles on loopback: lists, tokens, revisions."""

import json
import threading

import pytest

from baseload.engines.weights import find_weights, parts, pulling, sources
from baseload.engines.weights.bringing import Watcher
from baseload.engines.weights.pieces import WeightsError
from baseload.engines.weights.store import Store
from tests.engines.weights_kit import COMMIT, FILES, bring, gguf, serving, tree


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Let a file of three megabytes come in six ranges."""
    monkeypatch.setattr(parts, "CHUNK_BYTES", 128 * 1024)
    monkeypatch.setattr(pulling, "CHUNK_BYTES", 128 * 1024)
    monkeypatch.setattr(pulling, "RANGE_CHUNKS_MAX", 4)


@pytest.fixture
def web():
    with serving() as server:
        yield server


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_the_token_stays_with_the_hub(web, store):
    """A hub's token is shown to the hub, and not to the host that it redirects to."""
    with serving() as cdn:
        files = FILES | {"pytorch_model.bin": b"older", ".gitattributes": b"*"}
        web.put_hf("org/r1", files, {"model.safetensors"}, cdn)
        env = {"HF_ENDPOINT": web.url, "HF_TOKEN": "hf_secret"}
        manifest, _ = bring(store, "hf://org/r1", env=env)
        shown = {token for *_, token in web.asked}

    assert FILES == tree(store.folder("r1"))
    assert {"Bearer hf_secret"} == shown
    assert {None} == {token for *_, token in cdn.asked}
    assert COMMIT == manifest.revision
    assert 1 == len([at for _, at, *_ in web.asked if at.endswith(f"{COMMIT}/model.safetensors")])
    assert b"hf_secret" not in (store.folder("r1") / ".baseload-weights.json").read_bytes()


def test_a_signed_address_that_ran_out_is_asked_for_again(web, store):
    """When the place that a hub redirected to answers 403 later on, the hub is asked once more."""
    with serving() as cdn:
        web.put_hf("org/r1", FILES, {"model.safetensors"}, cdn)
        path = f"/org/r1/resolve/{COMMIT}/model.safetensors"
        cdn.first["/cdn/model.safetensors"] = []
        began = threading.Event()

        def on_bytes(_, count):
            if count and not began.is_set():
                began.set()
                cdn.first["/cdn/model.safetensors"].append((403, {}))

        bring(
            store, "hf://org/r1", env={"HF_ENDPOINT": web.url}, watcher=Watcher(on_bytes=on_bytes)
        )

    assert FILES == tree(store.folder("r1"))
    assert 1 <= len([at for _, at, *_ in web.asked if at == path]) <= 3


def test_a_newer_revision_replaces_the_model_at_one_stroke(web, store):
    """Files that stayed are not fetched again, and the old model is there until the new one is."""
    env = {"HF_ENDPOINT": web.url}
    web.put_hf("org/r1", FILES, {"model.safetensors"})
    bring(store, "hf://org/r1", env=env)
    web.put_hf("org/r1", FILES | {"a.txt": b"b"}, {"model.safetensors"}, commit="bead" * 10)
    web.files[f"/org/r1/resolve/{'bead' * 10}/a.txt"] = b"X"
    with pytest.raises(WeightsError, match="its digest is git:"):
        bring(store, "hf://org/r1", env=env)
    assert FILES == tree(store.folder("r1"))
    web.files[f"/org/r1/resolve/{'bead' * 10}/a.txt"] = b"b"
    manifest, _ = bring(store, "hf://org/r1", env=env)

    assert FILES | {"a.txt": b"b"} == tree(store.folder("r1"))
    assert "bead" * 10 == manifest.revision
    assert 0 == web.sent[f"/org/r1/resolve/{'bead' * 10}/model.safetensors"]


def test_modelscope_is_listed_with_its_digests(web, store):
    """Files come from ModelScope's addresses, held against the SHA-256 in its list."""
    web.put_ms("org/r1", FILES)
    env = {"MODELSCOPE_ENDPOINT": web.url, "MODELSCOPE_API_TOKEN": "ms_secret"}
    manifest, _ = bring(store, "ms://org/r1", env=env)

    assert FILES == tree(store.folder("r1"))
    assert (COMMIT, "ms://org/r1") == (manifest.revision, manifest.source)
    assert {"Bearer ms_secret"} == {token for *_, token in web.asked}
    assert {"m_session_id=ms_secret"} == web.cookies


def test_a_list_that_modelscope_cuts_is_not_believed(web, store, monkeypatch):
    """A list as long as the longest that is given may lack files, so nothing is pulled by it."""
    monkeypatch.setattr(sources, "MODELSCOPE_FILES_MAX", 1 + len(FILES))
    web.put_ms("org/r1", FILES)
    with pytest.raises(WeightsError, match=r"lists no more than 5 files"):
        bring(store, "ms://org/r1", env={"MODELSCOPE_ENDPOINT": web.url})


@pytest.mark.parametrize(
    "answer",
    [
        "null", "5", '"x"', "[1]", '{"a": 1}', "[[]]", '[{"type": "file", "path": 5}]',
        '[{"type": "file", "path": "a", "size": "x", "oid": "0"}]',
        '[{"type": "file", "path": "a", "size": -1, "oid": "0"}]',
        '[{"type": "file", "path": "a", "size": 1, "lfs": 5, "oid": "0"}]',
        '[{"type": "file", "path": "../a", "size": 1, "oid": "0"}]',
        '[{"type": "file", "path": "a\\u001b[2J", "size": 1, "oid": "0"}]',
        json.dumps([{"type": "file", "path": "a", "size": 1, "oid": "0"}] * 2), "[" * 5000,
    ],
    ids=range(14),
)  # fmt: skip
def test_a_hub_that_lists_nonsense_is_one_clear_error(web, store, answer):
    """Whatever a hub says instead of files is refused in words, and nothing of it is made."""
    web.put_hf("org/r1", FILES, set())
    at = f"/api/models/org/r1/tree/{COMMIT}?recursive=true"
    web.files[at], web.links = answer.encode(), {}
    with pytest.raises(WeightsError) as caught:
        bring(store, "hf://org/r1", env={"HF_ENDPOINT": web.url})

    assert str(caught.value).isprintable()
    assert {} == tree(store.root)


def test_a_list_that_goes_on_elsewhere_is_not_shown_the_token(web, store):
    """The next page of a list may lie at another host; the token stays with the hub."""
    tree_at = f"/api/models/org/r1/tree/{COMMIT}"
    with serving() as other:
        web.put_hf("org/r1", FILES, set())
        other.files[f"{tree_at}?cursor=2"] = web.files[f"{tree_at}?cursor=2"]
        web.links[f"{tree_at}?recursive=true"] = f'<{other.url}{tree_at}?cursor=2>; rel="next"'
        bring(store, "hf://org/r1", env={"HF_ENDPOINT": web.url, "HF_TOKEN": "hf_secret"})

    assert FILES == tree(store.folder("r1"))
    assert [None] == [token for *_, token in other.asked]


def test_of_several_models_one_is_named(web, store):
    """A repository of many quantisations is not pulled whole; a glob takes one of them."""
    files = {"config.json": b"{}", "m-Q4.gguf": gguf(), "m-Q8.gguf": gguf(128)}
    web.put_hf("org/m", files, set())
    env = {"HF_ENDPOINT": web.url}
    with pytest.raises(WeightsError, match=r"has 2 models: name one.*m-Q4\.gguf, m-Q8\.gguf"):
        bring(store, "hf://org/m", "m", env=env)
    bring(store, "hf://org/m/*Q8.gguf", "m", env=env)

    assert {"m-Q8.gguf": gguf(128)} == tree(store.folder("m"))
    assert store.folder("m") / "m-Q8.gguf" == find_weights("m", store.root)
    with pytest.raises(WeightsError, match="came from hf://org/m/"):
        bring(store, "hf://org/m/*Q4.gguf", "m", env=env)
