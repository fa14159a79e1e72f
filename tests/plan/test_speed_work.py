"""Times at full speed: two models reckoned by hand, and what more hardware may never do."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from baseload.plan.hardware.memory import misfit
from baseload.plan.models.known import find
from baseload.plan.speed.layout import Layout
from baseload.plan.speed.work import work_of
from tests.plan.builds import MODELS, build, cases, faster

BYTES_S = 4.8e12
"""Of an H200's memory."""
QWEN_LAYERS = 28 * (3584 * 128 * (2 * 28 + 2 * 4) + 3 * 3584 * 18944)
QWEN_TABLE = 152_064 * 3584
V3_ROUTED = 58 * 256 * 3 * 7168 * 2048
V3_COMMON = 15_263_268_864
"""Attention, dense layers, shared experts and routers of the 671B of parameters."""
SCALES = 1 + 4 / 128**2
STEP_BOUND_MS = {1: 0.96, 8: 4.3, 32: 11.5, 128: 18.1, 512: 21.3}
"""V3 in FP8 on 8 H200, context 4096: all bytes once, split evenly, over all memory's bandwidth."""


def test_a_dense_model_is_as_reckoned_by_hand():
    """R1-Distill-Qwen-7B in BF16 on one H200: bytes and operations over the data sheet's speeds."""
    work = work_of(find("deepseek-r1-distill-qwen-7b"), build("h200"))

    assert (28.0, 1.0, 0.0) == (work.layers, work.copies, work.missed)
    # Norms and biases, a third of a million parameters, are all that is not counted here.
    read_s = 2 * (QWEN_LAYERS + QWEN_TABLE) / BYTES_S
    assert read_s == pytest.approx(work.common_read_s, rel=1e-4)
    assert 2 * 28 * 4 * 128 * 2 / BYTES_S == pytest.approx(work.cache_token_s)
    assert 2 * QWEN_LAYERS / 989e12 == pytest.approx(work.common_token_s)
    assert 2 * QWEN_TABLE / 989e12 == pytest.approx(work.head_token_s)
    # For each token looked back on: 28 layers of 28 heads multiply 128 twice, keys and values.
    assert 28 * 28 * 128 * 2 * 2 / 989e12 == pytest.approx(work.attention_token_s, rel=2e-3)
    assert [0.0] * 6 == [
        work.routed_read_s, work.routed_token_s, work.send_token_s, work.steps, work.far_token_s,
        work.far_s,
    ]  # fmt: skip


def test_a_single_stream_is_a_tenth_faster_than_with_all_bytes_read():
    """At 4096 tokens of context 310 tokens a second if every byte of the model is read for each.

    The table of input embeddings is not: of its rows, one a token. Without it, it is 334.
    """
    work = work_of(find("deepseek-r1-distill-qwen-7b"), build("h200"))

    turn_s = work.common_read_s + 4096 * work.cache_token_s
    table_s = 2 * QWEN_TABLE / BYTES_S

    assert 310 == pytest.approx(1 / (turn_s + table_s), rel=0.002)
    assert 334 == pytest.approx(1 / turn_s, rel=0.002)


def v3_weights_s(work, tokens):
    return work.common_read_s + work.routed_read_s * (1 - work.missed**tokens)


@pytest.mark.parametrize("tokens", STEP_BOUND_MS)
def test_a_mixture_of_experts_splits_as_its_layout_says(tokens):
    """DeepSeek-V3 in FP8 on 8 H200 against the even bound, which no layout reaches.

    Split by tensors, each accelerator has 0.2 ms of weights whole (MLA's projections down, routers;
    and the output embedding is 16 bits wide), and the latent of every answer. With eight copies of
    attention the latent is divided, but attention's weights are read whole: 3.1 ms more.
    """
    shape = find("deepseek-v3")
    experts_touched = 1 - (1 - 8 / 256) ** tokens
    weights_s = (V3_COMMON + 7168 * 129_280 + V3_ROUTED * experts_touched) / (8 * BYTES_S)
    cache_s = tokens * 4096 * 61 * (512 + 64) * 2 / (8 * BYTES_S)
    tensors = work_of(shape, build("h200", Layout(tp=8), "fp8"))
    copies = work_of(shape, build("h200", Layout(dp=8, ep=8), "fp8"))

    assert STEP_BOUND_MS[tokens] == pytest.approx(1e3 * (weights_s + cache_s), abs=0.06)
    assert 0.00021 == pytest.approx(v3_weights_s(tensors, tokens) - weights_s, abs=1e-5)
    assert 8 * cache_s == pytest.approx(tokens * 4096 * tensors.cache_token_s)
    assert 0.00314 == pytest.approx(v3_weights_s(copies, tokens) - weights_s, abs=1e-5)
    assert cache_s == pytest.approx(tokens / copies.copies * 4096 * copies.cache_token_s)


