"""Is a file what its name says, and is it safe to give it to an engine?

GGUF and safetensors are held against their headers. A pickle is a program that runs when it is
loaded, so it is told by its name and, under whatever name, by its first bytes, and refused.
"""

from pathlib import Path

from baseload.engines import gguf
from baseload.engines.weights import safetensors
from baseload.engines.weights.pieces import PICKLES, lacking_shard

INDEX = ".safetensors.index.json"
ARCHIVE = b"PK\x03\x04"
"""A zip, which is what torch puts its pickles into; nothing that an engine reads is one."""

_HEAD_BYTES = 9
_REFUSED = "is a pickle, a program that runs when it is loaded: it is refused"


def fault(path: Path, called: str = "") -> str | None:
    """Say what is wrong with a file, as the end of a sentence that began with its name.

    `called` is the name that it will have, if it has another yet. None means that nothing is known
    to be wrong. Raises OSError if the file cannot be read.
    """
    name = (called or path.name).lower()
    if name.endswith(PICKLES) or _is_pickle(path):
        return _REFUSED
    if name.endswith(".gguf"):
        return gguf.fault(path)
    if name.endswith(".safetensors"):
        return safetensors.fault(path)
    return None


def fault_of_model(folder: Path, paths: list[str]) -> str | None:
    """Say which shard a model lacks, by its index or by the names of the others; None if none."""
    if (lacking := lacking_shard(paths)) is not None:
        return f"its part {lacking[:80]!r} is not among the files"
    for path in paths:
        if not path.endswith(INDEX):
            continue
        index = folder / path
        try:
            shards = safetensors.shards_of(index)
        except ValueError as error:
            return f"{path} is no index of shards: {error}"
        beside = path.rpartition("/")[0]
        for shard in sorted(shards):
            if (f"{beside}/{shard}" if beside else shard) not in paths:
                return f"{path} names {shard[:80]!r}, which is not among the files"
    return None


def _is_pickle(path: Path) -> bool:
    """Tell a pickle by its first bytes: of protocol 2 or later, or in an archive like torch's."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(ARCHIVE):
        return True
    if len(head) < 2 or head[0] != 0x80 or not 2 <= head[1] <= 5:
        return False
    # A safetensors header of 640 to 1408 bytes begins so too; then come zeros, and a brace.
    return not (head[2:8] == bytes(6) and head[8:9] == b"{")
