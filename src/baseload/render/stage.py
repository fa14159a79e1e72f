"""What runs before an engine starts: weights are fetched, and each file is held against its digest.

Rendering reads this file's text and puts it beside the engine; nothing imports it. So it is one
file, of the standard library alone (and boto3 for s3://), for any Python from 3.10 on:

    stage.py hf://ORG/NAME[@REVISION] | s3://BUCKET/PATH | https://HOST/PATH/   FOLDER   [--gguf]

Digests come from the source: a hub says its own, others have a file SHA256SUMS beside the weights,
as `sha256sum` writes it. A file is fetched under another name, goes on where an earlier attempt
broke off, and gets its name once it is whole; so whatever has its name was verified. A marker says
that all are there: the next start on the same disk fetches nothing, and asks nobody.

What is refused ends with exit status 1 and one sentence; the cluster then tries again, later each
time. Variables: HF_TOKEN, HF_ENDPOINT, STAGE_PAUSE_S, and those that boto3 knows.
"""

import concurrent.futures
import hashlib
import http.client
import importlib
import json
import os
import re
import select
import shutil
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

MARKER = ".staged"
SUMS = "SHA256SUMS"
HUB = "https://huggingface.co"
READ_BYTES = 8 * 1024 * 1024
FETCHES = 8
"""Files at once: one connection seldom fills a network."""
ATTEMPTS = 5
"""For each file, while nothing but the network is wrong."""
PAUSE_S = float(os.environ.get("STAGE_PAUSE_S", "3"))
"""After a first failed attempt; longer after each further one."""
TIMEOUT_S = 60.0
SUMS_BYTES_MAX = 16 * 1024 * 1024
LESSER = (".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".gguf", ".ot")
"""Formats that are left out where a repository has safetensors too."""


class Refused(Exception):  # noqa: N818 - what happened, not an error of the program
    """It cannot be staged, and why."""


class Piece(NamedTuple):
    """One file."""

    path: str
    size: int
    digest: str
    """`sha256:` or, of small files on a hub, `git:` (SHA-1 of Git's blob) and hex digits."""
    at: str
    """Where it is: a URL, or a key."""


Opening = Callable[[str, int], Any]
"""Opens a file from a byte on; gives what can be read and closed, and from which byte it comes."""


def main(arguments: list[str]) -> int:
    """Stage, and say in one line what came of it."""
    source, folder = arguments[0], Path(arguments[1])
    try:
        stage(source, folder)
        if "--gguf" in arguments:
            link_gguf(folder)
    except Refused as refused:
        say(f"refused: {refused}")
        return 1
    return 0


def say(text: str) -> None:
    """Write a line where logs are read."""
    sys.stderr.write(f"stage: {text}\n")
    sys.stderr.flush()


def stage(source: str, folder: Path) -> None:
    """See to it that the source's files are in the folder, each as its digest says."""
    folder.mkdir(parents=True, exist_ok=True)
    marked = read_marker(folder)
    files = marked.get("files") if marked.get("source") == source else None
    if files and is_whole(folder, files):
        say(f"{len(files)} files of {source} are here already")
        return
    if marked and marked.get("source") != source:
        say(f"another model lies here, {marked.get('source')}: it goes")
        empty(folder)
    write_marker(folder, source, {})  # whose files these are, should it end half way
    opening, pieces = list_of(source)
    see_room(folder, pieces)
    with concurrent.futures.ThreadPoolExecutor(FETCHES) as pool:
        jobs = [pool.submit(fetch, opening, piece, folder) for piece in pieces]
        try:
            for job in concurrent.futures.as_completed(jobs):
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    write_marker(folder, source, {each.path: [each.size, each.digest] for each in pieces})
    say(f"{len(pieces)} files of {source} are here, {sum(each.size for each in pieces)} bytes")


def read_marker(folder: Path) -> dict[str, Any]:
    """Give what an earlier staging left: its source and, once it was done, its files."""
    try:
        found = json.loads((folder / MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_marker(folder: Path, source: str, files: dict[str, list[Any]]) -> None:
    """Say what lies here, at one stroke."""
    new = folder / (MARKER + ".new")
    new.write_text(json.dumps({"source": source, "files": files}, sort_keys=True), "utf-8")
    new.replace(folder / MARKER)


def is_whole(folder: Path, files: dict[str, list[Any]]) -> bool:
    """Say whether all files are there, in their sizes; digests were seen to when they came."""
    return all(size_of(folder / path) == size for path, (size, _) in files.items())


def empty(folder: Path) -> None:
    """Remove all that is in the folder, not the folder: it may be where a disk is mounted."""
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)  # lost+found belongs to the disk
        else:
            each.unlink()


def size_of(path: Path) -> int:
    """Give a file's size; -1 if there is none."""
    return path.stat().st_size if path.is_file() else -1


def see_room(folder: Path, pieces: list[Piece]) -> None:
    """Refuse before the first byte what the disk cannot hold."""
    here = sum(
        max(0, size_of(folder / each.path)) + max(0, size_of(part_of(folder / each.path)))
        for each in pieces
    )
    needed = sum(each.size for each in pieces) - here
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise Refused(f"{needed} more bytes are needed in {folder}, and {free} are free")


def part_of(path: Path) -> Path:
    """Give the name under which a file is fetched."""
    return path.with_name(f".{path.name}.part")


# -- one file ---------------------------------------------------------------------------------


def fetch(opening: Opening, piece: Piece, folder: Path) -> None:
    """Fetch one file, going on from what there is of it, and give it its name once it is right."""
    path = folder / piece.path
    if size_of(path) == piece.size:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            append(opening, piece, part)
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in {408, 429}:
                raise Refused(f"{piece.path}: {error.code} {error.reason}") from error
            say(f"{piece.path}: {error}")
        except (OSError, http.client.HTTPException) as error:
            say(f"{piece.path}: {error}")
        if size_of(part) >= piece.size:
            break
        if attempt < ATTEMPTS:
            select.select([], [], [], PAUSE_S * attempt)  # a pause; the network may be back then
    verify(piece, part)
    part.replace(path)


def append(opening: Opening, piece: Piece, part: Path) -> None:
    """Add to a part what follows it; where the source gives all of the file, begin anew."""
    have = max(0, size_of(part))
    if have >= piece.size:
        return
    stream, begin = opening(piece.at, have)
    with closing(stream), part.open("r+b" if begin and have else "wb") as file:
        file.seek(begin)
        while block := stream.read(READ_BYTES):
            file.write(block)


def verify(piece: Piece, part: Path) -> None:
    """Refuse a part that is not what the source says, and remove it."""
    if (have := size_of(part)) < piece.size:
        raise Refused(f"{piece.path}: {have} of {piece.size} bytes came; it goes on from there")
    kind, _, wanted = piece.digest.partition(":")
    summed = hashlib.sha256() if kind == "sha256" else hashlib.sha1(usedforsecurity=False)
    if kind == "git":
        summed.update(b"blob %d\0" % have)
    with part.open("rb") as file:
        while block := file.read(READ_BYTES):
            summed.update(block)
    if summed.hexdigest() != wanted.lower():
        part.unlink()
        raise Refused(f"{piece.path}: its {kind} digest is {summed.hexdigest()}, not {wanted}")


# -- sources ----------------------------------------------------------------------------------


def list_of(source: str) -> tuple[Opening, list[Piece]]:
    """Give a source's files, and how they are opened."""
    scheme, _, rest = source.partition("://")
    try:
        if scheme == "hf":
            found = of_hub(rest)
        else:
            found = of_s3(rest) if scheme == "s3" else of_web(source)
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        raise Refused(f"{source} cannot be listed: {error!r}") from error
    if not found[1]:
        raise Refused(f"{source} has no files")
    return found


def of_web(url: str) -> tuple[Opening, list[Piece]]:
    """List what SHA256SUMS names below a URL."""
    base = url if url.endswith("/") else url + "/"
    try:
        with closing(request(base + SUMS)) as answer:
            sums = answer.read(SUMS_BYTES_MAX).decode()
    except urllib.error.HTTPError as error:
        raise Refused(f"{base}{SUMS}: {error.code}; nothing is run that has no digests") from error
    pieces = []
    for path, digest in digests_in(sums):
        at = base + urllib.parse.quote(path)
        with closing(request(at, method="HEAD")) as answer:
            pieces.append(Piece(path, int(answer.headers["content-length"]), digest, at))
    return open_web, pieces


def digests_in(sums: str) -> Iterator[tuple[str, str]]:
    """Give files and digests of a SHA256SUMS, and no file that would lie elsewhere."""
    for line in sums.splitlines():
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)", line)
        if match is None:
            raise Refused(f"{SUMS}: `{line[:80]}` is no digest and file")
        yield inside(match[2]), "sha256:" + match[1]


def inside(path: str) -> str:
    """Give a path back if it stays in its folder and does not hide there."""
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or any(part in {"", ".", ".."} for part in parts):
        raise Refused(f"`{path[:80]}` is outside the folder")
    return path


def of_hub(name: str) -> tuple[Opening, list[Piece]]:
    """List a repository of the Hugging Face Hub, at one commit."""
    name, _, revision = name.partition("@")
    hub = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    api = f"{hub}/api/models/{name}"
    with closing(request(f"{api}/revision/{revision or 'main'}")) as answer:
        commit = json.load(answer)["sha"]
    rows: list[dict[str, Any]] = []
    page: str | None = f"{api}/tree/{commit}?recursive=true"
    while page:
        with closing(request(page)) as answer:
            rows += json.load(answer)
            link = re.search(r'<([^>]+)>;\s*rel="next"', answer.headers.get("link") or "")
        page = link[1] if link else None
    files = [row for row in rows if row["type"] == "file" and not row["path"].startswith(".")]
    if any(row["path"].endswith(".safetensors") for row in files):
        files = [row for row in files if not row["path"].endswith(LESSER)]
    pieces = []
    for row in files:
        large = row.get("lfs")
        digest = f"sha256:{large['oid']}" if large else f"git:{row['oid']}"
        at = f"{hub}/{name}/resolve/{commit}/{urllib.parse.quote(row['path'])}"
        pieces.append(Piece(inside(row["path"]), int(row["size"]), digest, at))
    return open_web, pieces


def request(url: str, begin: int = 0, method: str = "GET") -> Any:
    """Ask by HTTP; the hub's token goes to the hub, and not on to where it redirects."""
    asked = urllib.request.Request(url, method=method)  # noqa: S310 - the fleet file's own URL
    asked.add_header("User-Agent", "baseload-stage")
    if begin:
        asked.add_header("Range", f"bytes={begin}-")
    token, hub = os.environ.get("HF_TOKEN"), os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    if token and url.startswith(hub + "/"):
        asked.add_unredirected_header("Authorization", f"Bearer {token}")
    return urllib.request.urlopen(asked, timeout=TIMEOUT_S)  # noqa: S310


def open_web(url: str, begin: int) -> tuple[Any, int]:
    """Open a URL from a byte on, if its server can."""
    answer = request(url, begin)
    said = re.match(r"bytes (\d+)-", answer.headers.get("content-range") or "")
    return answer, int(said[1]) if answer.status == 206 and said else 0


def of_s3(rest: str) -> tuple[Opening, list[Piece]]:
    """List what SHA256SUMS names below a path of a bucket."""
    try:
        boto3 = importlib.import_module("boto3")
        known = importlib.import_module("botocore.exceptions")
    except ImportError as error:
        what = "s3:// needs boto3, which this image lacks"
        raise Refused(what + "; take an image that has it, or https:// or hf://") from error
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
    client = boto3.client("s3")

    def open_s3(key: str, begin: int) -> tuple[Any, int]:
        try:
            some = {"Range": f"bytes={begin}-"} if begin else {}
            return client.get_object(Bucket=bucket, Key=key, **some)["Body"], begin
        except (known.BotoCoreError, known.ClientError) as error:
            raise OSError(str(error)) from error

    try:
        with closing(client.get_object(Bucket=bucket, Key=prefix + SUMS)["Body"]) as body:
            sums = body.read(SUMS_BYTES_MAX).decode()
        pieces = [
            Piece(path, client.head_object(Bucket=bucket, Key=prefix + path)["ContentLength"],
                  digest, prefix + path)
            for path, digest in digests_in(sums)
        ]  # fmt: skip
    except (known.BotoCoreError, known.ClientError) as error:
        raise Refused(f"s3://{bucket}/{prefix}: {error}") from error
    return open_s3, pieces


def link_gguf(folder: Path) -> None:
    """Let `model.gguf` stand for the one model among the files; of a split one, for its first."""
    link = folder / "model.gguf"
    found = sorted(
        each for each in folder.rglob("*.gguf")
        if each != link and not re.search(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", each.name)
    )  # fmt: skip
    if link.is_file() and not link.is_symlink():
        return
    if len(found) != 1:
        raise Refused(f"{len(found)} models end in .gguf, and one is wanted")
    link.unlink(missing_ok=True)
    link.symlink_to(found[0].relative_to(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
