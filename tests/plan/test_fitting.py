"""What a model fits on: naming hardware, weighing it, selecting, and `baseload plan fit`."""

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from baseload.cli import app
from baseload.errors import BaseloadError
from baseload.plan.catalog.reading import load
from baseload.plan.hardware.fitting import Wish, fitting, layouts, precisions_of, weigh
from baseload.plan.hardware.machines import every, hardware_of, size_of
from baseload.plan.hardware.memory import fit
from baseload.plan.models.known import find
from baseload.plan.speed.layout import Layout

ROWS = load(today=date(2026, 11, 26))
V3 = find("deepseek-v3")
QWEN = find("deepseek-r1-distill-qwen-32b")
ONE = Wish(context=8192, calls=1)


def _run(*words: str) -> Result:
    env = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    return CliRunner().invoke(app, ["plan", "fit", *words], env=env)


def _said(result: Result) -> str:
    signs = {ord(sign): " " for sign in "│╭╮╰╯─"}
    return " ".join((result.stdout + result.stderr).translate(signs).split())


# -- hardware -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("h100", (1, 1, "h100", "1xh100")),
        ("8xh100", (1, 8, "h100", "8xh100")),
        ("2x8xH100", (2, 8, "h100", "2x8xh100")),
        ("p5.48xlarge", (1, 8, "h100", "p5.48xlarge")),
        ("2xp5.48xlarge", (2, 8, "h100", "2xp5.48xlarge")),
        ("gn10xp.20xlarge320", (1, 8, "v100-32", "GN10Xp.20XLARGE320")),
    ],
)
def test_hardware_is_named_by_count_or_instance(text, found):
    """Machines of so many, several joined, and instances, whatever the case of letters."""
    hardware = hardware_of(text, ROWS)

    assert found == (
        hardware.machines, hardware.per_machine, hardware.accelerator.name, hardware.name,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("h10", "did you mean `h100`?"),
        ("p5.48xlarg", "did you mean `p5.48xlarge`?"),
        ("0xh100", "counts go from 1"),
        ("8 h100", "write 8xh100"),
        ("2x8xp5.48xlarge", "p5.48xlarge has 8 x h100 in each machine; write 2xp5.48xlarge"),
    ],
)
def test_hardware_that_is_not_known_is_told_with_the_nearest(text, said):
    """One sentence says what is wrong and what to write instead."""
    with pytest.raises(BaseloadError) as error:
        hardware_of(text, ROWS)

    assert said in str(error.value)


def test_all_hardware_is_tried_once_and_smallest_first():
    """What is rented under several names is one; CPUs are none; small networks join nothing."""
    found = every(ROWS)
    names = [each.name for each in found]
    eight = found[names.index("8xh100")]

    assert sorted(found, key=size_of) == found
    assert len(set(names)) == len(names)
    assert {"p5.48xlarge", "Standard_ND96isr_H100_v5"} == {row.name for row in eight.instances}
    assert {"1xt4", "2xt4", "4xt4", "8xt4", "4x8xh100"} <= set(names)
    assert not any("xeon" in name or "epyc" in name for name in names)
    # An instance with one GPU and 0.6 GB/s of network is not joined with others like it.
    assert "2x1xt4" not in names


# -- weighing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "hardware", "precision", "fits"),
    [
        (V3, "8xh100", "fp8", False),
        (V3, "8xa100-80", "bf16", False),
        (V3, "8xh200", "fp8", True),
        (V3, "2x8xh100", "fp8", True),
        (V3, "2x8xh200", "bf16", True),
        (V3, "p4d.24xlarge", "int4", False),
        (QWEN, "1xl40s", "bf16", False),
        (QWEN, "1xa100-80", "bf16", True),
        (QWEN, "2xa100-80", "bf16", True),
        (QWEN, "1xh100", "fp8", True),
        (QWEN, "1xa100-80", "fp8", False),
    ],
)
def test_what_fits_and_what_does_not(shape, hardware, precision, fits):
    """Known cases: V3 in FP8 takes eight H200 or sixteen H100, in BF16 more than 8 x 80 GB."""
    found = weigh(shape, hardware_of(hardware, ROWS), precision, ONE)

    assert fits == found.fit.fits
    assert fits == (not found.fit.why)


def test_a_precision_that_hardware_lacks_is_impossible_not_merely_too_large():
    """A100 has no FP8, whatever the size; 8 H100 have it, and lack memory."""
    lacks = weigh(V3, hardware_of("8xa100-80", ROWS), "fp8", ONE)
    small = weigh(V3, hardware_of("8xh100", ROWS), "fp8", ONE)

    assert (False, True) == (lacks.is_possible, small.is_possible)
    assert "a100-80 cannot calculate with fp8 weights" in lacks.fit.why
    assert 0 < small.fit.missing_bytes < 20e9


def test_a_split_that_a_model_has_too_few_layers_for_is_impossible():
    """That says so, not that memory is missing, and does not blame the accelerator."""
    many = hardware_of("100x8xh200", ROWS)
    found = fitting(V3, [many], ["fp8"], Wish(context=8192, calls=10**9), has_all=True)

    assert "61 layers cannot be split over pp 100" == found.ways[0].fit.why
    assert (False, {}) == (found.ways[0].is_possible, found.impossible)


