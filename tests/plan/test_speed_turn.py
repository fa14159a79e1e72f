"""One turn's time: each part by itself, and what may never make a turn shorter."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.models.known import find
from baseload.plan.speed.closed import Harness, Run, times_s
from baseload.plan.speed.fitted import constants, fitted, harness, tags_of
from baseload.plan.speed.turn import Constants, turn_s
from baseload.plan.speed.work import Work, work_of
from tests.plan.builds import DENSE, build, cases, faster

COUNTS = {"copies": 2.0, "missed": 0.5, "layers": 0.0, "steps": 0.0}
"""Two copies; each expert is missed by every second token."""
NONE = Constants(**dict.fromkeys(Constants.__struct_fields__, 0.0))
NO_WORK = Work(**(dict.fromkeys(Work.__struct_fields__, 0.0) | COUNTS))


def constants_of(**given):
    """Give constants that take nothing and reach half of everything, unless said otherwise."""
    parts = {name: 0.5 for name in NONE.__struct_fields__ if name.endswith("_part")}
    return msgspec.structs.replace(NONE, **(parts | given))


def work(**given):
    return msgspec.structs.replace(NO_WORK, **given)


@pytest.mark.parametrize(
    ("takes", "does", "expected_s"),
    [
        ({"layer_s": 2.0}, {"layers": 3.0}, 6.0),
        ({"turn_s": 2.0}, {}, 2.0),
        ({"answer_s": 2.0}, {}, 2.0 * 8 / 2),
        ({"host_s": 2.0}, {}, 2.0 * 8),
        ({"step_s": 2.0}, {"steps": 3.0}, 6.0),
        ({"weights_part": 0.25}, {"common_read_s": 2.0}, 8.0),
        ({"experts_part": 0.25}, {"routed_read_s": 2.0}, 8.0 * (1 - 0.5**14)),
        ({"cache_part": 0.25}, {"cache_token_s": 2.0}, 8.0 * 100 * 8 / 2),
        ({"cache_part": 0.25}, {"cache_answer_s": 2.0}, 8.0 * 8 / 2),
        ({"write_part": 0.25, "read_part": 0.5}, {"common_token_s": 2.0}, 8.0 * 4 + 4.0 * 3),
        ({"write_part": 0.25}, {"head_token_s": 2.0}, 8.0 * 4),
        (
            {"write_part": 0.25, "read_experts_part": 0.5},
            {"routed_token_s": 2.0},
            8.0 * 8 + 4.0 * 6,
        ),
        ({"read_part": 0.25}, {"attention_token_s": 2.0}, 8.0 * 3 * 10),
        ({"link_part": 0.25}, {"send_token_s": 2.0}, 8.0 * (4 + 3)),
        ({"link_part": 0.25}, {"far_token_s": 2.0}, 8.0 * (4 + 3)),
        ({}, {"far_s": 2.0}, 2.0),
    ],
)
def test_each_part_takes_its_time(takes, does, expected_s):
    """Eight answers that look back on 100, six tokens read that look back on 10, in two copies."""
    found = turn_s(constants_of(**takes), work(**does), 8.0, 100.0, 6.0, 10.0)

    assert expected_s == pytest.approx(found)


def test_reading_weights_and_multiplying_hide_behind_each_other():
    """Alike, they take a quarter more than one of them; a tenth of the other hardly shows."""
    k = constants_of(weights_part=1.0, write_part=1.0)
    alike = turn_s(k, work(common_read_s=1.0, common_token_s=1.0), 2.0, 0.0, 0.0, 0.0)
    apart = turn_s(k, work(common_read_s=1.0, common_token_s=0.1), 2.0, 0.0, 0.0, 0.0)

    assert (2 ** (1 / 3), 1.001 ** (1 / 3)) == pytest.approx((alike, apart))


def test_the_cache_is_read_on_top_of_weights():
    """Attention waits for its layer's projections, so its time is added."""
    k = constants_of(weights_part=1.0, cache_part=1.0)
    found = turn_s(k, work(common_read_s=1.0, cache_token_s=0.5), 2.0, 4.0, 0.0, 0.0)

    assert 1.0 + 0.5 * 4 == pytest.approx(found)


