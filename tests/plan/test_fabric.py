"""What layouts send, and what networks make of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.catalog.rows import Link
from baseload.plan.models.known import find
from baseload.plan.speed.layout import Layout
from baseload.plan.transport.fabric import Hops, token_bytes, traffic, turn_s


def link(name, kind, gb_s, latency_us):
    """Make a row of the catalogue."""
    return Link(
        name=name, source="a test", seen="2026-11-26", verified=False, kind=kind,
        bytes_s=gb_s * 1e9, latency_s=latency_us * 1e-6,
    )  # fmt: skip


NVLINK = link("nvlink", "fabric", 450, 1)
HDR = link("hdr", "network", 25, 2)
ETHERNET = link("25 gbe", "network", 3.125, 30)
HOPS = Hops(inside=NVLINK, between=HDR)
LLAMA = find("llama-3.1-70b")
V3 = find("deepseek-v3")


def test_tensor_parallelism_sums_twice_a_layer():
    """160 sums of 64 tokens by 8,192 numbers of 2 bytes; 7/4 of them over each link of eight."""
    (sums,) = traffic(LLAMA, Layout(tp=8), 64)

    assert ("tensor sums", 160) == (sums.what, sums.times)
    assert 64 * 8192 * 2 * 7 / 4 == sums.inside_bytes
    assert (0.0, 6, 0) == (sums.between_bytes, sums.inside_steps, sums.between_steps)


def test_one_accelerator_sends_nothing():
    """Nothing to sum, to hand on or to spread."""
    assert () == traffic(V3, Layout(), 64)
    assert 0 == turn_s((), HOPS)


def test_tp_16_costs_14_ms_a_turn_over_infiniband_and_112_over_ethernet():
    """160 sums, 15/8 of 1 MiB each: 78.6 us over 25 GB/s, 629 us over 3.125, and steps."""
    parts = traffic(LLAMA, Layout(tp=16), 64)
    seconds = {
        name: turn_s(parts, Hops(inside=NVLINK, between=row, ports=ports))
        for name, row, ports in (("hdr", HDR, 1), ("hdr x 8", HDR, 8), ("25 gbe", ETHERNET, 1))
    }
    size = 64 * 8192 * 2 * 15 / 8
    steps = 6 * 1e-6

    assert 160 * (size / 25e9 + steps + 2 * 2e-6) == pytest.approx(seconds["hdr"])
    assert 160 * (size / 200e9 + steps + 2 * 2e-6) == pytest.approx(seconds["hdr x 8"])
    assert 160 * (size / 3.125e9 + steps + 2 * 30e-6) == pytest.approx(seconds["25 gbe"])
    assert [14.2, 111.2] == pytest.approx([seconds["hdr"] * 1e3, seconds["25 gbe"] * 1e3], abs=0.05)


def test_pipeline_stages_hand_on_hidden_state_and_residual():
    """Two machines of eight: one hand-off between them, none inside."""
    parts = traffic(LLAMA, Layout(tp=8, pp=2), 64)
    handed = parts[1]

    assert ("pipeline", 1, 0.0) == (handed.what, handed.times, handed.inside_bytes)
    assert 2 * 64 * 8192 * 2 == handed.between_bytes


def test_stages_inside_a_machine_use_its_own_links():
    """Four stages of two on one machine: three hand-offs inside, each over two links."""
    parts = traffic(LLAMA, Layout(tp=2, pp=4), 64)

    assert [160, 3] == [part.times for part in parts]
    assert (64 * 8192 * 2, 0.0) == (parts[1].inside_bytes, parts[1].between_bytes)


def test_stages_over_machines_cross_where_machines_end():
    """Eight stages of two on two machines: six hand-offs inside and one between."""
    parts = traffic(LLAMA, Layout(tp=2, pp=8), 64)

    assert {"between": 1, "inside": 6} == {
        "between" if part.between_bytes else "inside": part.times for part in parts[1:]
    }


def test_pipelines_need_far_less_network_than_tensor_parallelism():
    """One hand-off instead of 160 sums: over Ethernet 0.7 ms instead of more than 100."""
    parts = traffic(LLAMA, Layout(tp=8, pp=2), 64)
    hops = Hops(inside=NVLINK, between=ETHERNET)
    split = turn_s(traffic(LLAMA, Layout(tp=16), 64), hops)

    assert split > 0.1
    assert 0.7e-3 == pytest.approx(turn_s(parts[1:], hops), rel=0.01)


def test_spread_experts_are_sent_their_tokens_and_send_them_back():
    """58 layers; dispatch in FP8 and combine in 16 bits, 7/8 of eight copies leave the sender."""
    dispatch, combine = traffic(V3, Layout(dp=8, ep=8), 512)

    assert (58, 58) == (dispatch.times, combine.times)
    assert 64 * 7 * 7168 == dispatch.inside_bytes
    assert 2 * dispatch.inside_bytes == combine.inside_bytes
    assert 0 == dispatch.between_bytes


def test_over_the_network_a_token_is_sent_once_to_each_other_machine():
    """Eight experts on two machines: the other has one with 1 - 1/2^8."""
    dispatch, _ = traffic(V3, Layout(dp=16, ep=16), 512)

    assert 32 * 8 * (1 - 0.5**8) * 7168 == pytest.approx(dispatch.between_bytes)


def test_split_experts_are_summed_over_all_copies_of_attention():
    """Without `ep`, eight copies gather and scatter all tokens in each layer with experts."""
    (sums,) = traffic(V3, Layout(dp=8), 512)

    assert ("expert sums", 58) == (sums.what, sums.times)
    assert 512 * 7168 * 2 * 7 / 4 == sums.inside_bytes


def test_a_mixture_on_tensor_parallelism_alone_sums_as_a_dense_model_does():
    """Experts that are split over tp end in the same sum."""
    (sums,) = traffic(V3, Layout(tp=8), 64)

    assert 2 * 61 == sums.times


def test_bytes_of_a_token_do_not_depend_on_how_many_there_are():
    """All traffic is in proportion to tokens."""
    layout = Layout(tp=8, pp=2)

    assert token_bytes(traffic(LLAMA, layout, 1), 1) == pytest.approx(
        token_bytes(traffic(LLAMA, layout, 100), 100)
    )


@given(
    st.sampled_from([Layout(tp=16), Layout(tp=8, pp=2), Layout(dp=16, ep=16), Layout(tp=2, dp=8)]),
    st.integers(1, 8192),
    st.floats(1, 100),
    st.floats(1, 20),
)
def test_more_bandwidth_never_slows_and_more_tokens_never_speed(layout, tokens, gb_s, factor):
    """For dense models and mixtures, over any network."""
    shape = V3 if layout.dp > 1 else LLAMA
    slow = Hops(inside=NVLINK, between=link("slow", "network", gb_s, 5))
    fast = Hops(inside=NVLINK, between=link("fast", "network", gb_s * factor, 5))
    parts = traffic(shape, layout, tokens)

    assert turn_s(parts, fast) <= turn_s(parts, slow)
    assert turn_s(parts, slow) <= turn_s(traffic(shape, layout, tokens + 1), slow)
