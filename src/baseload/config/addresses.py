"""Where things listen and where they are reached: `host:port` and base URLs, taken apart once.

Both parsers are strict, because what they let through is later bound, dialled and written into a
request's head. They raise ValueError with a sentence that never repeats the text: a URL can hold a
password.

Nothing here resolves names or opens sockets.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from typing import Final

import msgspec

PORT_MAX: Final = 65535
HOST_CHARACTERS_MAX: Final = 253
"""The longest name that DNS can carry."""
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_ALL_DIGITS_LABEL = re.compile(r"(?:.*\.)?[0-9]+\.?")
_PORTS: Final = {"http": 80, "https": 443}


class BaseUrl(msgspec.Struct, frozen=True):
    """A backend's base URL, taken apart: `https://api.deepseek.com/v1`."""

    tls: bool
    host: str
    """As it is dialled: in lower case, and an IPv6 address without its brackets."""
    port: int
    path: str
    """What goes before `/chat/completions`: empty, or with a leading and no trailing slash."""

    @property
    def authority(self) -> str:
        """What the `Host` header says: brackets for IPv6, the port unless it is the scheme's."""
        usual = _PORTS["https" if self.tls else "http"]
        return bracketed(self.host) if self.port == usual else show_address(self.host, self.port)


def bracketed(host: str) -> str:
    """Write a host as it stands before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def show_address(host: str, port: int) -> str:
    """Write `host:port`; what `parse_address` reads."""
    return f"{bracketed(host)}:{port}"


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port`, for listening; port 0 lets the system choose one.

    An IPv6 host is written in brackets and returned without them. Raises ValueError.
    """
    no_port = "has no port; it is written `host:port`"
    if ":" not in text:
        raise ValueError(no_port)
    host, port = _split(text)
    if port is None:
        raise ValueError(no_port)
    return host, port


def parse_url(text: str) -> BaseUrl:
    """Take a base URL apart; trailing slashes of its path are dropped. Raises ValueError."""
    if not all("!" <= sign <= "~" for sign in text) or "\\" in text:
        raise ValueError("has a space, a backslash or a sign that is not ASCII")
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in _PORTS:
        raise ValueError("does not start with `http://` or `https://`")
    if "?" in rest or "#" in rest:
        raise ValueError("has a query (`?`) or a fragment (`#`)")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        raise ValueError("has a user or password in it; a key belongs in `api_key`")
    host, port = _split(authority)
    if "%" in host:
        raise ValueError("has an IPv6 zone, which a URL cannot carry")
    if port == 0:
        raise ValueError(f"has port 0; a port to be dialled is 1 to {PORT_MAX}")
    tls = scheme.lower() == "https"
    return BaseUrl(tls, host, port or _PORTS[scheme.lower()], (slash + path).rstrip("/"))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`, as far as the text alone tells."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def overlap(one: tuple[str, int], other: tuple[str, int]) -> bool:
    """Whether two addresses cannot both be listened on; port 0 never clashes.

    Names are compared as text, but for `localhost`, which is taken to be 127.0.0.1.
    """
    if one[1] != other[1] or one[1] == 0:
        return False
    hosts = ["127.0.0.1" if host == "localhost" else host for host in (one[0], other[0])]
    if hosts[0] == hosts[1]:
        return True
    try:
        first, second = (ip_address(host) for host in hosts)
    except ValueError:
        return False
    return first.version == second.version and (first.is_unspecified or second.is_unspecified)


def _split(text: str) -> tuple[str, int | None]:
    if not text.startswith("["):
        host, colon, port = text.partition(":")
        if ":" in port:
            raise ValueError("has several colons; an IPv6 address is written `[::1]:8080`")
        return _host(host), _port(port) if colon else None
    host, bracket, rest = text[1:].partition("]")
    try:
        host = str(IPv6Address(host))
    except AddressValueError:
        raise ValueError("has no IPv6 address between its brackets") from None
    if not bracket or (rest and not rest.startswith(":")):
        raise ValueError("does not go on with `:port` after the bracket")
    return host, _port(rest[1:]) if rest else None


def _host(host: str) -> str:
    if not host:
        raise ValueError("has no host")
    if len(host) > HOST_CHARACTERS_MAX or not _NAME.fullmatch(host):
        raise ValueError("has a host that is neither a name nor an IP address")
    if _ALL_DIGITS_LABEL.fullmatch(host):  # resolvers take such a name for an IPv4 address
        try:
            IPv4Address(host)
        except AddressValueError:
            raise ValueError("has a host that looks like an IPv4 address and is none") from None
    return host.lower()


def _port(port: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > PORT_MAX:
        raise ValueError(f"has a port that is not a number from 0 to {PORT_MAX}")
    return int(port)
