"""What does a GGUF file's header say of its model? Numbers and short texts, by name.

Not here: whether the file is whole and sound; whoever asks has looked at that before.
"""

import struct
from pathlib import Path
from typing import BinaryIO

PAIRS_MAX = 10_000
TEXT_MAX_BYTES = 256
HEADER_MAX_BYTES = 256 * 1024 * 1024

_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9


def read(path: Path) -> dict[str, int | float | str]:
    """Give what the header holds; what it cannot step over ends it. Raises OSError."""
    found: dict[str, int | float | str] = {}
    with path.open("rb") as file:
        file.seek(8)
        try:
            _tensors, pairs = _take(file, "<Q"), _take(file, "<Q")
            for _ in range(min(int(pairs), PAIRS_MAX)):
                name = _text(file)
                value = _value(file, int(_take(file, "<I")))
                if value is not None:
                    found[name] = value
        except (struct.error, KeyError, OverflowError):
            pass
    return found


def _take(file: BinaryIO, form: str) -> int | float:
    if file.tell() > HEADER_MAX_BYTES:
        raise struct.error
    value: int | float = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    return value


def _text(file: BinaryIO) -> str:
    """Read a text, or only its beginning, and stand behind it."""
    size = int(_take(file, "<Q"))
    begin = file.read(min(size, TEXT_MAX_BYTES))
    file.seek(max(0, size - TEXT_MAX_BYTES), 1)
    return begin.decode(errors="replace")


def _value(file: BinaryIO, kind: int) -> int | float | str | None:
    if kind == _STRING:
        return _text(file)
    if kind != _ARRAY:
        return _take(file, _SCALARS[kind])
    inner, count = int(_take(file, "<I")), int(_take(file, "<Q"))
    if inner != _STRING:
        file.seek(count * struct.calcsize(_SCALARS[inner]), 1)
        return None
    for _ in range(count):
        file.seek(int(_take(file, "<Q")), 1)
    return None
