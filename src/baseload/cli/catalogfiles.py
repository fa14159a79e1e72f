"""How newer price files are fetched, and a user's own is written.

A fetch has a bound on its time and on its bytes, and speaks HTTP only. A file is written beside
itself and then moved, so that a reader sees the old one or the new one.

Not here: what a file says (`baseload.plan.catalog.refreshing`).
"""

import os
import time
from http.client import HTTPException
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from baseload import __version__
from baseload.errors import BaseloadError
from baseload.plan.catalog.reading import FILE_BYTES_MAX

FETCH_S = 60.0
"""The longest that a whole fetch may take."""
SILENCE_S = 15.0
"""The longest that a server may say nothing."""
PIECE_BYTES = 64 * 1024


class FetchError(BaseloadError):
    """A file could not be fetched, or not be written."""


def fetch(url: str, *, bytes_max: int = FILE_BYTES_MAX, fetch_s: float = FETCH_S) -> str:
    """Give the text at a URL; raises FetchError."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise FetchError(f"{named(url)}: only http:// and https:// are fetched")
    name = named(url)
    request = Request(url, headers={"User-Agent": f"baseload/{__version__}"})  # noqa: S310 - HTTP
    until = time.monotonic() + fetch_s
    data = bytearray()
    try:
        with urlopen(request, timeout=min(SILENCE_S, fetch_s)) as answer:  # noqa: S310 - HTTP
            while piece := answer.read1(PIECE_BYTES):
                data += piece
                if len(data) > bytes_max:
                    raise FetchError(f"{name}: larger than {bytes_max:,} bytes")
                if time.monotonic() > until:
                    raise FetchError(f"{name}: took longer than {fetch_s:g} s")
        return data.decode()
    except HTTPError as error:
        raise FetchError(f"{name}: answered {error.code} {error.reason}") from None
    except URLError as error:
        raise FetchError(f"{name}: {error.reason}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise FetchError(f"{name}: {error}") from None


def named(source: str) -> str:
    """Give how a file is called where it is quoted: a URL without what may be secret in it."""
    if "://" not in source:
        return source
    parts = urlsplit(source)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def write_file(path: Path, text: str) -> None:
    """Write a file whole or not at all; raises FetchError."""
    beside: Path | None = None
    try:
        with NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            beside = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        beside.chmod(mode)
        beside.replace(path)
    except OSError as error:
        if beside is not None:
            beside.unlink(missing_ok=True)
        raise FetchError(f"{path}: {error.strerror or error}") from None
