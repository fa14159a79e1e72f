"""What rows of measurements mean: each habit of the format, and mistakes by their line."""

import csv

import pytest

from baseload.plan.speed import measured
from baseload.plan.speed.layout import Layout
from baseload.plan.speed.measured import NEEDED, MeasurementsError, read

ROW = {
    "backend": "vllm", "model_path": "meta-llama/Llama-3.1-70B", "system": "h100_sxm",
    "precision": "fp8", "mode": "agg", "isl": "1024", "osl": "512", "batch_size": "16",
    "tp_size": "4", "pp_size": "1", "attention_dp_size": "1", "moe_tp_size": "1",
    "moe_ep_size": "1", "silicon_ttft_ms": "250", "silicon_tpot_ms": "12.5",
}  # fmt: skip


@pytest.fixture
def file(tmp_path):
    """Write rows, each as it differs from the one above, and give the file."""

    def write(*rows, columns=()):
        path = tmp_path / "points.csv"
        with path.open("w", newline="") as out:
            writer = csv.DictWriter(out, [*ROW, *columns], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(ROW | row for row in rows)
        return path

    return write


def one(file, **row):
    (found,) = read(file(row, columns=[name for name in row if name not in ROW]))
    return found


def test_a_row_is_read(file):
    """Names and sizes as stated, times in seconds."""
    row = one(file)

    assert ("h100_sxm", "vllm", "meta-llama/Llama-3.1-70B", "agg", "fp8") == (
        row.system, row.engine, row.model, row.mode, row.precision,
    )  # fmt: skip
    assert (1024, 512, 16.0) == (row.prompt, row.answer, row.calls)
    assert Layout(tp=4) == row.layout
    assert (0.25, 0.0125) == (row.ttft_s, row.tpot_s)


def test_the_batch_is_of_each_copy(file):
    """With eight copies of attention, a batch of 16 is 128 calls under way."""
    row = one(file, tp_size="1", attention_dp_size="8", moe_tp_size="1", moe_ep_size="8")

    assert 128.0 == row.calls
    assert Layout(dp=8, ep=8) == row.layout


@pytest.mark.parametrize(
    ("stated", "meant"),
    [
        # tp, dp, moe_tp, moe_ep
        (("64", "1", "8", "8"), Layout(tp=8, ep=8)),
        (("16", "1", "4", "4"), Layout(tp=4, ep=4)),
        (("8", "8", "8", "8"), Layout(dp=8, ep=8)),
        (("4", "4", "1", "16"), Layout(dp=4, ep=4)),
        # Not so: an ordinary layout is taken at its word.
        (("8", "1", "1", "8"), Layout(tp=8, ep=8)),
        (("8", "1", "8", "1"), Layout(tp=8)),
        (("2", "4", "1", "8"), Layout(tp=2, dp=4, ep=8)),
        (("16", "1", "16", "1"), Layout(tp=16)),
    ],
)
def test_a_layout_that_is_stated_twice_over_counts_once(file, stated, meant):
    """`tp 64, moe_tp 8, moe_ep 8` are 8 accelerators, `tp 4, dp 4, ep 16` are 4."""
    names = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    row = one(file, **dict(zip(names, stated, strict=True)))

    assert meant == row.layout


def test_calls_are_counted_by_the_copies_that_were_stated(file):
    """A layout stated twice over keeps its calls: 4 copies of 16."""
    row = one(file, tp_size="4", attention_dp_size="4", moe_tp_size="1", moe_ep_size="16")

    assert 64.0 == row.calls


@pytest.mark.parametrize("empty", ["", "0"])
def test_what_is_not_divided_may_be_left_out(file, empty):
    """An empty count and 0 are 1."""
    row = one(file, pp_size=empty, moe_tp_size=empty, moe_ep_size=empty)

    assert Layout(tp=4) == row.layout


def test_experts_that_do_not_fill_the_replica_are_split(file):
    """`ep 3` on four accelerators cannot be: then no whole experts are spread."""
    assert Layout(tp=4) == one(file, moe_ep_size="3").layout


def test_a_precision_may_be_left_out(file):
    """Empty is the model's own, which only the model can say."""
    assert "" == one(file, precision="").precision


@pytest.mark.parametrize(
    ("dp", "isl", "harness", "sizes"),
    [
        ("1", "1024", "drawn", 0.9),
        ("0", "1000", "drawn", 0.9),
        ("", "1000", "round", 1.0),
        ("", "12000", "round", 1.0),
        ("", "1024", "grid", 1.0),
        ("", "3072", "grid", 1.0),
    ],
)
def test_harnesses_are_told_apart(file, dp, isl, harness, sizes):
    """Without `attention_dp_size` it is one with round sizes or one with powers of two.

    The rest draws sizes: of those stated, nine tenths in the mean.
    """
    row = one(file, attention_dp_size=dp, isl=isl)

    assert (harness, sizes) == (row.harness, row.sizes)


SPLIT = {
    "mode": "disagg", "attention_dp_size": "", "decode_batch_size": "8", "decode_tp_size": "2",
    "decode_pp_size": "1", "decode_attention_dp_size": "4", "decode_moe_tp_size": "1",
    "decode_moe_ep_size": "8", "prefill_tp_size": "4",
}  # fmt: skip


def test_of_divided_machines_those_that_write_count(file):
    """With `disagg`, batch and layout are those of the writing side."""
    row = one(file, **SPLIT)

    assert "disagg" == row.mode
    assert 32.0 == row.calls
    assert Layout(tp=2, dp=4, ep=8) == row.layout
    assert "drawn" == row.harness


@pytest.mark.parametrize("row", [SPLIT | {"decode_batch_size": ""}, {"batch_size": ""}])
def test_a_row_without_its_batch_has_no_calls(file, row):
    """It is read all the same, and cannot be predicted."""
    assert 0.0 == one(file, **row).calls


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"backend": "tgi"}, "backend `tgi` is none of vllm, sglang, trtllm"),
        ({"isl": "many"}, "`isl` is `many`, not a number above 0"),
        ({"isl": "-5"}, "`isl` is `-5`, not a number above 0"),
        ({"osl": "0"}, "`osl` is `0`, not a number above 0"),
        ({"silicon_ttft_ms": ""}, "`silicon_ttft_ms` is ``, not a number above 0"),
        ({"silicon_tpot_ms": "0"}, "`silicon_tpot_ms` is `0`, not a number above 0"),
        ({"silicon_tpot_ms": "nan"}, "`silicon_tpot_ms` is `nan`, not a number above 0"),
        ({"batch_size": "inf"}, "`batch_size` is `inf`, not a number above 0"),
        ({"batch_size": "-1"}, "`batch_size` is `-1`, not a number above 0"),
        ({"tp_size": "0.5"}, "`tp_size` is `0.5`, not a whole number"),
        ({"tp_size": "-4"}, "`tp_size` is `-4`, not a number above 0"),
    ],
)
def test_a_bad_row_is_named_by_its_line(file, row, said):
    """The third line of the file is wrong: that is said, and what is wrong with it."""
    path = file({}, row)

    with pytest.raises(MeasurementsError) as error:
        list(read(path))

    assert f"{path}:3: {said}" == str(error.value)


