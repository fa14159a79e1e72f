"""What fits, what does not, and why."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.catalog.rows import Accelerator
from baseload.plan.hardware.capability import arithmetic, refusal
from baseload.plan.hardware.fitting import Wish, fitting
from baseload.plan.hardware.machines import Hardware
from baseload.plan.hardware.memory import (
    MIB,
    Room,
    bits_left,
    even_layout,
    fit,
    kv_bytes,
    largest_params,
    weights_bytes,
)
from baseload.plan.models.huggingface import shape_from_config
from baseload.plan.models.known import find
from baseload.plan.speed.layout import Layout

GEMMA = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text", "num_hidden_layers": 62, "hidden_size": 5376,
        "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128,
        "intermediate_size": 21504, "vocab_size": 262208, "sliding_window": 1024,
        "sliding_window_pattern": 6, "max_position_embeddings": 131072,
        "tie_word_embeddings": True,
    },
}  # fmt: skip


def gpu(name, memory_mib, *precisions):
    """Make a row of the catalogue that has what memory and capability look at."""
    return Accelerator(
        name=name, source="a test", seen="2026-11-26", verified=False, vendor="nvidia",
        memory_bytes=int(memory_mib * MIB), bandwidth_bytes_s=1e12,
        flops=dict.fromkeys(precisions, 1e14), tdp_w=400,
    )  # fmt: skip


V100 = gpu("v100", 32768, "fp32", "bf16")
T4 = gpu("t4", 15360, "bf16", "int8", "int4")
A100_40 = gpu("a100-40", 40960, "bf16", "int8")
A100 = gpu("a100-80", 81920, "bf16", "int8")
H100 = gpu("h100", 81559, "bf16", "int8", "fp8")
H200 = gpu("h200", 143771, "bf16", "int8", "fp8")
L40S = gpu("l40s", 46068, "bf16", "int8", "fp8")
ASCEND = gpu("ascend-910b", 65536, "bf16", "int8")
RTX_3090 = gpu("rtx-3090", 24576, "bf16", "int8")
RTX_4090 = gpu("rtx-4090", 24564, "bf16", "int8", "fp8")
RTX_4080 = gpu("rtx-4080", 16376, "bf16", "int8", "fp8")
RTX_2080TI = gpu("rtx-2080ti-22", 22528, "bf16", "int8")
RTX_5090 = gpu("rtx-5090", 32607, "bf16", "int8", "fp8", "fp4")


# -- worked examples --------------------------------------------------------------------------


def test_v3_in_fp8_does_not_fit_on_eight_h100():
    """673 GB of weights are more than 8 x 77 GB: weights alone are too much, and it is said."""
    found = fit(find("deepseek-v3"), H100, Layout(tp=8), "fp8", context=4096)

    assert not found.fits
    assert "its weights alone need" in found.why
    assert 84.9e9 == pytest.approx(found.weights_bytes, rel=0.01)


def test_v3_in_fp8_fits_on_eight_h200_with_46_gb_left():
    """About 46 GB on each, which hold two thirds of a million tokens of the latent."""
    found = fit(find("deepseek-v3"), H200, Layout(tp=8), "fp8", context=4096)

    assert found.fits
    assert 46e9 == pytest.approx(found.kv_free_bytes, rel=0.03)
    assert 660_000 == pytest.approx(found.kv_tokens, rel=0.03)


def test_data_parallel_attention_holds_eight_times_the_latents_but_copies_attention():
    """Eight copies of attention take room, and eight separate caches hold several times more."""
    shape = find("deepseek-v3")
    split = fit(shape, H200, Layout(tp=8), "fp8", context=4096)
    copied = fit(shape, H200, Layout(dp=8, ep=8), "fp8", context=4096)

    assert copied.weights_bytes > split.weights_bytes + 10e9
    assert 5 * split.kv_tokens < copied.kv_tokens < 8 * split.kv_tokens


@pytest.mark.parametrize(
    ("machines", "fits"), [(2, False), (3, False), (4, True)]
)  # fmt: skip
def test_v3_in_bf16_needs_four_machines_of_eight_with_64_gb(machines, fits):
    """1,342 GB: as run in practice on 32 Ascend 910B, and not on 24."""
    shape = find("deepseek-v3")

    assert fits == fit(shape, ASCEND, even_layout(shape, 8, machines), "bf16", context=4096).fits


def test_a_32b_model_leaves_little_on_one_a100():
    """Of 80 GB, 65.5 are weights: 5 to 8 GB are left for the KV cache."""
    found = fit(find("deepseek-r1-distill-qwen-32b"), A100, Layout(), "bf16", context=4096)

    assert found.fits
    assert 5e9 < found.kv_free_bytes < 8e9
    assert found.kv_tokens == found.kv_free_bytes // 262_144


@pytest.mark.parametrize(
    ("accelerator", "context", "fits"),
    [(H100, 4096, True), (H100, 8192, False), (H200, 131_072, True)],
)
def test_a_70b_model_has_little_room_on_two_h100_and_much_on_two_h200(accelerator, context, fits):
    """Beside 141 GB of weights, some thousand tokens fit on the one and whole contexts on the other."""
    shape = find("deepseek-r1-distill-llama-70b")

    assert fits == fit(shape, accelerator, Layout(tp=2), "bf16", context=context).fits


# -- cases that other planners got wrong ------------------------------------------------------


@pytest.mark.parametrize(("gpus", "fits"), [(8, False), (16, True)])
def test_r1_in_bf16_is_not_refused_where_it_fits(gpus, fits):
    """gpustack#3498 wanted 1,702 GiB in all; 16 H200 have 2,246, 8 have not enough."""
    shape = find("deepseek-r1-0528-bf16")
    found = fit(shape, H200, even_layout(shape, 8, gpus // 8), "bf16", context=4096)

    assert fits == found.fits
    assert 1_531.98 * 1024**3 > shape.weight_bytes("bf16")


@pytest.mark.parametrize(
    ("layout", "fits"),
    [(Layout(pp=10), False), (Layout(tp=2, pp=5), False), (Layout(tp=8, pp=2), True)],
)
def test_r1_in_q8_does_not_fit_on_ten_gpus_of_80_gb(layout, fits):
    """gpustack#1249 put it on ten and ran out of memory; sixteen do."""
    shape = find("deepseek-r1")
    q8 = msgspec.structs.replace(shape, native="int8", native_scales=2 / 32)

    assert 713e9 == pytest.approx(q8.weight_bytes("int8"), rel=0.01)
    assert fits == fit(q8, A100, layout, "int8", context=4096).fits


def test_r1_does_not_fit_on_eight_gpus_of_24_gb():
    """gpustack#1126 ran out of memory with 2 bits a weight; with 4 it is said to be too much."""
    found = fit(find("deepseek-r1"), RTX_3090, Layout(tp=8), "int4", context=8192)

    assert not found.fits
    assert found.missing_bytes > 20e9


@pytest.mark.parametrize(
    ("accelerator", "gpus", "context"), [(RTX_5090, 1, 85_000), (RTX_2080TI, 2, 128_000)]
)
def test_a_model_with_windows_is_not_refused_for_layers_that_forget(accelerator, gpus, context):
    """gpustack#2101: 139 GB were estimated for Gemma 3 27B where about 32 GB sufficed."""
    shape = shape_from_config(GEMMA, "gemma-3-27b")
    found = fit(shape, accelerator, Layout(tp=gpus), "int4", context=context)

    assert found.fits
    assert gpus * (found.weights_bytes + found.kv_bytes) < 32e9


@pytest.mark.parametrize("accelerator", [RTX_4080, RTX_4090])
@pytest.mark.parametrize("layout", [Layout(), Layout(tp=2)])
def test_a_32b_model_is_refused_on_chosen_small_gpus(accelerator, layout):
    """gpustack#1613: 16 and 24 GB were taken for a model of 75 GiB; the chosen ones must count."""
    found = fit(find("qwen2.5-32b-instruct"), accelerator, layout, "bf16", context=4096)

    assert not found.fits
    assert accelerator.name in found.why


def test_a_7b_model_does_not_fit_on_one_gpu_of_16_gb_but_on_two():
    """gpustack#522 put it on one RTX 4080 SUPER and ran out of memory."""
    shape = find("qwen2.5-7b-instruct")

    assert not fit(shape, RTX_4080, Layout(), "bf16", context=4096).fits
    assert fit(shape, RTX_4080, Layout(tp=2), "bf16", context=4096).fits


def test_what_an_engine_may_take_is_heeded():
    """gpustack#2118: with a utilisation of 0.1 no cache was left, and it was said to fit."""
    shape = find("qwen3-8b")

    assert fit(shape, RTX_4090, Layout(), "fp8", context=4096).fits
    assert not fit(shape, RTX_4090, Layout(), "fp8", context=4096, room=Room(utilisation=0.1)).fits


# -- precision --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accelerator", "precision", "expected"),
    [
        (V100, "bf16", "bf16"),
        (V100, "fp8", None),
        (V100, "int8", "bf16"),
        (V100, "int4", "bf16"),
        (V100, "fp4", None),
        (T4, "fp8", None),
        (T4, "int8", "int8"),
        (A100, "fp8", None),
        (A100, "fp4", "bf16"),
        (H100, "fp8", "fp8"),
        (H100, "int4", "bf16"),
        (RTX_5090, "fp4", "fp4"),
        (A100, "fp32", "fp32"),
    ],
)
def test_arithmetic_of_weights(accelerator, precision, expected):
    """Natively, widened to 16 bits, or not at all."""
    assert expected == arithmetic(accelerator, precision)


def test_fp8_on_a100_is_refused_in_words():
    """The sentence says what the hardware can do instead, and bytes do not matter."""
    found = fit(find("qwen3-8b"), A100, Layout(), "fp8", context=4096)

    assert "a100-80 cannot calculate with fp8 weights; it can do bf16, int8, int4" == found.why
    assert 0 == found.missing_bytes


def test_a_narrow_cache_needs_hardware_that_has_eight_bits():
    """V100 has none, A100 has INT8."""
    assert "v100 cannot keep its KV cache in fp8; bf16 does" == refusal(V100, "bf16", "fp8")
    assert "" == refusal(A100, "bf16", "fp8")


# -- splitting --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layout", "why"),
    [
        ("qwen2.5-7b", Layout(tp=8), "28 heads of attention cannot be split over tp 8"),
        ("qwen2.5-7b", Layout(pp=29), "28 layers cannot be split over pp 29"),
        ("qwen2.5-7b", Layout(tp=2, ep=2), "Qwen/Qwen2.5-7B has no experts to spread over ep 2"),
        ("qwen3-30b-a3b", Layout(tp=2, ep=4), "ep 4 does not divide tp * dp = 2"),
    ],
)
def test_impossible_splits_are_refused(name, layout, why):
    """Whatever the bytes."""
    assert why == fit(find(name), H200, layout, "bf16", context=1024).why


