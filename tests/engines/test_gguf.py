"""Tests of the walk over a GGUF header, on headers made by hand."""

import struct

import pytest

from baseload.engines import gguf

U32, TEXT, ARRAY = 4, 8, 9


def text(word):
    return struct.pack("<Q", len(word)) + word


def model(*, pairs=(), data_bytes=96, version=3, offset=32):
    """Return a file with one tensor of 64 bytes that begins `offset` bytes into the data."""
    head = b"GGUF" + struct.pack("<IQQ", version, 1, len(pairs)) + b"".join(pairs)
    head += text(b"weight") + struct.pack("<IQQIQ", 2, 4, 4, 0, offset)
    return head + bytes(-len(head) % gguf.ALIGNMENT_BYTES) + bytes(data_bytes)


PAIRS = (
    text(b"general.name") + struct.pack("<I", TEXT) + text(b"tiny"),
    text(b"n_ctx") + struct.pack("<II", U32, 4096),
    text(b"tokens") + struct.pack("<IIQ", ARRAY, TEXT, 2) + text(b"a") + text(b"bc"),
    text(b"kinds") + struct.pack("<IIQ", ARRAY, U32, 3) + bytes(12),
)


def test_a_whole_file_has_no_fault(tmp_path):
    """Every kind of metadata is stepped over, and a file that holds its tensors passes."""
    path = tmp_path / "m.gguf"
    path.write_bytes(model(pairs=PAIRS))

    assert None is gguf.fault(path)


def test_a_file_cut_anywhere_is_found_out(tmp_path):
    """Whatever the length at which a file was cut, in header or data, it is called cut short."""
    whole = model(pairs=PAIRS)
    path = tmp_path / "m.gguf"
    for length in range(4, len(whole)):
        path.write_bytes(whole[:length])

        assert "is cut short" in str(gguf.fault(path)), length


def test_alignment_moves_the_data(tmp_path):
    """A larger `general.alignment` is taken into account."""
    pair = text(b"general.alignment") + struct.pack("<II", U32, 4096)
    path = tmp_path / "m.gguf"
    path.write_bytes(model(pairs=[pair], offset=4096))

    assert "its last tensor begins at 8192" in str(gguf.fault(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 a zip", "is not a GGUF model: it begins with b'PK\\x03\\x04'"),
        (b"<html>", "is not a GGUF model"),
        (model(version=9), "is GGUF version 9"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path, content, said):
    """An empty file, another kind of file and an unknown version are told apart."""
    path = tmp_path / "m.gguf"
    path.write_bytes(content)

    assert said in str(gguf.fault(path))


def test_metadata_of_an_unknown_kind_is_left_to_llama_cpp(tmp_path):
    """A type that the walk does not know is no reason to refuse a model."""
    path = tmp_path / "m.gguf"
    path.write_bytes(model(pairs=[text(b"new") + struct.pack("<I", 77)]))

    assert None is gguf.fault(path)