def test_the_host_keeps_up_beside_the_accelerator():
    """Both as long: a fifth more than one of them; it is not added as a whole."""
    found = turn_s(constants_of(turn_s=1.0, host_s=0.5), work(), 2.0, 0.0, 0.0, 0.0)

    assert 2**0.25 == pytest.approx(found)


# -- what may never be ------------------------------------------------------------------------


def fitted_of(shape, made, engine):
    """Give the shipped constants, uncapped."""
    return constants(tags_of(shape, made, engine))


ENGINES = st.sampled_from(["vllm", "sglang", "trtllm"])
TOKENS = st.integers(0, 20_000)
AT = st.tuples(st.integers(0, 4096), st.integers(0, 131_072), TOKENS, TOKENS)
"""Answers, their context, tokens read, what they look back on."""


@given(cases(), ENGINES, AT, st.sampled_from(["memory", "arithmetic", "links", "network"]),
       st.floats(1, 64))  # fmt: skip
def test_faster_hardware_never_makes_a_turn_longer(case, engine, at, what, times):
    """More bandwidth, more operations a second, faster links or network: no turn takes longer."""
    shape, made = case
    k = fitted_of(shape, made, engine)

    slow = turn_s(k, work_of(shape, made), *at)
    fast = turn_s(k, work_of(shape, faster(made, what, times)), *at)

    assert 0 < fast <= slow * (1 + 1e-12)


@given(cases(), ENGINES, AT, st.integers(0, 3), st.integers(1, 10_000))
def test_more_work_never_makes_a_turn_shorter(case, engine, at, which, more):
    """More answers, longer contexts, more to read or to look back on: no turn is shorter."""
    shape, made = case
    k, w = fitted_of(shape, made, engine), work_of(shape, made)
    grown = tuple(size + more * (place == which) for place, size in enumerate(at))

    assert turn_s(k, w, *at) <= turn_s(k, w, *grown) * (1 + 1e-12)


@given(cases(), ENGINES, st.lists(AT, min_size=1, max_size=5))
def test_arrays_are_as_good_as_numbers(case, engine, points):
    """Many turns side by side, as they are fitted, take what each takes by itself."""
    shape, made = case
    k, w = fitted_of(shape, made, engine), work_of(shape, made)

    together = turn_s(k, w, *np.array(points, dtype=float).T)

    assert [turn_s(k, w, *point) for point in points] == pytest.approx(together.tolist())


@given(cases(DENSE), ENGINES, st.tuples(st.integers(1, 16_000), st.integers(1, 4000)),
       st.integers(1, 512), st.integers(1, 512))  # fmt: skip
def test_more_calls_under_way_never_come_faster(case, engine, sizes, calls, more):
    """In a closed loop of a dense model, neither TPOT nor TTFT is shorter with more calls.

    With experts it may be, by a little: a prompt adds less to a turn that has touched most of them.
    """
    shape, made = case
    k, w = fitted_of(shape, made, engine), work_of(shape, made)
    h = harness(frozenset({engine, "drawn"}))

    def of(held):
        return Run(prompt=sizes[0], answer=sizes[1], held=held, waiting=0.0,
                   others=max(held / w.copies - 1, 0.0))  # fmt: skip

    few, many = (times_s(k, h, w, of(held)) for held in (calls, calls + more))

    assert all(0 < one <= other * (1 + 1e-12) for one, other in zip(few, many, strict=True))


# -- closed loops -----------------------------------------------------------------------------


