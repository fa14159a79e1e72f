"""Weights are staged by the script that pods run, from a server of real files."""

import json

import pytest

from tests.render.weights import run, serving

MODEL = bytes(range(256)) * 4096
FILES = {"config.json": b'{"a": 1}', "model.safetensors": MODEL, "more/tokens.txt": b"a b"}


@pytest.fixture
def server():
    with serving() as found:
        found.put("r1", FILES)
        yield found


def _staged(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".staged"
    }


def test_all_files_come_and_are_not_asked_for_again(server, tmp_path):
    """Weights lie in the folder as they are at the source, and a second start asks nobody."""
    first = run(f"{server.url}/r1/", tmp_path / "r1")
    asked = len(server.asked)
    second = run(f"{server.url}/r1/", tmp_path / "r1")

    assert (0, 0) == (first[0], second[0])
    assert FILES == _staged(tmp_path / "r1")
    assert "3 files" in second[1]
    assert "here already" in second[1]
    assert asked == len(server.asked)


def test_a_flipped_byte_is_refused(server, tmp_path):
    """What is not what its digest says gets no name, and the next start fetches it anew."""
    server.files["/r1/model.safetensors"] = b"X" + MODEL[1:]
    status, said = run(f"{server.url}/r1", tmp_path)

    assert 1 == status
    assert "refused: model.safetensors: its sha256 digest is" in said
    assert "model.safetensors" not in _staged(tmp_path)
    server.files["/r1/model.safetensors"] = MODEL
    assert 0 == run(f"{server.url}/r1", tmp_path)[0]
    assert FILES == _staged(tmp_path)


@pytest.mark.parametrize("has_ranges", [True, False])
def test_half_a_file_is_gone_on_with(server, tmp_path, has_ranges):
    """A part that is there is not fetched again, unless the server can only give all of it."""
    server.has_ranges = has_ranges
    (tmp_path / ".model.safetensors.part").write_bytes(MODEL[:500_000])
    (tmp_path / ".staged").write_text(json.dumps({"source": f"{server.url}/r1/", "files": {}}))
    status, _ = run(f"{server.url}/r1/", tmp_path)

    assert 0 == status
    assert FILES == _staged(tmp_path)
    assert ("GET", "/r1/model.safetensors", "bytes=500000-", None) in server.asked


def test_a_connection_that_ends_is_taken_up_again(server, tmp_path):
    """A network that fails half way costs what is missing, not the whole file."""
    server.cuts["/r1/model.safetensors"] = 700_000
    status, _ = run(f"{server.url}/r1/", tmp_path)

    assert 0 == status
    assert FILES == _staged(tmp_path)
    assert ("GET", "/r1/model.safetensors", "bytes=700000-", None) in server.asked


def test_weights_without_digests_are_refused(server, tmp_path):
    """Nothing is run that nobody can verify."""
    del server.files["/r1/SHA256SUMS"]
    status, said = run(f"{server.url}/r1/", tmp_path)

    assert 1 == status
    assert "SHA256SUMS: 404; nothing is run that has no digests" in said
    assert {} == _staged(tmp_path)


def test_a_disk_that_is_too_small_is_refused_before_the_first_byte(server, tmp_path):
    """Room is looked at first: half a model on a full disk helps nobody."""
    server.claims["/r1/model.safetensors"] = 10**18
    status, said = run(f"{server.url}/r1/", tmp_path)

    assert 1 == status
    assert "more bytes are needed" in said
    assert [] == [
        path for method, path, *_ in server.asked if method == "GET" and "SUMS" not in path
    ]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a//b"])
def test_files_stay_in_their_folder(server, tmp_path, name):
    """A list of files cannot name one elsewhere."""
    server.files["/r1/SHA256SUMS"] = f"{'0' * 64}  {name}\n".encode()
    status, said = run(f"{server.url}/r1/", tmp_path / "in")

    assert 1 == status
    assert "is outside the folder" in said


def test_a_file_that_is_not_there_is_refused_at_once(server, tmp_path):
    """What a server says it has not is not asked for five times."""
    del server.files["/r1/more/tokens.txt"]
    status, said = run(f"{server.url}/r1/", tmp_path)

    assert 1 == status
    assert "404" in said


def test_another_model_replaces_what_lay_there(server, tmp_path):
    """Files of another source go, also where it was broken off and names and sizes are the same."""
    server.put("r2", {"model.safetensors": bytes(reversed(MODEL))})
    server.claims["/r1/more/tokens.txt"] = 4  # it never gets whole
    assert 1 == run(f"{server.url}/r1/", tmp_path)[0]
    assert MODEL == _staged(tmp_path)["model.safetensors"]

    assert 0 == run(f"{server.url}/r2/", tmp_path)[0]
    assert {"model.safetensors": bytes(reversed(MODEL))} == _staged(tmp_path)


