"""Which database does a URL name, and how is it shown to people?

A URL may hold a password. Nothing here repeats it: neither what is shown of a URL, nor what a
database's own words are reduced to.

Not here: opening one (`database`).
"""

import re
from urllib.parse import unquote, urlsplit

from baseload.errors import BaseloadError

_SECRET_FIELDS = re.compile(r"(?i)((?:ssl)?password)=[^&\s]*")
_SECRET_FIELD = re.compile(r"(?i)(?:ssl)?password=[^&\s]*")
_CREDENTIALS = re.compile(r"://(.*)@", re.DOTALL)


class DatabaseError(BaseloadError):
    """The database cannot be opened or used; says which, and never repeats a password."""


class RefusedError(DatabaseError):
    """The database works, but does not take these values."""


def kind_of(url: str) -> str:
    """Say which database a URL names; raises `DatabaseError` for one that is not known."""
    scheme, found, rest = url.partition("://")
    if scheme.lower() in ("postgresql", "postgres") and found:
        if rest.partition("?")[0].count("@") > 1:
            raise DatabaseError(
                f"{shown(url)}: it holds more than one `@`; in a password, write it as %40"
            )
        return "postgresql"
    if scheme.lower() == "sqlite" and rest.startswith("/"):
        return "sqlite"
    if scheme.lower() == "sqlite":
        raise DatabaseError(
            f"{shown(url)}: after `sqlite://` comes `/FILE`, or `//FILE` from the root: "
            "sqlite:///baseload.db, sqlite:////var/lib/baseload.db"
        )
    raise DatabaseError(f"{shown(url)}: not `sqlite:///FILE` or `postgresql://HOST/NAME`")


def shown(url: str) -> str:
    """Give a URL without its password."""

    def masked(match: re.Match[str]) -> str:
        user, colon, _ = match[1].partition(":")
        return f"://{user}:***@" if colon else f"://{user}@"

    return _SECRET_FIELDS.sub(r"\1=***", _CREDENTIALS.sub(masked, url))


def passwords_of(url: str) -> list[str]:
    """Give the password in a URL as it is written there and as it is meant; for redacting."""
    found = _CREDENTIALS.search(url)
    password = found[1].partition(":")[2] if found else ""
    fields = [match.partition("=")[2] for match in _SECRET_FIELD.findall(url)]
    words = [word for word in (password, *fields) if word]
    return [*words, *(unquote(word) for word in words if unquote(word) != word)]


def reason_of(error: Exception, url: str) -> str:
    """Give the first line of a database's own words, without the URL's password."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[0]
    if found := _CREDENTIALS.search(url):
        password = found[1].partition(":")[2]
        for word in {password, unquote(password)} - {""}:
            reason = reason.replace(word, "***")
    return _SECRET_FIELDS.sub(r"\1=***", reason)


def sqlite_path(url: str) -> str:
    """Give the file of `sqlite:///relative` or `sqlite:////absolute`; empty: in memory."""
    return unquote(urlsplit(url).path.removeprefix("/"))
