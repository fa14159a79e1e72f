"""Golden files: what a rendering was, kept to be read in review.

`BASELOAD_GOLDEN=1 pytest tests/render` writes them anew.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from baseload.render.files import File

FOLDER = Path(__file__).parent / "golden"


def same(name: str, files: Iterable[File]) -> None:
    """Hold a rendering against the golden folder of this name, file by file."""
    folder = FOLDER / name
    found = {file.path: file.text for file in files}
    if os.environ.get("BASELOAD_GOLDEN"):
        for old in [path for path in folder.rglob("*") if path.is_file()]:
            old.unlink()
        for path, text in found.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, "utf-8")
    kept = {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }

    assert kept.keys() == found.keys()
    for path, text in kept.items():
        assert text == found[path], path