HUB = {
    "config.json": b"{}",
    "model.safetensors": MODEL,
    "pytorch_model.bin": b"the same, older",
    ".gitattributes": b"*",
}


def test_a_hub_says_its_own_digests(server, tmp_path):
    """Of a repository's pages, what the engine needs comes, verified by LFS and by Git."""
    server.put_hub("org/r1", HUB, large={"model.safetensors", "pytorch_model.bin"})
    status, _ = run(
        "hf://org/r1", tmp_path, HF_ENDPOINT=server.url, HF_TOKEN="hf_secret"
    )  # fmt: skip

    assert 0 == status
    assert {"config.json": b"{}", "model.safetensors": MODEL} == _staged(tmp_path)


def test_the_hubs_token_stays_with_the_hub(server, tmp_path):
    """Where the hub redirects to, its token is not shown."""
    server.put_hub("org/r1", HUB, large={"model.safetensors"})
    run("hf://org/r1", tmp_path, HF_ENDPOINT=server.url, HF_TOKEN="hf_secret")
    shown = {path.split("/")[1]: token for _, path, _, token in server.asked}

    assert {"api": "Bearer hf_secret", "org": "Bearer hf_secret", "elsewhere": None} == shown


@pytest.mark.parametrize("path", ["config.json", "model.safetensors"])
def test_what_a_hub_did_not_commit_is_refused(server, tmp_path, path):
    """A small file is held against Git's digest, a large one against its own."""
    server.put_hub("org/r1", HUB, large={"model.safetensors"})
    server.files[f"/elsewhere/{path}"] = b"X" + HUB[path][1:]
    status, said = run("hf://org/r1", tmp_path, HF_ENDPOINT=server.url)

    assert 1 == status
    assert f"refused: {path}: its" in said


def test_s3_needs_boto3_and_says_so(tmp_path):
    """An image without boto3 cannot stage from S3, and its log says what would help."""
    (tmp_path / "boto3.py").write_text("raise ImportError")
    status, said = run("s3://models/r1", tmp_path / "r1", PYTHONPATH=str(tmp_path))

    assert 1 == status
    assert "s3:// needs boto3, which this image lacks; take an image that has it" in said


BOTO3 = """
import io, pathlib, botocore.exceptions
ROOT = pathlib.Path(__file__).parent / "buckets"
class Client:
    def _path(self, Bucket, Key):
        path = ROOT / Bucket / Key
        if not path.is_file():
            raise botocore.exceptions.ClientError("NoSuchKey")
        return path
    def head_object(self, **at):
        return {"ContentLength": self._path(**at).stat().st_size}
    def get_object(self, Range="bytes=0-", **at):
        return {"Body": io.BytesIO(self._path(**at).read_bytes()[int(Range[6:-1]):])}
def client(service):
    return Client()
"""


def test_a_bucket_is_staged_like_a_url(server, tmp_path):
    """Through a double of boto3: files of a prefix come as SHA256SUMS says, and a lack is refused.

    It does not prove that boto3 is called as it wants to be, only what is done with its answers.
    """
    bucket = tmp_path / "buckets/models/r1"
    (bucket / "more").mkdir(parents=True)
    for name in [*FILES, "SHA256SUMS"]:
        (bucket / name).write_bytes(server.files[f"/r1/{name}"])
    (tmp_path / "botocore").mkdir()
    (tmp_path / "botocore/exceptions.py").write_text(
        "class BotoCoreError(Exception): ...\nclass ClientError(Exception): ...\n"
    )
    (tmp_path / "boto3.py").write_text(BOTO3)

    assert 0 == run("s3://models/r1/", tmp_path / "r1", PYTHONPATH=str(tmp_path))[0]
    assert FILES == _staged(tmp_path / "r1")
    (bucket / "SHA256SUMS").unlink()
    status, said = run("s3://models/r1/", tmp_path / "r2", PYTHONPATH=str(tmp_path))
    assert 1 == status
    assert "refused: s3://models/r1/: NoSuchKey" in said


def test_one_gguf_model_gets_a_known_name(server, tmp_path):
    """llama.cpp finds the one model, of a split one its first file; of two it takes none."""
    server.put("split", {"r1-00001-of-00002.gguf": b"1", "r1-00002-of-00002.gguf": b"2"})
    server.put("two", {"a.gguf": b"1", "b.gguf": b"2"})

    assert 0 == run(f"{server.url}/split/", tmp_path, "--gguf")[0]
    assert b"1" == (tmp_path / "model.gguf").read_bytes()
    assert 0 == run(f"{server.url}/split/", tmp_path, "--gguf")[0]
    status, said = run(f"{server.url}/two/", tmp_path, "--gguf")
    assert 1 == status
    assert "2 models end in .gguf" in said
