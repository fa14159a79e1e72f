"""What is a rendered file, and what does its head say?

A rendering is a list of files, each with a path below the output folder. Every file says at its
top what made it and from what, in the comment form of its own language; JSON has no comments, so
such files say it in a field that their reader passes over.

Not here: writing them (`cli.rendered`).
"""

from typing import Final

import msgspec

from baseload import __version__

NOTE: Final = "Made by `baseload render`; change the fleet file and render again."
_COMMENT: Final = {".md": ("<!-- ", " -->"), ".tpl": ("{{/* ", " */}}")}


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a rendering."""

    path: str
    """Below the output folder, with `/`."""
    text: str
    is_executable: bool = False


def header(path: str, sources: tuple[str, ...], about: str = "") -> str:
    """Give the lines that a file begins with; `about` says what the file is for."""
    begin, end = _COMMENT.get(path[path.rfind(".") :], ("# ", ""))
    lines = [f"baseload {__version__}, from {' and '.join(sources)}. {NOTE}", *about.splitlines()]
    return "".join(f"{begin}{line}{end}".rstrip() + "\n" for line in lines)


def made_by(sources: tuple[str, ...]) -> str:
    """Give the same as one sentence, for a field of a JSON file."""
    return f"baseload {__version__}, from {' and '.join(sources)}. {NOTE}"
