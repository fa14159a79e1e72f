"""Addresses and URLs, taken apart or refused with a sentence."""

import pytest

from baseload.config.addresses import BaseUrl, is_loopback, overlap, parse_address, parse_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("LocalHost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("[::]:80", ("::", 80)),
        ("[0:0::1]:80", ("::1", 80)),
        ("[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
        ("my_host.example.:1", ("my_host.example.", 1)),
    ],
)
def test_address(text, expected):
    """A host and a port come apart; IPv6 loses its brackets, names their capitals."""
    assert expected == parse_address(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no port; it is written `host:port`"),
        ("8080", "has no port; it is written `host:port`"),
        ("localhost", "has no port; it is written `host:port`"),
        ("[::1]", "has no port; it is written `host:port`"),
        (":8080", "has no host"),
        ("::1:8080", "has several colons; an IPv6 address is written `[::1]:8080`"),
        ("[::1:8080", "does not go on with `:port` after the bracket"),
        ("[::1]8080", "does not go on with `:port` after the bracket"),
        ("[127.0.0.1]:80", "has no IPv6 address between its brackets"),
        ("[]:80", "has no IPv6 address between its brackets"),
        ("h:", "has a port that is not a number from 0 to 65535"),
        ("h:65536", "has a port that is not a number from 0 to 65535"),
        ("h:-1", "has a port that is not a number from 0 to 65535"),
        ("h:٣", "has a port that is not a number from 0 to 65535"),
        ("h:1\n", "has a port that is not a number from 0 to 65535"),
        ("h" * 254 + ":1", "has a host that is neither a name nor an IP address"),
        ("a b:1", "has a host that is neither a name nor an IP address"),
        ("*:1", "has a host that is neither a name nor an IP address"),
        ("http://h:1", "has several colons; an IPv6 address is written `[::1]:8080`"),
        ("256.0.0.1:1", "has a host that looks like an IPv4 address and is none"),
        ("10.1:1", "has a host that looks like an IPv4 address and is none"),
        ("010.0.0.1:1", "has a host that looks like an IPv4 address and is none"),
    ],
)
def test_bad_address(text, expected):
    """What is no address is refused, and the sentence says why."""
    with pytest.raises(ValueError) as raised:
        parse_address(text)

    assert expected == str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected", "authority"),
    [
        ("https://a.example/v1", BaseUrl(True, "a.example", 443, "/v1"), "a.example"),
        ("https://a.example", BaseUrl(True, "a.example", 443, ""), "a.example"),
        ("HTTP://A.example:80/", BaseUrl(False, "a.example", 80, ""), "a.example"),
        ("http://a:8000/x/v1//", BaseUrl(False, "a", 8000, "/x/v1"), "a:8000"),
        ("https://a:80", BaseUrl(True, "a", 80, ""), "a:80"),
        ("http://[::1]:8000/v1", BaseUrl(False, "::1", 8000, "/v1"), "[::1]:8000"),
        ("https://[::1]/v1", BaseUrl(True, "::1", 443, "/v1"), "[::1]"),
        ("http://a/%7Eb:c@d", BaseUrl(False, "a", 80, "/%7Eb:c@d"), "a"),
    ],
)
def test_url(text, expected, authority):
    """A URL comes apart, with its scheme's port and no trailing slash."""
    url = parse_url(text)

    assert expected == url
    assert authority == url.authority


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "does not start with `http://` or `https://`"),
        ("a.example/v1", "does not start with `http://` or `https://`"),
        ("http:/a", "does not start with `http://` or `https://`"),
        ("ftp://a", "does not start with `http://` or `https://`"),
        ("http://", "has no host"),
        ("http:///v1", "has no host"),
        ("http://:80", "has no host"),
        ("http://u:p@a", "has a user or password in it; a key belongs in `api_key`"),
        ("http://a?x", "has a query (`?`) or a fragment (`#`)"),
        ("http://a/v1?", "has a query (`?`) or a fragment (`#`)"),
        ("http://a/v1#x", "has a query (`?`) or a fragment (`#`)"),
        ("http://a:0", "has port 0; a port to be dialled is 1 to 65535"),
        ("http://a:x", "has a port that is not a number from 0 to 65535"),
        ("http://[fe80::1%25e]", "has an IPv6 zone, which a URL cannot carry"),
        ("http://[::1", "does not go on with `:port` after the bracket"),
        ("http://a/v 1", "has a space, a backslash or a sign that is not ASCII"),
        ("http://a/\r\nX: y", "has a space, a backslash or a sign that is not ASCII"),
        ("http:\\\\a", "has a space, a backslash or a sign that is not ASCII"),
        ("http://é.example", "has a space, a backslash or a sign that is not ASCII"),
    ],
)
def test_bad_url(text, expected):
    """What cannot be a base URL is refused, and the sentence says why."""
    with pytest.raises(ValueError) as raised:
        parse_url(text)

    assert expected == str(raised.value)


def test_loopback():
    """Only names and addresses of this machine itself count as loopback."""
    hosts = ["localhost", "a.localhost", "127.8.0.1", "::1", "0.0.0.0", "::", "10.0.0.1", "a.lan"]

    seen = [host for host in hosts if is_loopback(host)]

    expected = ["localhost", "a.localhost", "127.8.0.1", "::1"]
    assert expected == seen


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("a", 1), ("a", 1), True),
        (("a", 1), ("b", 1), False),
        (("a", 1), ("a", 2), False),
        (("a", 0), ("a", 0), False),
        (("localhost", 1), ("127.0.0.1", 1), True),
        (("0.0.0.0", 1), ("10.0.0.1", 1), True),
        (("::1", 1), ("::", 1), True),
        (("0.0.0.0", 1), ("::1", 1), False),
        (("127.0.0.1", 1), ("127.0.0.2", 1), False),
    ],
)
def test_overlap(one, other, expected):
    """Addresses clash if equal, or if one of them takes every address of the other's family."""
    assert expected is overlap(one, other)
    assert expected is overlap(other, one)
