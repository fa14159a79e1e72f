"""Headers that lie: GGUF and safetensors are looked at without a crash, and within bounds."""

import json
import struct
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baseload.engines import gguf
from baseload.engines.weights import formats, safetensors
from tests.engines import weights_kit

LOOK_MAX_S = 20.0
"""Far above what any header takes; it is there to catch what would take for ever."""

QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TENSOR = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def st_file(header, data_bytes=16):
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + bytes(data_bytes)


def looked(path, content):
    path.write_bytes(content)
    return str(formats.fault(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (st_file({"a": TENSOR, "__metadata__": {"format": "pt"}}), "None"),
        (st_file(b'{"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}   '), "None"),
        (st_file({"a": TENSOR | {"dtype": "F4", "shape": [32]}}), "None"),
        (b"", "do not even hold the length"),
        (struct.pack("<Q", 2**63) + b"{}", "100 MB are the most"),
        (struct.pack("<Q", 100) + b"{}", "cut short: it ends inside its header"),
        (st_file(b"[]"), "is no JSON object"),
        (st_file(b'{"a":' * 5000), "no safetensors"),
        (st_file({"a": TENSOR | {"shape": [2, 3]}}), "not as large as its shape"),
        (st_file({"a": TENSOR | {"shape": [2**62, 2**62, 2**62]}}), "not as large as its shape"),
        (st_file({"a": TENSOR | {"shape": [-1, -4]}}), "no safetensors"),
        (st_file({"a": TENSOR | {"dtype": "EVIL"}}), "unknown type 'EVIL'"),
        (st_file({"a": TENSOR | {"data_offsets": [16, 0]}}), "not as large as its shape"),
        (st_file({"a": TENSOR, "b": TENSOR}), "in another's place"),
        (st_file({"a": TENSOR | {"data_offsets": [16, 32]}}, 32), "behind a gap"),
        (st_file({"a": TENSOR}, 15), "cut short: 15 bytes of data"),
        (st_file({"a": TENSOR}, 17), "1 bytes behind its last tensor"),
        (st_file({"a": 1}), "no safetensors"),
        (st_file({"__metadata__": {"a": 1}}, 0), "no safetensors"),
    ],
    ids=range(19),
)
def test_safetensors_are_held_against_their_own_rules(tmp_path, content, said):
    """Lengths, types, shapes, places and the end of the file must fit each other."""
    assert said in looked(tmp_path / "m.safetensors", content)


def gguf_file(count=1, pairs=0, rest=b"", data_bytes=0):
    return b"GGUF" + struct.pack("<IQQ", 3, count, pairs) + rest + bytes(data_bytes)


def info(name=b"w", shape=(16,), kind=0, offset=0):
    head = struct.pack("<Q", len(name)) + name + struct.pack("<I", len(shape))
    return head + struct.pack(f"<{len(shape)}QIQ", *shape, kind, offset)