def test_a_context_beyond_the_models_is_refused():
    """Memory for it does not make a model know it."""
    found = fit(find("mixtral-8x7b"), H200, Layout(tp=8), "bf16", context=40_000)

    assert "mistralai/Mixtral-8x7B knows contexts of 32,768 tokens, not 40,000" == found.why


@pytest.mark.parametrize(("tp", "split"), [(1, 1), (4, 4), (8, 8), (16, 8)])
def test_heads_of_the_cache_split_up_to_their_number(tp, split):
    """Eight heads on sixteen accelerators are kept twice."""
    token, _ = kv_bytes(find("llama-3.1-70b"), Layout(tp=tp), "bf16")

    assert 327_680 / split == token


def test_the_latent_is_whole_on_each():
    """Tensor parallelism does not split MLA's cache; pipeline stages do."""
    shape = find("deepseek-v3")

    assert 70_272 == kv_bytes(shape, Layout(tp=8), "bf16")[0]
    assert 70_272 * 31 / 61 == pytest.approx(kv_bytes(shape, Layout(tp=8, pp=2), "bf16")[0])


def test_the_longest_stage_counts():
    """61 layers over 10 stages are 7 in the fullest, not 6.1."""
    shape = find("deepseek-v3")
    layers = shape.weight_bytes("fp8") - shape.table_bytes("fp8")

    assert layers * 7 / 61 + shape.table_bytes("fp8") / 2 == pytest.approx(
        weights_bytes(shape, Layout(pp=10), "fp8")
    )


