"""What is in a form with files, as browsers and SDKs send it?

The body has been read whole by the time it gets here, so it is cut at its boundaries and not fed
piece by piece. Its first line is the boundary, so its head need not be asked. The form: RFC 7578.
Nested forms, folded headers and transfer encodings, which no client has sent for years, are
refused.
"""

import re
from typing import NamedTuple

from baseload.apis.openai import BadRequestError

PARTS_MAX = 32
"""Fields in one form; an upload has two or three."""
HEAD_BYTES_MAX = 4096
BOUNDARY_BYTES_MAX = 70
"""As the form's standard has it, but for the two dashes before it."""

_NAME = re.compile(rb'(?i)[;\s]name=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
_FILE_NAME = re.compile(rb'(?i)[;\s]filename=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
_DISPOSITION = b"content-disposition:"


class Field(NamedTuple):
    """One field: its value, and a file's name where it is one."""

    value: bytes
    file_name: str | None


def read_form(body: bytes) -> dict[str, Field]:
    """Give a form's fields by name, of several with one name the first.

    Raises `BadRequestError` with a sentence for the caller.
    """
    boundary, is_whole, _ = body[: BOUNDARY_BYTES_MAX + 4].partition(b"\r\n")
    if not is_whole or not boundary.startswith(b"--"):
        raise BadRequestError("Send a form, `multipart/form-data`, with the file in a field.")
    _, *rest = (b"\r\n" + body).split(b"\r\n" + boundary, PARTS_MAX + 1)
    fields: dict[str, Field] = {}
    for part in rest:
        if part.startswith(b"--"):
            return fields
        _, is_begun, part_body = part.partition(b"\r\n")
        head, is_whole, value = part_body.partition(b"\r\n\r\n")
        if not is_begun or not is_whole or len(head) > HEAD_BYTES_MAX:
            break
        name, field = _read_part(head, value)
        fields.setdefault(name, field)
    if len(rest) > PARTS_MAX:
        raise BadRequestError(f"The form has more than {PARTS_MAX} fields.")
    raise BadRequestError("The form is broken off: a field or its last boundary is missing.")


def _read_part(head: bytes, value: bytes) -> tuple[str, Field]:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(_DISPOSITION) and (name := _NAME.search(line)):
            file_name = _FILE_NAME.search(line)
            return _text(name), Field(value, _text(file_name) if file_name else None)
    raise BadRequestError("A field of the form has no name.")


def _text(match: re.Match[bytes]) -> str:
    quoted = match[1]
    if quoted is None:
        return match[2].decode("utf-8", "replace")
    return re.sub(rb"\\(.)", rb"\1", quoted).decode("utf-8", "replace")
