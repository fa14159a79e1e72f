"""What are the files of a model before they are here, and which of them are wanted?

Pure. A source lists pieces: names, sizes, digests. Names are held against the folder that they must
not leave; of several formats one is taken; and a pickle, which is a program that runs when it is
loaded, is never taken at all.
"""

import hashlib
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from baseload.errors import EngineError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What a model may be called in a store."""

PATH_CHARACTERS_MAX = 512
PIECES_MAX = 20_000
"""Files of one model; the largest that hubs have hold a few hundred."""

PICKLES = (".bin", ".ckpt", ".dill", ".joblib", ".pickle", ".pkl", ".pt", ".pth")
LESSER = (".gguf", ".h5", ".msgpack", ".onnx", ".ot", *PICKLES)
"""Formats that are left out where there are safetensors too, as `render/stage.py` leaves them."""

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?=\.\w+$)")


class WeightsError(EngineError):
    """Weights cannot be had, or are not what they should be; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One file at its source."""

    path: str
    size_bytes: int
    digest: str
    """`sha256:` or, of small files on a hub, `git:` (SHA-1 of Git's blob) and hex digits; empty of
    a local file, whose digest is taken while it is copied."""
    at: str
    """Where it is: a URL, a bucket's key, or a path."""

    def __post_init__(self) -> None:
        """Refuse a size that cannot be."""
        if not 0 <= self.size_bytes < 2**63:
            raise WeightsError(f"{self.path}: a file cannot have {self.size_bytes} bytes")


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source has."""

    source: str
    """As it was named, without secrets."""
    revision: str
    """The commit; empty where a source has none."""
    pieces: tuple[Piece, ...]

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(piece.size_bytes for piece in self.pieces)


def unheard(*_: object) -> None:
    """Stand where nobody wants to be told."""


def inside(path: str) -> str:
    """Give a path back if it stays in its folder and does not hide there; raises WeightsError."""
    parts = path.split("/")
    is_odd = "\\" in path or not path.isprintable() or len(path) > PATH_CHARACTERS_MAX
    if is_odd or any(part.startswith(".") or not part for part in parts):
        raise WeightsError(f"a file called {path[:80]!r} would lie outside its folder, or hide")
    return path


def model_name(name: str) -> str:
    """Give a name back if a store may have it; raises WeightsError."""
    if NAME.fullmatch(name) is None:
        raise WeightsError(
            f"no model can be called {name[:80]!r}: letters, digits, `.`, `_`, `-`, up to 128"
        )
    return name


def chosen(pieces: list[Piece], pattern: str, source: str) -> tuple[Piece, ...]:
    """Give the pieces that are to come; `pattern` is a name or a glob, empty for what is usual.

    Usual is everything an engine reads: safetensors where there are any, else the one GGUF model,
    with configuration and tokenizer. Raises WeightsError where nothing is left, where several
    models in GGUF want a choice, and where the weights are pickles.
    """
    if len(pieces) > PIECES_MAX:
        raise WeightsError(f"{source} lists {len(pieces)} files; {PIECES_MAX} are the most")
    if len({piece.path for piece in pieces}) < len(pieces):
        raise WeightsError(f"{source} lists a file twice: nobody can tell which one is right")
    wanted = [piece for piece in pieces if not pattern or fnmatchcase(piece.path, pattern)]
    if not wanted:
        names = ", ".join(sorted(piece.path for piece in pieces)[:8])
        raise WeightsError(f"{source} has no file like {pattern or 'weights'}; it has {names or 0}")
    if not pattern:
        wanted = _usual(wanted, source)
    for piece in wanted:
        if piece.path.lower().endswith(PICKLES):
            raise WeightsError(
                f"{source}: {piece.path} is a pickle, a program that runs when it is loaded: it is "
                "never fetched; look for the model in safetensors or GGUF"
            )
    return tuple(wanted)


def _usual(pieces: list[Piece], source: str) -> list[Piece]:
    if any(piece.path.endswith(".safetensors") for piece in pieces):
        return [piece for piece in pieces if not piece.path.lower().endswith(LESSER)]
    models = {_SHARD.sub("", piece.path) for piece in pieces if piece.path.endswith(".gguf")}
    if len(models) > 1:
        named = ", ".join(sorted(models)[:12])
        raise WeightsError(
            f"{source} has {len(models)} models: name one, as {source}/FILE: {named}"
        )
    if models:
        return [piece for piece in pieces if not piece.path.lower().endswith(PICKLES)]
    return pieces


def first_shard(paths: list[str]) -> list[str]:
    """Give those paths that stand for a model: of a split one, its first file only."""
    return [path for path in paths if (cut := _SHARD.search(path)) is None or int(cut[1]) == 1]


def lacking_shard(paths: list[str]) -> str | None:
    """Give the first part of a split GGUF model that is not there; None if all are."""
    have = set(paths)
    cuts = [cut for path in paths if path.endswith(".gguf") and (cut := _SHARD.search(path))]
    for head, count in sorted({(cut.string[: cut.start()], cut[2]) for cut in cuts}):
        for number in range(1, int(count) + 1):
            if (shard := f"{head}-{number:05}-of-{count}.gguf") not in have:
                return shard
    return None


def hasher(digest: str, size_bytes: int) -> Any:
    """Give what a digest is made with; without a digest, what makes a SHA-256."""
    if digest.startswith("git:"):
        made = hashlib.sha1(usedforsecurity=False)
        made.update(b"blob %d\0" % size_bytes)
        return made
    return hashlib.sha256()


def sums_of(text: str, where: str) -> dict[str, str]:
    """Read a SHA256SUMS, as `sha256sum` writes it: digests by file; raises WeightsError."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)", line)
        if match is None:
            raise WeightsError(f"{where}: {line[:80]!r} is no digest and file")
        found[inside(match[2])] = "sha256:" + match[1].lower()
    return found