def test_heads_that_are_had_twice_take_more():
    """With tp 16 and 8 heads, each keeps one whole head: 1/8 of keys and values, not 1/16."""
    shape = find("llama-3.1-70b")
    keys = shape.layers * 2 * shape.hidden * shape.head * shape.kv_heads * 2.0
    even = shape.weight_bytes("bf16") / 16

    assert even + keys / 16 == pytest.approx(weights_bytes(shape, Layout(tp=16), "bf16"), rel=1e-4)


@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from(["bf16", "fp8", "int4"]))
def test_all_accelerators_together_hold_the_whole_model(tp, precision):
    """Nothing is lost by splitting, and little is had twice."""
    for name in ("llama-3.1-70b", "deepseek-v3", "qwen3.5-397b-a17b"):
        shape = find(name)
        together = tp * weights_bytes(shape, Layout(tp=tp), precision)

        assert shape.weight_bytes(precision) <= together * (1 + 1e-9)
        assert together <= shape.weight_bytes(precision) * 1.05


@given(st.integers(1, 32_768), st.integers(1, 64), st.sampled_from(["bf16", "fp8"]))
def test_what_is_said_to_fit_at_most_does_and_one_more_does_not(context, sequences, kv):
    """`sequences_max` is exactly where `fits` ends."""
    shape, layout = find("qwen3-32b"), Layout(tp=2)
    found = fit(shape, H100, layout, "bf16", kv, context=context, sequences=sequences)
    most = found.sequences_max

    assert found.fits == (sequences <= most)
    assert not fit(shape, H100, layout, "bf16", kv, context=context, sequences=most + 1).fits


