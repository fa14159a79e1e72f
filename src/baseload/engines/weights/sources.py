"""Where can a model come from, and what does each place say of its files?

    hf://ORG/NAME[@REVISION][/FILE]     Hugging Face's hub, or a mirror of it at HF_ENDPOINT
    ms://ORG/NAME[@REVISION][/FILE]     ModelScope
    s3://BUCKET/PREFIX                  S3, with a SHA256SUMS beside the files
    https://HOST/PATH/                  a web server, with a SHA256SUMS beside the files
    https://HOST/PATH/FILE              one file, whose digest is given
    file://PATH, or a path              a file or a folder of this machine

Digests come from the source. Where nobody says them, nothing is fetched: only of local files are
they taken from the file itself, so that its copy can be held against it.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec

from baseload.engines.weights import s3
from baseload.engines.weights.pieces import (
    PIECES_MAX,
    Listing,
    Piece,
    WeightsError,
    chosen,
    inside,
    sums_of,
)
from baseload.engines.weights.wire import (
    BLOCK_BYTES,
    Answer,
    Source,
    Token,
    Wire,
    led_to,
    origin_of,
)

HUB = "https://huggingface.co"
MODELSCOPE = "https://modelscope.cn"
SUMS = "SHA256SUMS"
PAGES_MAX = 200
"""Of Hugging Face's list; one has 1,000 files."""

ENTRIES_MAX = 2 * PIECES_MAX
"""Files and folders of a folder of this machine, hidden ones too."""

MODELSCOPE_FILES_MAX = 3000
"""Where ModelScope cuts its list without a word (modelscope-hub 0.5, `constants.py`)."""

_HUB = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/([^@]+))?")


def source_of(
    text: str, closing: ExitStack, sha256: str = "", env: Mapping[str, str] = os.environ
) -> Source:
    """Ask a source what it has; its connections end with `closing`.

    `sha256` is for one file of a web server. Raises WeightsError, and PassingError where asking
    again may help.
    """
    scheme, is_url, rest = text.partition("://")
    if is_url and scheme in {"hf", "ms"}:
        return (_hub if scheme == "hf" else _modelscope)(text, rest, env, closing)
    if is_url and scheme == "s3":
        return s3.source(text, rest, closing)
    if is_url and scheme in {"http", "https"}:
        return _web(text, sha256, closing)
    if is_url and scheme != "file":
        raise WeightsError(f"{scheme}:// is no source: hf, ms, s3, https, http, file, or a path")
    return _local(Path(rest if is_url else text).expanduser())


def name_of(text: str) -> str:
    """Give what a model is called in the store if nobody says: the last part of its address."""
    scheme, _, rest = text.partition("://")
    if scheme in {"hf", "ms"} and (match := _HUB.fullmatch(rest)):
        return match[1].rpartition("/")[2]
    path = urlsplit(text).path if scheme in {"http", "https"} else rest or text
    last = path.rstrip("/").rpartition("/")[2]
    return last.removesuffix(".gguf").removesuffix(".safetensors")


# -- hubs -------------------------------------------------------------------------------------


def _parts(text: str, rest: str) -> tuple[str, str, str]:
    """Read `ORG/NAME[@REVISION][/FILE]`."""
    match = _HUB.fullmatch(rest)
    if match is None:
        raise WeightsError(f"{text}: a model on a hub is named ORG/NAME[@REVISION][/FILE]")
    return match[1], match[2] or "", match[3] or ""


def _hub(text: str, rest: str, env: Mapping[str, str], closing: ExitStack) -> Source:
    """List a repository of Hugging Face's hub, at one commit."""
    name, revision, pattern = _parts(text, rest)
    hub = (env.get("HF_ENDPOINT") or HUB).rstrip("/")
    wire = Wire(Token(origin_of(hub), env.get("HF_TOKEN", ""), "HF_TOKEN"))
    closing.callback(wire.close)
    api = f"{hub}/api/models/{name}"
    head, _ = wire.text(f"{api}/revision/{quote(revision or 'main', safe='')}", f"hf://{name}")
    commit = str(_json(head, text)["sha"])
    rows: list[dict[str, Any]] = []
    page: str | None = f"{api}/tree/{commit}?recursive=true"
    for _ in range(PAGES_MAX):
        if page is None:
            break
        answer, headers = wire.text(page, f"hf://{name}")
        rows += _json(answer, text)
        link = re.search(r'<([^>]+)>;\s*rel="next"', headers.get("link", ""))
        page = led_to(page, link[1], f"hf://{name}") if link else None
    if page is not None:
        raise WeightsError(f"{text}: its list of files has more than {PAGES_MAX} pages")
    pieces = []
    for row in _files(rows, "type", "file", "path"):
        large = row.get("lfs")
        digest = f"sha256:{large['oid']}" if large else f"git:{row['oid']}"
        at = f"{hub}/{name}/resolve/{commit}/{quote(row['path'])}"
        pieces.append(Piece(inside(row["path"]), int(row["size"]), digest, at))
    said = f"hf://{name}" + f"@{revision}" * bool(revision) + f"/{pattern}" * bool(pattern)
    return Source(Listing(said, commit, chosen(pieces, pattern, said)), wire.open)