def test_the_split_with_room_for_most_calls_is_given():
    """For latent attention copies of it keep each call's cache once; dense models are split."""
    eight = hardware_of("8xh200", ROWS)
    spread = weigh(V3, eight, "int4", ONE)
    usual = fit(V3, eight.accelerator, Layout(tp=8), "int4", context=8192)

    assert Layout(dp=8, ep=8) == spread.layout
    assert spread.fit.sequences_max > usual.sequences_max
    assert Layout(tp=8) == weigh(QWEN, eight, "bf16", ONE).layout
    assert (Layout(tp=8, pp=2),) == layouts(V3, hardware_of("2x8xh200", ROWS))


@given(context=st.integers(1, 60_000), more=st.integers(1, 60_000), calls=st.integers(1, 500))
def test_longer_calls_and_more_of_them_never_fit_better(context, more, calls):
    """Whatever fits more tokens or calls fits fewer; what is missing never shrinks."""
    hardware = hardware_of("4xl40s", ROWS)
    small = weigh(QWEN, hardware, "bf16", Wish(context=context, calls=calls))
    large = weigh(QWEN, hardware, "bf16", Wish(context=context + more, calls=calls + 1))

    assert small.fit.missing_bytes <= large.fit.missing_bytes
    assert small.fit.sequences_max >= large.fit.sequences_max


# -- selecting ------------------------------------------------------------------------------------


def test_the_smallest_in_each_precision_is_found():
    """By memory of all accelerators; and the smallest that can be rented beside it."""
    found = fitting(QWEN, every(ROWS), precisions_of(QWEN), ONE)
    everything = fitting(QWEN, every(ROWS), precisions_of(QWEN), ONE, has_all=True)

    assert ["bf16", "fp8", "int4"] == [each.precision for each in found.smallest]
    for each in found.smallest:
        same = [one for one in everything.ways if one.precision == each.precision]
        assert each.memory_bytes == min(one.memory_bytes for one in same if one.fit.fits)
    assert all(each.instances for each in found.rented)
    assert found.left_out == len(everything.ways) - len(found.ways) > 100
    assert 0 == everything.left_out
    assert "a100-80" in found.impossible["fp8"]
    assert "h100" not in found.impossible["fp8"]


def test_what_misses_is_listed_nearest_first_and_none_of_it_fits():
    """After what fits, by the part of its memory that is missing; impossible ones are left out."""
    found = fitting(V3, every(ROWS), ["fp8"], ONE)
    misses = [each for each in found.ways if not each.fit.fits]
    missing = [each.fit.missing_bytes / each.fit.usable_bytes for each in misses]

    assert 3 == len(misses)
    assert sorted(missing) == missing
    assert min(missing) > 0
    assert all(each.is_possible for each in misses)


# -- the verb -------------------------------------------------------------------------------------


def test_what_fits_is_said_first_and_ends_with_0():
    """The smallest, then a table with its split, weights and room."""
    result = _run("--model", "deepseek-v3", "--hardware", "8xh200", "--hardware", "8xh100",
                  "--precision", "fp8")  # fmt: skip

    assert 0 == result.exit_code
    assert result.stdout.startswith("Smallest in fp8: 8xh200\n")
    assert "8xh200 fp8 dp8 ep8 100.7" in _said(result)
    assert "8xh100 fp8 tp8 85.0 14.2 weights alone are too large" in _said(result)


def test_nothing_that_fits_ends_with_1():
    """What is missing on each accelerator is said."""
    result = _run("--model", "deepseek-v3", "--hardware", "8xt4")

    assert 1 == result.exit_code
    assert result.stdout.startswith("Nothing fits.")
    assert "t4 cannot calculate with fp8 weights" in _said(result)


def test_data_is_the_same_as_what_is_shown():
    """`--json` has the struct, with the exit code of the table."""
    result = _run("--model", "deepseek-v3", "--hardware", "2xp5.48xlarge", "--precision", "fp8",
                  "--context", "32768", "--calls", "16", "--json")  # fmt: skip
    found = json.loads(result.stdout)

    assert 0 == result.exit_code
    assert (32768, 16) == (found["context"], found["calls"])
    (way,) = found["ways"]
    assert ("2xp5.48xlarge", 2, {"tp": 8, "pp": 2}) == (
        way["hardware"], way["machines"],
        {name: way["layout"][name] for name in ("tp", "pp")},
    )  # fmt: skip
    assert way["fit"]["sequences_max"] >= 16


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "deepseek-v9000"), "no model is known"),
        ((), "--model"),
        (("--model", "deepseek-v3", "--hardware", "h10"), "did you mean `h100`?"),
        (("--model", "deepseek-v3", "--precision", "fp7"), "`fp7` is none of"),
        (("--model", "deepseek-v3", "--kv", "int4"), "--kv"),
        (("--model", "deepseek-v3", "--context", "9999999"), "at most 163,840 tokens"),
        (("--model", "deepseek-v3", "--calls", "0"), "--calls"),
    ],
)
def test_mistakes_of_use_end_with_2(words, said):
    """One sentence names the option; nothing is printed as an answer."""
    result = _run(*words)

    assert (2, "") == (result.exit_code, result.stdout)
    assert said in _said(result)
