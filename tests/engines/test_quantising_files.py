"""Tests of writing GGUF models in other precisions: small files, compared with the `gguf` package."""

import contextlib
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baseload.engines.gguf import fault
from baseload.engines.quantising import converting
from baseload.engines.quantising.header import Header, read_header, rows
from baseload.engines.quantising.targets import TARGETS
from baseload.errors import EngineError
from tests.engines.quantising_kit import converted, fields, planned, values, write_model

RNG = np.random.default_rng(5)
TENSORS = {
    "token_embd.weight": RNG.normal(0, 0.3, (50, 64)).astype(np.float32),
    "blk.0.attn_q.weight": RNG.normal(0, 0.1, (64, 64)).astype(np.float32),
    "blk.0.ffn_up_exps.weight": RNG.normal(0, 0.1, (3, 32, 64)).astype(np.float32),
    "blk.0.attn_norm.weight": RNG.normal(1, 0.1, 64).astype(np.float32),
    "blk.0.odd.weight": RNG.normal(0, 0.1, (7, 40)).astype(np.float32),
}


@pytest.fixture
def source(tmp_path):
    return write_model(tmp_path / "source.gguf", TENSORS)


@pytest.mark.parametrize("to", sorted(TARGETS))
def test_a_conversion_is_what_gguf_itself_would_write(source, tmp_path, to):
    """Values are those of the package's own rounding, the header is whole, the size as planned."""
    plan = planned(source, to)
    out = converted(source, to, tmp_path / "out.gguf")
    found = values(out)

    assert fault(out) is None
    assert plan.size_bytes == out.stat().st_size
    assert TENSORS.keys() == found.keys()
    for name, original in TENSORS.items():
        kind = gguf.GGMLQuantizationType[found[name][0]]
        expected = gguf.quants.dequantize(gguf.quants.quantize(original, kind), kind)
        assert np.array_equal(expected, found[name][1]), name


@pytest.mark.parametrize(
    ("to", "error_max"), [("fp32", 0), ("bf16", 0.004), ("int8", 0.01), ("int4", 0.12)]
)
def test_errors_are_as_small_as_the_precision_promises(source, tmp_path, to, error_max):
    """The root mean square of errors stays within what the number of bits allows."""
    found = values(converted(source, to, tmp_path / "out.gguf"))
    original = TENSORS["blk.0.attn_q.weight"]
    error = found["blk.0.attn_q.weight"][1] - original

    assert np.sqrt(np.mean(error**2)) <= error_max * np.sqrt(np.mean(original**2))


def test_metadata_is_kept_to_the_byte(source, tmp_path):
    """Only what says how the file is quantised is new."""
    before, after = fields(source), fields(converted(source, "int8", tmp_path / "out.gguf"))

    assert before == {name: after[name] for name in before}
    assert {"general.file_type", "general.quantization_version"} == after.keys() - before.keys()


def test_what_is_in_the_precision_already_is_copied(source, tmp_path):
    """A second conversion changes no byte, so rounding does not add up."""
    once = converted(source, "int4", tmp_path / "once.gguf")
    plan = planned(once, "int4")

    assert plan.is_copy
    assert not planned(once, "int8").is_copy
    assert once.read_bytes() == converted(once, "int4", tmp_path / "twice.gguf").read_bytes()


def test_a_model_is_written_piece_by_piece(source, tmp_path, monkeypatch):
    """With room for one row at a time the file is the same as in one go."""
    whole = converted(source, "int8", tmp_path / "whole.gguf")
    monkeypatch.setattr(converting, "CHUNK_WEIGHTS", 1)
    sizes = []
    converting.convert(planned(source, "int8"), tmp_path / "rows.gguf", sizes.append)

    assert whole.read_bytes() == (tmp_path / "rows.gguf").read_bytes()
    assert len(sizes) > 200
    assert max(sizes[1:]) <= 64 * 4


