"""Forms with files: what clients send is read, what is broken is refused."""

from contextlib import suppress
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.apis.multipart import Field, read_form
from baseload.apis.openai import BadRequestError


def form(*parts: tuple[str, bytes], boundary: str = "xyz") -> bytes:
    """Give a form as browsers write it; each part is its header lines and its value."""
    body = b"".join(
        b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary.encode(), head.encode(), value)
        for head, value in parts
    )
    return body + b"--%b--\r\n" % boundary.encode()


def test_fields_and_files_are_read():
    """Values come back byte for byte, a file with its name."""
    body = form(
        ('Content-Disposition: form-data; name="purpose"', b"batch"),
        (
            'Content-Disposition: form-data; name="file"; filename="a \\"b\\".jsonl"',
            b"{}\r\n--xy\r\n",
        ),
    )

    expected = {
        "purpose": Field(b"batch", None),
        "file": Field(b"{}\r\n--xy\r\n", 'a "b".jsonl'),
    }
    assert expected == read_form(body)


@given(st.binary(max_size=300), st.sampled_from(["x", "----WebKitFormBoundaryAbC", "a'b"]))
def test_any_value_survives(value, boundary):
    """Whatever a file holds comes back, as long as it does not hold the boundary."""
    body = form(
        ('content-disposition: form-data; name="file"; filename="f"', value), boundary=boundary
    )

    if b"\r\n--" + boundary.encode() not in b"\r\n" + value + b"\r\n":
        assert {"file": Field(value, "f")} == read_form(body)


def test_the_standard_librarys_forms_are_read():
    """What Python's own email package would send as form data is understood."""
    message = EmailMessage()
    message["Content-Disposition"] = 'form-data; name="purpose"'
    message.set_payload("batch")
    part = message.as_bytes().replace(b"\n", b"\r\n")
    body = b"--b\r\n" + part + b"\r\n--b--\r\nepilogue"

    assert Field(b"batch", None) == read_form(body)["purpose"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "Send a form"),
        (b"{}", "Send a form"),
        (b"--" + b"b" * 200 + b"\r\n", "Send a form"),
        (b"--b\r\n", "broken off"),
        (b"--b\r\nX: y\r\n\r\nvalue\r\n--b--", "no name"),
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nvalue', "broken off"),
        (b"--b\r\n\r\n\r\n" * 40 + b"--b--", "more than 32"),
    ],
)
def test_broken_forms_are_refused(body, expected):
    """Each says what is wrong."""
    with pytest.raises(BadRequestError, match=expected):
        read_form(body)


@given(st.binary(max_size=400))
def test_garbage_never_raises_anything_else(body):
    """Any bytes are a form or a refusal."""
    with suppress(BadRequestError):
        read_form(b"--b\r\n" + body)