def _modelscope(text: str, rest: str, env: Mapping[str, str], closing: ExitStack) -> Source:
    """List a repository of ModelScope. Its list has a SHA-256 of each file, large or small.

    Its older addresses, these among them, know a token by a cookie, newer ones by the usual header;
    its own client (modelscope-hub 0.5, `_legacy_api.py`) sends both.
    """
    name, revision, pattern = _parts(text, rest)
    hub = (env.get("MODELSCOPE_ENDPOINT") or MODELSCOPE).rstrip("/")
    secret = env.get("MODELSCOPE_API_TOKEN", "")
    wire = Wire(Token(origin_of(hub), secret, "MODELSCOPE_API_TOKEN", cookie="m_session_id"))
    closing.callback(wire.close)
    wanted = quote(revision or "master", safe="")
    api = f"{hub}/api/v1/models/{name}/repo"
    answer, _ = wire.text(f"{api}/files?Revision={wanted}&Recursive=true", f"ms://{name}")
    found = _json(answer, text)
    if found.get("Code") not in {200, None}:
        raise WeightsError(f"{text}: ModelScope says {str(found.get('Message'))[:200]!r}")
    pieces, commits = [], set()
    rows = found["Data"]["Files"]
    if len(rows) >= MODELSCOPE_FILES_MAX:
        raise WeightsError(f"{text}: ModelScope lists no more than {MODELSCOPE_FILES_MAX} files")
    for row in _files(rows, "Type", "blob", "Path"):
        if not re.fullmatch(r"[0-9a-fA-F]{64}", row.get("Sha256") or ""):
            raise WeightsError(f"{text}: ModelScope gives no digest of {row['Path'][:80]!r}")
        at = f"{api}?Revision={wanted}&FilePath={quote(row['Path'])}"
        digest = f"sha256:{row['Sha256'].lower()}"
        pieces.append(Piece(inside(row["Path"]), int(row["Size"]), digest, at))
        commits.add(str(row.get("Revision") or ""))
    said = f"ms://{name}" + f"@{revision}" * bool(revision) + f"/{pattern}" * bool(pattern)
    # A file's own revision is when it was changed last; it is the model's if all came at once.
    commit = commits.pop() if len(commits) == 1 else wanted
    return Source(Listing(said, commit, chosen(pieces, pattern, said)), wire.open)


def _files(rows: Any, kind: str, wanted: str, path: str) -> Iterator[dict[str, Any]]:
    """Give the rows that are files an engine may want; hidden ones are the hub's own."""
    for row in rows:
        if row.get(kind) == wanted and not row[path].startswith("."):
            yield row


def _json(text: str, source: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        raise WeightsError(f"{source}: the hub answers with something else than JSON") from None


# -- web --------------------------------------------------------------------------------------


def _web(text: str, sha256: str, closing: ExitStack) -> Source:
    """List what SHA256SUMS names below a URL, or take the one file whose digest is given."""
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise WeightsError("a URL with a password or a query may be secret, and would be kept")
    wire = Wire()
    closing.callback(wire.close)
    if sha256:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
            raise WeightsError("--sha256 has 64 hexadecimal digits")
        base, _, last = text.rpartition("/")
        base += "/"
        found = {inside(unquote(last)): "sha256:" + sha256.lower()}
    else:
        base = text if text.endswith("/") else text + "/"
        try:
            sums, _ = wire.text(base + SUMS, base + SUMS)
        except WeightsError as error:
            raise WeightsError(
                f"{error}. What has no digests is not fetched: put a {SUMS} beside the files, or "
                "name one file and its --sha256"
            ) from None
        found = sums_of(sums, base + SUMS)
    digests = [Piece(path, 0, digest, base + quote(path)) for path, digest in found.items()]
    pieces = [
        Piece(piece.path, wire.size(piece.at, piece.path), piece.digest, piece.at)
        for piece in chosen(digests, "", text)
    ]
    return Source(Listing(text, "", tuple(pieces)), wire.open)


# -- this machine -----------------------------------------------------------------------------


def _local(path: Path) -> Source:
    """List a file, or a folder's files; links in it are followed, since hubs' caches have them."""
    path = path.absolute()
    if path.is_file():
        found = {path.name: path}
    elif path.is_dir():
        every = list(islice(path.rglob("*"), ENTRIES_MAX + 1))
        if len(every) > ENTRIES_MAX:
            raise WeightsError(
                f"{path} holds more than {ENTRIES_MAX} files: it is no model's folder"
            )
        found = {
            each.relative_to(path).as_posix(): each
            for each in sorted(every)
            if each.is_file() and not any(p.startswith(".") for p in each.relative_to(path).parts)
        }
    else:
        raise WeightsError(f"there is no file and no folder {path}")
    sums: dict[str, str] = {}
    if SUMS in found:
        sums = sums_of(found.pop(SUMS).read_text("utf-8", "replace"), str(path / SUMS))
    pieces = [
        Piece(inside(name), at.stat().st_size, sums.get(name, ""), str(at))
        for name, at in found.items()
    ]
    return Source(Listing(f"file://{path}", "", chosen(pieces, "", str(path))), _open_local)


@contextmanager
def _open_local(piece: Piece, begin: int, end: int) -> Iterator[Answer]:
    """Open a file of this machine; its size and its time of change stand for an ETag."""
    with Path(piece.at).open("rb") as file:
        stat = os.fstat(file.fileno())
        file.seek(begin)

        def blocks() -> Iterator[bytes]:
            left = end - begin
            while left > 0 and (block := file.read(min(left, BLOCK_BYTES))):
                left -= len(block)
                yield block

        etag = f"{stat.st_mtime_ns}-{stat.st_size}"
        yield Answer(begin, is_part=True, size_bytes=stat.st_size, etag=etag, blocks=blocks())