def test_operations_of_a_mixture_are_those_of_its_active_parameters():
    """A V3 token is multiplied with 36.6 B of parameters: an eighth of them on each of eight.

    The output embedding is multiplied in BF16 at half of FP8's speed.
    """
    work = work_of(find("deepseek-v3"), build("h200", Layout(tp=8), "fp8"))

    assert 2 * V3_COMMON / 8 / 1978e12 == pytest.approx(work.common_token_s)
    assert 2 * V3_ROUTED * 8 / 256 / 8 / 1978e12 == pytest.approx(work.routed_token_s)
    assert 2 * 7168 * 129_280 / 8 / 989e12 == pytest.approx(work.head_token_s)


def test_tensor_parallelism_sends_and_waits():
    """A ring carries 2 * 7/8 of each sum, twice a layer; a sum goes up and down a tree of three."""
    work = work_of(find("deepseek-v3"), build("h200", Layout(tp=8), "fp8"))

    assert 2 * 61 * 2 * 7 / 8 * 7168 * 2 / 450e9 == pytest.approx(work.send_token_s)
    assert 2 * 61 * 2 * 3 == work.steps
    assert (0.0, 0.0) == (work.far_token_s, work.far_s)


def test_stages_divide_answers_and_hand_on_over_the_network():
    """Two stages on two machines: two parts under way, and one hop of hidden state and residual."""
    shape = find("deepseek-r1-distill-llama-70b")
    one = work_of(shape, build("h200", Layout(tp=8)))
    two = work_of(shape, build("h200", Layout(tp=8, pp=2)))

    assert (1.0, 2.0) == (one.copies, two.copies)
    assert 2 * 8192 * 2 / (8 * 50e9) == pytest.approx(two.far_token_s)
    assert 1.8e-6 == pytest.approx(two.far_s)
    # A part goes through all of the model, one stage after the other: it takes what it took.
    same = {"copies": 1.0, "far_token_s": 0.0, "far_s": 0.0}
    assert one == msgspec.structs.replace(two, **same)


def test_experts_of_a_stage_meet_only_the_part_that_is_there():
    """With two stages, half of the answers touch a layer's experts in a turn."""
    shape = find("deepseek-v3")
    one = work_of(shape, build("h200", Layout(tp=8), "fp8"))
    two = work_of(shape, build("h200", Layout(tp=8, pp=2), "fp8"))

    assert one.missed**32 == pytest.approx(two.missed**64)
    assert one.routed_token_s == pytest.approx(2 * two.routed_token_s)


def test_only_experts_of_a_mixture_are_four_bits_wide():
    """4-bit mixtures multiply the rest in 16 bits; dense models multiply all in four."""
    b200 = build("b200", precision="fp4")
    mixture, dense = (find(name) for name in ("gpt-oss-120b", "deepseek-r1-distill-llama-70b"))
    flops = b200.accelerator.flops

    assert 2 * mixture.common_params / flops["bf16"] == pytest.approx(
        work_of(mixture, b200).common_token_s
    )
    assert 2 * dense.common_params / flops["fp4"] == pytest.approx(
        work_of(dense, b200).common_token_s
    )


@given(cases(), st.sampled_from(["memory", "arithmetic", "links", "network"]), st.floats(1, 64))
def test_faster_hardware_takes_no_more_time(case, what, times):
    """No time at full speed grows when memory, arithmetic, links or network are faster."""
    shape, made = case
    slow, fast = work_of(shape, made), work_of(shape, faster(made, what, times))

    assert [] == [
        name for name in slow.__struct_fields__ if getattr(fast, name) > getattr(slow, name)
    ]


@given(cases(), st.sampled_from([1, 2, 4, 8]))
def test_more_tensor_parallelism_leaves_less_for_each(case, tp):
    """Twice the accelerators: no reading or multiplying at full speed takes more time on one."""
    shape, made = case
    few, many = (msgspec.structs.replace(made.layout, tp=n, ep=1) for n in (tp, 2 * tp))
    assume(not misfit(shape, few) and not misfit(shape, many))
    one, other = (
        work_of(shape, msgspec.structs.replace(made, layout=each)) for each in (few, many)
    )

    parts = [name for name in one.__struct_fields__ if name.endswith(("read_s", "token_s"))]
    parts = [name for name in parts if name not in {"send_token_s", "far_token_s"}]
    assert [] == [name for name in parts if getattr(other, name) > getattr(one, name) * (1 + 1e-9)]


@pytest.mark.parametrize("name", MODELS)
def test_wider_weights_take_more_time(name):
    """From FP8 to BF16 all of the weights' reading and multiplying takes longer, and about twice."""
    works = [work_of(find(name), build("h200", precision=each)) for each in ("fp8", "bf16")]

    reads = [work.common_read_s + work.routed_read_s for work in works]
    tokens = [work.common_token_s + work.routed_token_s for work in works]
    assert all(1.5 < wide / narrow <= 2.001 for narrow, wide in pairwise(reads))
    assert all(wide == pytest.approx(2 * narrow) for narrow, wide in pairwise(tokens))