def test_a_model_that_is_no_number_is_refused(tmp_path):
    """A weight that is NaN would spoil a whole block silently; the tensor is named."""
    spoilt = TENSORS | {"blk.0.attn_q.weight": TENSORS["blk.0.attn_q.weight"].copy()}
    spoilt["blk.0.attn_q.weight"][3, 5] = np.nan
    source = write_model(tmp_path / "source.gguf", spoilt)
    with pytest.raises(EngineError, match=r"attn_q\.weight holds a weight that is no finite"):
        converted(source, "int8", tmp_path / "out.gguf")


@pytest.mark.parametrize(("to", "kind"), [("fp16", "F16"), ("int8", "Q8_0"), ("int4", "Q4_1")])
def test_what_fp16_cannot_hold_is_refused(tmp_path, to, kind):
    """Weights or scales beyond 65504 would become infinite; bf16 takes them."""
    large = TENSORS | {"blk.0.attn_q.weight": TENSORS["blk.0.attn_q.weight"] * np.float32(1e9)}
    source = write_model(tmp_path / "source.gguf", large)
    with pytest.raises(EngineError, match=f"too large for {kind}; take bf16"):
        converted(source, to, tmp_path / "out.gguf")

    assert fault(converted(source, "bf16", tmp_path / "bf16.gguf")) is None


def test_a_part_of_a_model_is_refused(tmp_path):
    """One of several files is not a model, and the error says what to do."""
    writer = gguf.GGUFWriter(tmp_path / "part.gguf", "llama")
    writer.add_uint16("split.count", 3)
    writer.add_tensor("token_embd.weight", TENSORS["token_embd.weight"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(EngineError, match="is one of 3 parts; merge them first"):
        planned(tmp_path / "part.gguf", "int8")


def test_a_header_is_read_as_gguf_reads_it(source):
    """Names, shapes, types and bytes of each tensor are those of the package's own reader."""
    found = read_header(source)
    tensors = gguf.GGUFReader(source).tensors

    assert fields(source) == found.fields
    assert [each.name for each in tensors] == [entry[0] for entry in found.tensors]
    for expected, entry in zip(tensors, found.tensors, strict=True):
        row_bytes = expected.data.shape[-1] * expected.data.itemsize
        assert expected.data.tobytes() == rows(source, found, entry, row_bytes).tobytes()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_header_that_lies_is_one_error(source, tmp_path, data):
    """Whatever bytes of a header are changed, what passes the check converts or is refused."""
    whole = bytearray(source.read_bytes())
    header_bytes = read_header(source).data_at
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(8, header_bytes - 1))] = data.draw(st.integers(0, 255))
    lying, out = tmp_path / "lying.gguf", tmp_path / "out.gguf"
    lying.write_bytes(whole)
    out.unlink(missing_ok=True)
    if fault(lying) is not None:
        return
    to = data.draw(st.sampled_from(sorted(TARGETS)))
    with contextlib.suppress(EngineError):
        plan = planned(lying, to)
        assert plan.size_bytes < 100_000_000
        converting.convert(plan, out)


@pytest.mark.parametrize("shape", [(), (0,), (0, 4), (4, 0)])
def test_a_tensor_without_weights_is_refused(shape):
    """A shape that holds nothing is named; llama.cpp's files have none."""
    found = Header({}, (("odd", shape, 0, 0),), 32, 64)
    with pytest.raises(EngineError, match="'odd' has no weights"):
        converting._plan(gguf, Path("x.gguf"), found, TARGETS["int8"])


@pytest.mark.parametrize("length", [0, 10, 30, 100, 200])
def test_a_header_that_ends_early_is_one_sentence(source, tmp_path, length):
    """Also a file that nobody has looked at before is refused cleanly."""
    (tmp_path / "cut.gguf").write_bytes(source.read_bytes()[:length])
    with pytest.raises(EngineError, match=r"the header of .*cut\.gguf cannot be read"):
        read_header(tmp_path / "cut.gguf")
