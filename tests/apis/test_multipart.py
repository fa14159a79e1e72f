"""Forms with files: what clients send is read, what is broken is refused."""

from contextlib import suppress
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.apis.multipart import Field, read_form
from baseload.apis.openai import BadRequestError


def form(*parts: tuple[str, bytes], boundary: str = "xyz") -> tuple[str, bytes]:
    """Give a form as browsers write it; each part is its header lines and its value."""
    body = b"".join(
        b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary.encode(), head.encode(), value)
        for head, value in parts
    )
    return f"multipart/form-data; boundary={boundary}", body + b"--%b--\r\n" % boundary.encode()


def test_fields_and_files_are_read():
    """Values come back byte for byte, a file with its name."""
    kind, body = form(
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
    assert expected == read_form(kind, body)


@given(st.binary(max_size=300), st.sampled_from(["x", "----WebKitFormBoundaryAbC", "a'b"]))
def test_any_value_survives(value, boundary):
    """Whatever a file holds comes back, as long as it does not hold the boundary."""
    kind, body = form(
        ('content-disposition: form-data; name="file"; filename="f"', value), boundary=boundary
    )

    if b"\r\n--" + boundary.encode() not in b"\r\n" + value + b"\r\n":
        assert {"file": Field(value, "f")} == read_form(kind, body)


def test_the_standard_librarys_forms_are_read():
    """What Python's own email package would send as form data is understood."""
    message = EmailMessage()
    message["Content-Disposition"] = 'form-data; name="purpose"'
    message.set_payload("batch")
    part = message.as_bytes().replace(b"\n", b"\r\n")
    body = b"preamble\r\n--b\r\n" + part + b"\r\n--b--\r\nepilogue"

    assert Field(b"batch", None) == read_form("Multipart/Form-Data; boundary=b", body)["purpose"]


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("application/json", b"{}", "content-type"),
        ("multipart/form-data", b"", "boundary"),
        ("multipart/form-data; boundary=b", b"", "broken off"),
        ("multipart/form-data; boundary=b", b"--b\r\nX: y\r\n\r\nvalue\r\n--b--", "no name"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nvalue',
            "broken off",
        ),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\n\r\n" * 40 + b"--b--", "more than 32"),
    ],
)
def test_broken_forms_are_refused(kind, body, expected):
    """Each says what is wrong."""
    with pytest.raises(BadRequestError, match=expected):
        read_form(kind, body)


@given(st.binary(max_size=400))
def test_garbage_never_raises_anything_else(body):
    """Any bytes are a form or a refusal."""
    with suppress(BadRequestError):
        read_form("multipart/form-data; boundary=b", b"--b\r\n" + body)