def test_windows_and_states_count_for_each_sequence():
    """What a sequence always keeps bounds how many there can be, however short they are."""
    shape = find("qwen3-next-80b-a3b")
    found = fit(shape, H100, Layout(tp=4), "bf16", context=1)
    token, fixed = kv_bytes(shape, Layout(tp=4), "bf16")

    assert fixed > 1000 * token
    assert found.kv_free_bytes // (token + fixed) == found.sequences_max


# -- splits, and the largest ------------------------------------------------------------------


SERVERS = [(A100_40, 1), (A100_40, 8), (A100, 1), (A100, 8), (H200, 8)]


@pytest.mark.parametrize(
    ("name", "precision", "machines_max", "expected"),
    [
        ("deepseek-r1-distill-qwen-7b", "bf16", 1, "1xa100-40"),
        ("deepseek-r1-distill-qwen-32b", "bf16", 2, "1xa100-80"),
        ("deepseek-r1-distill-llama-70b", "bf16", 1, "8xa100-40"),
        ("deepseek-v3", "fp8", 4, "8xh200"),
        ("deepseek-v3", "int8", 4, "3x8xa100-40"),
        ("deepseek-v3", "bf16", 4, "3x8xa100-80"),
    ],
)
def test_the_smallest_hardware_is_found(name, precision, machines_max, expected):
    """The least memory that does, among single cards and machines of eight."""
    tried = [
        Hardware(accelerator=row, per_machine=count, machines=machines)
        for row, count in SERVERS
        for machines in range(1, machines_max + 1)
    ]

    found = fitting(find(name), tried, [precision], Wish(context=8192, calls=1))

    assert [expected] == [each.hardware for each in found.smallest]


@pytest.mark.parametrize(
    ("heads", "count", "expected"),
    [
        (28, 8, Layout(tp=4, pp=2)),
        (64, 8, Layout(tp=8)),
        (40, 16, Layout(tp=8, pp=2, per_machine=16)),
    ],
)
def test_heads_are_split_evenly_and_layers_take_the_rest(heads, count, expected):
    """28 heads on 8 accelerators are tp 4 and pp 2."""
    shape = msgspec.structs.replace(find("qwen2.5-7b"), heads=heads)

    assert expected == even_layout(shape, count, 1)


@pytest.mark.parametrize(
    ("memory_gb", "claimed_b", "int4_b", "fp8_b", "bits"),
    [(320, 1200, 576, 288, 2.13), (320, 800, 576, 288, 3.2), (256, 600, 460.8, 230.4, 3.41)],
)
def test_models_as_large_as_is_claimed_do_not_fit(memory_gb, claimed_b, int4_b, fp8_b, bits):
    """p4d with 1.2 T, NDv4 with 800 B and GN10Xp with 600 B leave 2 to 3.4 bits a parameter."""
    memory = memory_gb * 1e9

    assert int4_b * 1e9 == pytest.approx(largest_params(memory, "int4"))
    assert fp8_b * 1e9 == pytest.approx(largest_params(memory, "fp8"))
    assert bits == pytest.approx(bits_left(memory, claimed_b * 1e9), abs=0.01)
    assert largest_params(memory, "int4") < claimed_b * 1e9
