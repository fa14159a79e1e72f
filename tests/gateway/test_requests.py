"""Bytes become whole requests or one refusal, however they are cut.

The invariant: for any bytes in any cuts `feed` never raises; what comes out are requests and at
most one refusal, last; the same bytes cut differently give the same; what is held is bounded. Only
between a head's two measures (all bytes, and those of names and values) may the cuts decide.
"""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from baseload.config.fleet import Inbound
from baseload.gateway.requests import RAW_OVER_BODY, Phase, Reader, Refused, Request
from tests import FUZZ

LARGE = Inbound(header_kb=64, body_mb=1)
SMALL = Inbound(header_kb=1, body_mb=1 / 1024)
KB = 1024
NEXT = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def read(data, size=0, inbound=LARGE):
    """Feed the bytes in pieces of a size, or at once, and give what came of them."""
    step = size or len(data)
    return read_pieces([data[at : at + step] for at in range(0, len(data), step)], inbound)


def read_pieces(pieces, inbound=LARGE):
    """Feed the pieces and give what came of them, as plain values."""
    reader = Reader(inbound)
    for piece in pieces:
        if piece:
            reader.feed(piece)
    return [
        (item.status, item.message)
        if isinstance(item, Refused)
        else (item.method, item.path, item.body, item.request_id, item.keep_alive)
        for item in reader.items
    ]


def cut(data, places):
    """Give the bytes in pieces, cut at places taken modulo the length."""
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(marks)]


# -- any bytes -----------------------------------------------------------------------------------

PLACES = st.lists(st.integers(0, 1 << 16), max_size=20)
SCRAPS = st.sampled_from(
    [
        b"GET ", b"POST ", b"/", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r", b":", b" ", b"\0",
        b"Host: h\r\n", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"abc", b"3\r\n",
        b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"Connection: close\r\n", b"\r\n\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"CONNECT ",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NEXT, POST, CHUNKED, b"\xff", b"X: y\r\n", b"3;a=b\r\n",
    ]
)  # fmt: skip
SOUP = st.lists(SCRAPS | st.binary(max_size=4), max_size=30).map(b"".join)


@FUZZ
@given(SOUP, PLACES, PLACES)
@example(POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc", [], [70])
@example(NEXT + b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT, [], [1, 33])
def test_any_bytes_in_any_cuts(data, places, others):
    """No bytes raise; requests come first and at most one refusal, last; cuts change nothing."""
    seen = read_pieces(cut(data, places))

    assert all(isinstance(item[0], bytes) for item in seen[:-1])
    assert seen == read_pieces(cut(data, others))


@FUZZ
@given(SOUP, SOUP)
def test_nothing_comes_after_a_refusal(data, more):
    """Once refused, a connection's bytes are not trusted any more, whatever they are."""
    reader = Reader(LARGE)
    for piece in (data, b"\0", more, NEXT):
        if piece and not any(isinstance(item, Refused) for item in reader.items):
            reader.feed(piece)
    count = len(reader.items)
    reader.feed(NEXT)

    assert isinstance(reader.items[-1], Refused)
    assert (count, Phase.BROKEN) == (len(reader.items), reader.phase)


# -- good requests -------------------------------------------------------------------------------

TOKENS = st.text("abcXYZ019-_", min_size=1, max_size=8)
VALUES = st.text("abc XYZ019:,;=\"'/", max_size=12).map(str.strip)


@st.composite
def requests(draw):
    """Give a request's bytes, framed in either way, and what a reader must make of it."""
    method = draw(st.sampled_from([b"GET", b"POST", b"DELETE", b"OPTIONS"]))
    path = b"/" + draw(TOKENS).encode()
    body = draw(st.binary(max_size=60))
    lines = [f"X-{name}: {value}" for name, value in draw(st.lists(st.tuples(TOKENS, VALUES)))]
    lines.insert(0, draw(st.sampled_from(["Host: h", "host:h", "HOST:  h:80"])))
    request_id = draw(st.sampled_from(["", "a-1", "0123/x=.y:z+_"]))
    if request_id:
        lines.append(f"x-request-ID: {request_id}")
    if draw(st.booleans()):
        lines.append("Transfer-Encoding: chunked")
        framed = b"".join(
            b"%x%b\r\n%b\r\n" % (len(part), draw(st.sampled_from([b"", b";a", b";a=b"])), part)
            for part in cut(body, draw(PLACES))
            if part
        )
        framed += b"0\r\n" + draw(st.sampled_from([b"", b"X-Sum: 1\r\n", b"Host: 2\r\n"])) + b"\r\n"
    else:
        framed = body
        lines.append(f"content-LENGTH: {len(body)}")
    head = draw(st.permutations(lines))
    data = b"%b %b HTTP/1.1\r\n" % (method, path)
    data += "".join(f"{line}\r\n" for line in head).encode() + b"\r\n" + framed
    return data, (method, path, body, request_id.encode(), True)


@FUZZ
@given(st.lists(requests(), min_size=1, max_size=4), PLACES)
def test_good_requests_come_out_exactly(asked, places):
    """Pipelined requests in either framing come out in order with every byte of their bodies."""
    data = b"".join(data for data, _ in asked)

    assert [expected for _, expected in asked] == read_pieces(cut(data, places))


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"POST / HTTP/1.1\r\nHost: h\r\n", True),
        (b"POST / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n", False),
        (b"POST / HTTP/1.0\r\n", False),
        (b"POST / HTTP/1.0\r\nConnection: Keep-Alive\r\n", True),
    ],
)
def test_keep_alive(head, expected):
    """A connection is kept as its version and its `Connection` header say."""
    assert [(b"POST", b"/", b"ab", b"", expected)] == read(head + b"Content-Length: 2\r\n\r\nab")


