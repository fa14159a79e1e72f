"""The replica that plans are made of: constants from the file, capped; and our own curve."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.models.known import find
from baseload.plan.speed.engine import CALL_S, SLOTS, TURN_TOKENS, engine_of
from baseload.plan.speed.fitted import constants, fitted, harness, tags_of
from baseload.plan.speed.layout import Layout
from tests.plan.builds import build, cases

PROMPT, ANSWER = 512, 128
CURVE = {
    1: (0.0153, 4.713), 2: (0.0242, 4.917), 4: (0.0476, 4.825), 8: (0.089, 4.935),
    16: (0.1749, 4.99), 32: (0.3491, 5.18), 64: (0.6984, 5.438), 128: (1.3877, 6.496),
    256: (2.7696, 9.986),
}  # fmt: skip
"""One H200, vLLM 0.24.0, R1-Distill-Qwen-7B in BF16, measured 2026-11-23: of so many calls at once,
seconds until all prompts are read, and milliseconds for each further token."""


def own():
    return engine_of(find("deepseek-r1-distill-qwen-7b"), build("h200"), kv_tokens=1_900_000)


@pytest.mark.parametrize("calls", CURVE)
def test_our_own_curve_is_within_a_tenth(calls):
    """Writing takes what was measured at every number of calls, and so does reading prompts."""
    engine, tokens = own(), calls * PROMPT
    turns = -(-tokens // TURN_TOKENS)

    tpot_ms = 1e3 * engine.turn_s(calls, PROMPT + ANSWER / 2, 0, 0.0, 0)
    turn_s = engine.turn_s(0, 0.0, tokens // turns, PROMPT / 2, PROMPT)
    read_s = engine.call_s(PROMPT) + turns * turn_s

    assert pytest.approx(CURVE[calls], rel=0.10) == (read_s, tpot_ms)


def test_a_replica_is_as_large_as_its_layout():
    """Answers and tokens of a turn are those of each copy of attention and each stage."""
    shape = find("deepseek-v3")
    engine = engine_of(shape, build("h200", Layout(tp=2, dp=4, pp=2, ep=8), "fp8"), 5000)

    assert (SLOTS * 8, TURN_TOKENS * 8, 5000) == (
        engine.slots, engine.turn_tokens, engine.kv_tokens,
    )  # fmt: skip


def test_no_plan_counts_on_more_than_the_data_sheet():
    """A part that a fit puts above 1 is 1 in plans."""
    shape, made = find("deepseek-v3"), build("b200", Layout(tp=8), "fp4", "fp8")
    raw = constants(tags_of(shape, made, "trtllm"))
    k = engine_of(shape, made, 1, "trtllm").k
    parts = [name for name in k.__struct_fields__ if name.endswith("_part")]

    assert {name: min(getattr(raw, name), 1.0) for name in parts} == {
        name: getattr(k, name) for name in parts
    }
    assert raw.layer_s == k.layer_s
    above = {"base": 1.5}
    assert 1.5 == constants(frozenset(), fitted().engine | {"cache_part": above}).cache_part


@given(cases(), st.sampled_from(["vllm", "sglang", "trtllm"]))
def test_any_model_on_any_row_has_a_pace(case, engine):
    """What can be built has a turn's time, from a tenth of a millisecond to minutes."""
    shape, made = case
    replica = engine_of(shape, made, 100_000, engine)

    assert 1e-4 < replica.turn_s(1, 1000.0, 0, 0.0, 0) < 600
    assert CALL_S == replica.call_s(1000)


LLAMA, V3 = "deepseek-r1-distill-llama-70b", "deepseek-v3"


def read_s(model, layout, tokens, longest, precision="bf16"):
    """Give how long a replica with nothing else to do reads so many, that look back on 1,000."""
    engine = engine_of(find(model), build("h200", layout, precision), 10**6)
    return engine.turn_s(0, 0.0, tokens, 1000.0, longest)


def test_a_prompt_passes_all_stages_of_a_pipeline():
    """Alone it is read no sooner than without a pipeline; two of half its size are."""
    one, two = Layout(tp=4), Layout(tp=4, pp=2)

    assert read_s(LLAMA, one, 4000, 4000) <= read_s(LLAMA, two, 4000, 4000)
    assert read_s(LLAMA, two, 4000, 2000) < 0.6 * read_s(LLAMA, two, 4000, 4000)


def test_pieces_of_a_long_prompt_follow_each_other_through_a_pipeline():
    """Of 65,536 tokens in two stages, all but one piece of 8,192 is read twice as fast."""
    layout = Layout(tp=4, pp=2)

    alone_s = read_s(LLAMA, layout, 65_536, 65_536)

    assert read_s(LLAMA, layout, 65_536 + 8192, 0) == pytest.approx(alone_s, rel=0.15)


def test_a_prompt_is_read_by_one_copy_of_attention():
    """Of eight copies the others wait, so eight prompts take far less than eight times as long."""
    layout = Layout(dp=8, ep=8)

    one_s, eight_s = (read_s(V3, layout, tokens, 2000, "fp8") for tokens in (2000, 16_000))
    split_s = read_s(V3, layout, 2000, 0, "fp8")

    assert split_s < 0.5 * one_s
    assert one_s < eight_s < 4 * one_s


# -- constants ------------------------------------------------------------------------------------

FACTORS = {"layer_s": {"base": 2.0, "vllm": 3.0, "moe": 5.0, "mla": 7.0}}


def test_a_constant_is_its_base_times_the_factors_that_apply():
    """Tags that a case has not, and tags that a constant has not, change nothing."""
    others = {name: {"base": 1.0} for name in fitted().engine}

    found = constants(frozenset({"vllm", "mla", "blackwell"}), others | FACTORS)

    assert 42.0 == found.layer_s
    assert 1.0 == found.turn_s


def test_what_a_case_is_called_by():
    """Each property of model, hardware and precision that constants depend on has its name."""

    def tags(model, gpu, engine, precision, kv="bf16"):
        return tags_of(find(model), build(gpu, precision=precision, kv_precision=kv), engine)

    dense = "deepseek-r1-distill-llama-70b"
    assert {"vllm"} == tags(dense, "h100", "vllm", "bf16")
    assert {"vllm", "fp8", "scaled"} == tags(dense, "h100", "vllm", "fp8")
    assert {"trtllm", "fp8"} == tags(dense, "h100", "trtllm", "fp8")
    assert {"sglang", "four", "small_cache", "blackwell"} == tags(
        dense, "b200", "sglang", "fp4", "fp8"
    )
    assert {"trtllm", "moe", "mla", "fp8", "scaled"} == tags("deepseek-v3", "h200", "trtllm", "fp8")
    assert {"vllm", "moe", "linear"} == tags("Qwen/Qwen3.5-397B-A17B", "h200", "vllm", "bf16")


def test_how_it_was_measured_changes_only_the_harness():
    """A harness is known by its kind and engine together."""
    own_tags = frozenset({"vllm", "round", "round_vllm"})
    base, other = fitted().harness["stalls"]["base"], fitted().harness["stalls"]["round_vllm"]

    assert base * other == pytest.approx(harness(own_tags).stalls)
    assert constants(frozenset({"vllm"})) == constants(own_tags)