def test_a_row_that_breaks_off_is_named_by_its_line(file):
    """A line that ends in the middle of a file's columns is no row."""
    path = file({})
    path.write_text(path.read_text() + "vllm,model,h100_sxm\n")

    with pytest.raises(MeasurementsError, match=r"points\.csv:3: "):
        list(read(path))


def test_missing_columns_are_named(tmp_path):
    """All of them at once, in their order."""
    path = tmp_path / "points.csv"
    kept = [name for name in NEEDED if name not in {"isl", "tp_size"}]
    path.write_text(",".join(kept) + "\n")

    with pytest.raises(MeasurementsError) as error:
        list(read(path))

    assert f"{path}:1: columns are missing: isl, tp_size" == str(error.value)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\x00", b'a,b\n"' + b"x" * 200_000])
def test_what_is_no_such_file_is_said(tmp_path, text):
    """Empty, not text, or one endless field: no traceback."""
    path = tmp_path / "points.csv"
    path.write_bytes(text)

    with pytest.raises(MeasurementsError, match=r"points\.csv"):
        list(read(path))


def test_a_file_is_bounded(file, monkeypatch):
    """More rows than a person measures are refused, with what to do."""
    monkeypatch.setattr(measured, "ROWS_MAX", 3)

    with pytest.raises(MeasurementsError, match="more than 3 rows; split the file"):
        list(read(file({}, {}, {}, {})))