@pytest.mark.parametrize("request_id", [b"", b"a b", b'"x"', b"a" * 129, b"\xff", b"a\tb", b"<a>"])
def test_odd_request_id(request_id):
    """A request's id is taken only if it is safe to repeat in a header, a log and a page."""
    head = POST + b"X-Request-Id: " + request_id + b"\r\n\r\n"

    assert [(b"POST", b"/p", b"", b"", True)] == read(head)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", True),
        (POST + b"Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n", True),
        (POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\na", False),
        (POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", False),
        (POST + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", False),
        (POST + b"Expect: 100-continue\r\nContent-Length: 9999999\r\n\r\n", False),
        (b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", False),
        (POST + b"Content-Length: 3\r\n\r\n", False),
    ],
)
def test_wants_continue(data, expected):
    """`100 Continue` is due only to a caller that asked for it and has sent no body so far."""
    reader = Reader(LARGE)
    reader.feed(data)

    assert expected is reader.wants_continue


@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"\r\n", b""),
    ],
)
def test_an_offer_to_upgrade_is_passed_over(framing, body, size):
    """A request that offers HTTP/2, as Java's client always does, is read as if it did not."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    data = POST + b"X-Request-Id: i\r\n" + offer + framing
    expected = (b"POST", b"/p", body, b"i", True)

    assert [expected, expected, (b"GET", b"/next", b"", b"", True)] == read(data * 2 + NEXT, size)


# -- bad requests --------------------------------------------------------------------------------

BAD = {
    "both lengths, chunked last": (400, POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "both lengths, chunked first": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
    "length twice, equal": (400, POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    "length twice, different": (400, POST + b"Content-Length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
    "list of lengths": (400, POST + b"Content-Length: 3, 3\r\n\r\nabc"),
    "negative length": (400, POST + b"Content-Length: -3\r\n\r\nabc"),
    "hexadecimal length": (400, POST + b"Content-Length: 0x3\r\n\r\nabc"),
    "empty length": (400, POST + b"Content-Length:\r\n\r\n"),
    "length beyond 64 bits": (400, POST + b"Content-Length: 18446744073709551619\r\n\r\nabc"),
    "length beyond the bound": (413, POST + b"Content-Length: 1048577\r\n\r\n"),
    "length beyond 63 bits": (413, POST + b"Content-Length: 9223372036854775809\r\n\r\n"),
    "coding gzip": (501, POST + b"Transfer-Encoding: gzip\r\n\r\n"),
    "coding identity": (501, POST + b"Transfer-Encoding: identity\r\n\r\n"),
    "coding identity and a length": (501, POST + b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc"),
    "coding that ends like chunked": (501, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "list of codings": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunked with a parameter": (501, POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    "chunked listed twice": (400, POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    "chunked twice": (400, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunked and identity": (400, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    "empty coding": (400, POST + b"Transfer-Encoding:\r\nContent-Length: 3\r\n\r\nabc"),
    "chunked behind a control sign": (400, POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n"),
    "chunked in HTTP/1.0": (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "folded header": (400, POST + b"X: a\r\n b\r\n\r\n"),
    "folded first header": (400, b"GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
    "space before a colon": (400, POST + b"X : a\r\n\r\n"),
    "space before a length's colon": (400, POST + b"Content-Length : 3\r\n\r\nabc"),
    "header without a colon": (400, POST + b"Xabc\r\n\r\n"),
    "NUL in a name": (400, POST + b"X\0: a\r\n\r\n"),
    "NUL in a value": (400, POST + b"X: a\0b\r\n\r\n"),
    "NUL in a target": (400, b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n"),
    "letter beyond ASCII in a name": (400, POST + b"X\xe9: a\r\n\r\n"),
    "bare CR in a value": (400, POST + b"X: a\rb\r\n\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "Host only in a trailer": (400, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: h\r\n\r\n"),
    "Host twice": (400, b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    "chunk without a size": (400, CHUNKED + b"\r\nabc\r\n0\r\n\r\n"),
    "chunk's size negative": (400, CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n"),
    "chunk's size with 0x": (400, CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n"),
    "chunk's size before a space": (400, CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n"),
    "chunk's size no number": (400, CHUNKED + b"g\r\nabc\r\n0\r\n\r\n"),
    "chunk's size beyond 64 bits": (400, CHUNKED + b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "chunk longer than its size": (400, CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n"),
    "chunk shorter than its size": (400, CHUNKED + b"3\r\nab\r\n0\r\n\r\n"),
    "chunk's extension is empty": (400, CHUNKED + b"3;\r\nabc\r\n0\r\n\r\n"),
    "bare CR in a chunk's extension": (400, CHUNKED + b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    "length in a trailer": (400, CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n"),
    "coding in a trailer": (400, CHUNKED + b"0\r\nTransfer-Encoding: gzip\r\n\r\n"),
    "folded trailer": (400, CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n"),
    "unknown expectation": (417, POST + b"Expect: 200-ok\r\nContent-Length: 3\r\n\r\nabc"),
    "two expectations": (417, POST + b"Expect: 100-continue, x\r\nContent-Length: 3\r\n\r\nabc"),
    "CONNECT": (501, b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n"),
    "preface of HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
    "HTTP/0.9": (505, b"GET / HTTP/0.9\r\nHost: h\r\n\r\n"),
    "HTTP/1.2": (400, b"GET / HTTP/1.2\r\nHost: h\r\n\r\n"),
    "hello of TLS": (501, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "unknown method": (501, b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n"),
    "no target": (400, b"GET HTTP/1.1\r\nHost: h\r\n\r\n"),
    "space in a target": (400, b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
    "target beyond ASCII": (400, b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n"),
    "thousands of headers": (431, POST + b"X: y\r\n" * 15_000 + b"\r\n"),
    "one huge header": (431, POST + b"X: " + b"y" * 65_536 + b"\r\n\r\n"),
    "huge target": (431, b"GET /" + b"y" * 65_536 + b" HTTP/1.1\r\nHost: h\r\n\r\n"),
    "huge trailer": (431, CHUNKED + b"0\r\nX: " + b"y" * 65_536 + b"\r\n\r\n"),
    "chunked body beyond the bound": (413, CHUNKED + (b"80000\r\n" + b"x" * 0x80000 + b"\r\n") * 3 + b"0\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_request(name):
    """What could be read in two ways, or is too large, is one refusal and never a request."""
    status, data = BAD[name]
    seen = read(data + NEXT)

    assert [status] == [item[0] for item in seen]
    assert seen == read(data + NEXT, 1009 if len(data) > 1000 else 1)


@pytest.mark.parametrize("name", ["list of codings", "no Host", "CONNECT"])
def test_bad_request_behind_a_good_one(name):
    """A good request is not lost to the bad one that follows it in the same read."""
    status, data = BAD[name]

    assert [b"GET", status] == [item[0] for item in read(NEXT + data + NEXT)]


FRAMED = CHUNKED + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
ENDS = [at for at in range(len(FRAMED)) if FRAMED[at : at + 2] == b"\r\n"]


@pytest.mark.parametrize("end", [b"\n", b"\r"])
@pytest.mark.parametrize("place", ENDS)
def test_line_that_ends_by_halves(place, end):
    """A line ends with CRLF: half of it, anywhere in head, chunks or trailers, is refused."""
    data = FRAMED[:place] + end + FRAMED[place + 2 :] + NEXT

    assert [400] == [item[0] for item in read(data)]
    assert [400] == [item[0] for item in read(data, 1)]


def test_empty_lines_before_a_request():
    """Empty lines in front of a request are passed over, as the standard asks."""
    assert [(b"GET", b"/next", b"", b"", True)] == read(b"\r\n\r\n" + NEXT)


# -- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 7])
def test_head_up_to_the_bound(size):
    """A head of the largest size, counted with every byte, is read for any cuts."""
    start = b"GET / HTTP/1.1\r\nHost: h\r\nX: "
    head = start + b"y" * (KB - len(start) - 4) + b"\r\n\r\n"

    assert KB == len(head)
    assert [(b"GET", b"/", b"", b"", True)] == read(head, size, SMALL)


@pytest.mark.parametrize("framing", ["length", "chunked", "bytes"])
@pytest.mark.parametrize(("size", "expected"), [(KB, b"POST"), (KB + 1, 413)])
def test_body_up_to_the_bound(framing, size, expected):
    """A body of the largest size is read in either framing, one byte more is refused."""
    data = {
        "length": POST + b"Content-Length: %d\r\n\r\n" % size + b"x" * size,
        "chunked": CHUNKED + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n",
        "bytes": CHUNKED + b"1\r\nx\r\n" * size + b"0\r\n\r\n",
    }[framing]

    assert [expected] == [item[0] for item in read(data, 0, SMALL)]
    assert [expected] == [item[0] for item in read(data, 1, SMALL)]


def test_trailer_behind_a_large_body():
    """Trailers are weighed for themselves: a body larger than a head may have one."""
    data = CHUNKED + b"10000\r\n" + b"x" * 0x10000 + b"\r\n0\r\nX-Sum: 1\r\n\r\n"

    assert [b"x" * 0x10000] == [item[2] for item in read(data, 0, Inbound(header_kb=1))]


ENDLESS = {
    "target": (431, b"GET /", b"y", 2 * KB),
    "name": (431, POST, b"y", 2 * KB),
    "value": (431, POST + b"X: ", b"y", 2 * KB),
    "headers": (431, POST, b"X: y\r\n", 2 * KB),
    "spaces before a value": (431, POST + b"X:", b" ", 2 * KB),
    "body": (413, CHUNKED + b"ffffff\r\n", b"x", 2 * KB),
    "small chunks": (413, CHUNKED, b"1\r\nx\r\n", 7 * KB),
    "chunk's extension": (400, CHUNKED + b"1;", b"a", 2 * KB),
    "chunks with extensions": (413, CHUNKED, b"1;" + b"a" * 999 + b"\r\nx\r\n", 10 * KB),
    "trailer's name": (400, CHUNKED + b"0\r\n", b"y", 2 * KB),
    "trailer's value": (400, CHUNKED + b"0\r\nX: ", b"y", 2 * KB),
    "trailers": (431, CHUNKED + b"0\r\n", b"X: y\r\n", 2 * KB),
}


@pytest.mark.parametrize("size", [1, 500, 8 * KB])
@pytest.mark.parametrize("name", ENDLESS)
def test_what_comes_to_no_end(name, size):
    """A request without an end is refused at its bound, at most two reads late."""
    status, start, more, most = ENDLESS[name]
    assert most <= (RAW_OVER_BODY + 2) * KB
    reader = Reader(SMALL)
    reader.feed(start)
    fed = 0
    stream = more * (most // len(more) + 2 * size)
    while not reader.items and fed < most + 2 * size:
        reader.feed(stream[fed : fed + size])
        fed += size

    assert [status] == [item.status for item in reader.items]


def test_time_out():
    """A request that is given up is refused as such, and what still comes of it is ignored."""
    reader = Reader(LARGE)
    reader.feed(POST)
    reader.time_out()
    reader.feed(b"\r\n" + NEXT)

    assert [408] == [item.status for item in reader.items]


def test_phases():
    """The phase tells which clock is due: none, the head's, the body's."""
    reader = Reader(LARGE)
    seen = [reader.phase]
    for piece in (
        b"P",
        b"OST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n",
        b"a",
        b"b",
        b"\0",
    ):
        reader.feed(piece)
        seen.append(reader.phase)

    expected = [Phase.IDLE, Phase.HEAD, Phase.BODY, Phase.BODY, Phase.IDLE, Phase.BROKEN]
    assert expected == seen
    assert [Request, Refused] == [type(item) for item in reader.items]