PAIR = struct.pack("<Q", 1) + b"k" + struct.pack("<I", 4) + bytes(4)
LONG = struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 2**60)
ALIGN = struct.pack("<Q", 17) + b"general.alignment" + struct.pack("<II", 4, 0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gguf_file(rest=info(), data_bytes=128), "None"),
        (gguf_file(2**63), "which cannot be"),
        (gguf_file(0, 2**40), "which cannot be"),
        (gguf_file(1000, data_bytes=100), "ends inside its header"),
        (gguf_file(rest=struct.pack("<Q", 2**64 - 8), data_bytes=90), "ends inside its header"),
        (gguf_file(rest=struct.pack("<Q", 70_000), data_bytes=80_000), "name of 70000 bytes"),
        (gguf_file(rest=info(shape=(1,) * 5), data_bytes=128), "of 5 dimensions"),
        (gguf_file(rest=info(shape=(2**62, 2**62)), data_bytes=128), "is cut short"),
        (gguf_file(rest=info(shape=(2**63 + 1,)), data_bytes=128), "is cut short"),
        (gguf_file(rest=info(shape=(33,), kind=8), data_bytes=128), "no whole blocks"),
        (gguf_file(rest=info(offset=8), data_bytes=128), "no multiple of 32"),
        (gguf_file(rest=info(offset=2**64 - 32), data_bytes=128), "is cut short"),
        (gguf_file(2, rest=info(b"a") + info(b"b"), data_bytes=256), "in one place"),
        (gguf_file(2, rest=info() + info(offset=64), data_bytes=256), "two tensors of one name"),
        (gguf_file(0, 2, PAIR + PAIR, 64), "key 'k' twice"),
        (gguf_file(0, 1, LONG, 64), "ends inside its header"),
        (gguf_file(0, 1, ALIGN, 64), "aligned to 0"),
        (gguf_file(0, 1, ALIGN[:-4] + struct.pack("<I", 1 << 30), 64), "no power of two up to"),
        (gguf_file(0, 1, ALIGN.replace(struct.pack("<II", 4, 0), bytes(12)), 64), "in type 0"),
        (b"GGUF" + struct.pack(">IQQ", 3, 1, 0), "big-endian"),
    ],
    ids=range(20),
)
def test_gguf_headers_that_lie_are_found_out(tmp_path, content, said):
    """Counts, lengths, shapes and offsets that cannot be are named."""
    assert said in looked(tmp_path / "m.gguf", content)


@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
@QUICK
@given(data=st.data())
def test_any_change_of_a_header_is_survived(tmp_path, kind, data):
    """Whatever bytes of a whole file are changed or cut, the outcome is an answer, and soon."""
    whole = bytearray(weights_kit.gguf(64) if kind == "gguf" else weights_kit.safetensors(64))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    began_s = time.monotonic()

    assert isinstance(looked(tmp_path / f"m.{kind}", content), str)
    assert time.monotonic() - began_s < LOOK_MAX_S


@QUICK
@given(noise=st.binary(max_size=400))
def test_noise_is_survived(tmp_path, noise):
    """Bytes of any kind behind a right beginning are an answer, never a crash."""
    assert isinstance(looked(tmp_path / "m.gguf", b"GGUF\3\0\0\0" + noise), str)
    assert isinstance(
        looked(tmp_path / "m.safetensors", struct.pack("<Q", len(noise)) + noise), str
    )


def test_a_header_of_empty_texts_is_bounded(tmp_path, monkeypatch):
    """An array of very many texts costs bounded time: it is refused when there are too many."""
    monkeypatch.setattr(gguf, "STRINGS_MAX", 1000)
    texts = struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 5000) + bytes(8 * 5000)

    assert "more than 1000 texts" in looked(tmp_path / "m.gguf", gguf_file(0, 1, texts))


def test_pickles_are_known_under_any_name(tmp_path):
    """Names and first bytes give pickles away; a safetensors header that begins alike does not."""
    for length in (640, 896, 1152, 1408):  # whose first two bytes are those of pickles
        head = json.dumps({"a": TENSOR}).encode().ljust(length)
        assert "None" == looked(tmp_path / "m.safetensors", st_file(head))
    assert "is a pickle" in looked(tmp_path / "model.bin", b"anything")
    assert "is a pickle" in looked(tmp_path / "vocab.txt", b"\x80\x05\x95")
    assert "is a pickle" in looked(tmp_path / "m.safetensors", b"PK\x03\x04 archive/data.pkl")


def test_an_index_is_read_or_refused(tmp_path):
    """Indices name shards; what is none is an error in words."""
    path = tmp_path / "model.safetensors.index.json"
    path.write_text('{"metadata": {}, "weight_map": {"a": "x", "b": "y"}}')
    assert {"x", "y"} == safetensors.shards_of(path)
    path.write_text("[" * 100_000)
    assert "is no index of shards" in str(formats.fault_of_model(tmp_path, [path.name]))