def test_a_closed_loop_is_as_reckoned_by_hand():
    """A turn of 1 s, 2 s to read a prompt alone; nine others, and half as many that wait.

    Reading a prompt of 10 adds 1 s to a turn: 9/100 of it fall on each token of 100, less a fifth
    that comes in bursts and is seen by those who wait.
    """
    k = constants_of(turn_s=1.0, read_part=1.0)
    w = work(copies=1.0, common_token_s=0.1)
    h = Harness(call_s=0.25, waits=0.5, bursts=0.25, stalls=0.5)
    run = Run(prompt=10.0, answer=100.0, held=0.0, waiting=0.5, others=9.0)

    tpot_s, ttft_s = times_s(k, h, w, run)

    assert 1.0 + 9 / 100 * 1.0 * 0.8 * 0.5 == pytest.approx(tpot_s)
    queue_s = 0.5 * 100 * tpot_s
    assert 0.25 + 0.5 * 1.0 + 2.0 + 0.2 * 9 * 1.0 + queue_s == pytest.approx(ttft_s)


def test_each_copy_of_attention_reads_a_prompt_of_its_own():
    """With two copies, both read a prompt at once: attention's work is halved, experts' is not.

    As many others as tokens, without bursts: each token waits for one prompt, as the first one does.
    """
    k = constants_of(read_part=1.0, read_experts_part=1.0)
    h = Harness(call_s=0.0, waits=0.0, bursts=0.0, stalls=1.0)
    run = Run(prompt=10.0, answer=100.0, held=0.0, waiting=0.0, others=100.0)

    own = times_s(k, h, work(copies=2.0, common_token_s=0.1), run)
    shared = times_s(k, h, work(copies=2.0, routed_token_s=0.1), run)

    assert (1.0, 1.0) == pytest.approx(own)
    assert (2.0, 2.0) == pytest.approx(shared)


# -- the constants that come along ------------------------------------------------------------

KNOWN_TAGS = {
    "base", "vllm", "sglang", "trtllm", "moe", "mla", "linear", "blackwell", "fp8", "scaled",
    "four", "small_cache", "drawn", "round", "grid",
    "round_vllm", "round_sglang", "round_trtllm", "grid_vllm", "grid_sglang", "grid_trtllm",
}  # fmt: skip
"""What cases are called by; a factor by any other name would never be used."""


def test_fitted_constants_are_whole_and_known():
    """The file has every constant, each with a base, and factors only for what cases are called."""
    found = fitted()

    assert set(Constants.__struct_fields__) == set(found.engine)
    assert set(Harness.__struct_fields__) == set(found.harness)
    factors = [*found.engine.values(), *found.harness.values()]
    assert all("base" in by_tag and set(by_tag) <= KNOWN_TAGS for by_tag in factors)
    assert all(value > 0 for by_tag in factors for value in by_tag.values())


MODELS = ("deepseek-r1-distill-llama-70b", "Qwen/Qwen3-235B-A22B-FP8", "deepseek-v3")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
@pytest.mark.parametrize(("gpu", "precision"), [("h100", "bf16"), ("h200", "fp8"), ("b200", "fp4")])
def test_no_engine_is_said_to_beat_the_data_sheet_by_much(model, engine, gpu, precision):
    """Parts of the hardware's speed are above 0 and at most 1.1; plans count on 1 at most."""
    narrow = "bf16" if precision == "bf16" else "fp8"
    shape, made = find(model), build(gpu, precision=precision, kv_precision=narrow)
    k = fitted_of(shape, made, engine)

    parts = {name: getattr(k, name) for name in k.__struct_fields__ if name.endswith("_part")}
    assert {} == {name: part for name, part in parts.items() if not 0 < part <= 1.1}


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
def test_fitted_times_are_of_a_size_that_can_be(engine):
    """A layer takes 10 to 150 µs, a turn 0.1 to 3 ms, a step 0.5 to 10 µs, an answer up to 50 µs."""
    k = fitted_of(find("deepseek-v3"), build("h200", precision="fp8"), engine)

    assert 10e-6 < k.layer_s < 150e-6
    assert 0.1e-3 < k.turn_s < 3e-3
    assert 0.5e-6 < k.step_s < 10e-6
    assert 0 < k.answer_s < 50e-6
    assert 0 < k.host_s < 50e-6
