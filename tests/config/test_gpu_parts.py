"""Tests of parts of GPUs' memory, as a fleet file says them."""

import pytest

from baseload.config.reading import parse_fleet
from baseload.errors import FleetFileError


def fleet(*parts):
    """Write a fleet of engines, each with a part of memory and the GPUs that it names."""
    backends = "".join(
        f"  e{at}: {{engine: vllm, model: m, serve: {{gpu_memory: {part}, gpus: {gpus}}}}}\n"
        for at, (part, gpus) in enumerate(parts)
    )
    return f"backends:\n{backends}models:\n  m: {{tiers: [{{e0: {{model: m}}}}]}}\n"


@pytest.mark.parametrize(
    "parts",
    [
        [(0.6, [0]), (0.6, [1])],
        [(0.5, [0]), (0.5, [0])],
        [(0.1, [0])] * 10,
        [(1.0, [])],
        [(0.4, []), (0.6, [0]), (0.6, [1])],
    ],
    ids=["apart", "halves", "tenths", "alone", "everywhere"],
)
def test_parts_that_make_a_whole_are_sound(parts):
    """The sum is taken for each GPU, and a whole is not too much."""
    assert len(parts) == len(parse_fleet(fleet(*parts), "f", {}).backends)


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ([(0.6, [0]), (0.6, [0])], "GPU 0's memory come to 1.2"),
        ([(0.6, []), (0.6, [])], "GPU 0's memory come to 1.2"),
        ([(0.5, []), (0.4, [0]), (0.6, [3])], "GPU 3's memory come to 1.1"),
    ],
    ids=["one", "all", "both"],
)
def test_parts_of_more_than_a_whole_are_a_mistake(parts, what):
    """It is told at the last part, and once; who names no GPU is on each that others name."""
    with pytest.raises(FleetFileError) as found:
        parse_fleet(fleet(*parts), "f", {})
    (mistake,) = found.value.mistakes

    assert f"the parts of {what} with this one" == mistake.what
    assert f"backends.e{len(parts) - 1}.serve.gpu_memory" == mistake.path


def test_a_part_that_is_no_number_is_one_mistake():
    """What is unsound already is not added up."""
    with pytest.raises(FleetFileError) as found:
        parse_fleet(fleet(("much", [0]), (0.6, [0]), (0.3, ["x"])), "f", {})

    assert ["backends.e0.serve.gpu_memory", "backends.e2.serve.gpus[0]"] == [
        mistake.path for mistake in found.value.mistakes
    ]
