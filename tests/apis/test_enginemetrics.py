"""What three engines tell of themselves, in the forms in which they tell it."""

import pytest

from baseload.apis.enginemetrics import (
    METRICS_BYTES_MAX,
    SERIES_MAX,
    Metrics,
    read_metrics,
    read_slots,
)

VLLM = b"""\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="deepseek-ai/DeepSeek-R1"} 31.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="deepseek-ai/DeepSeek-R1"} 72.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 70.0
vllm:num_requests_waiting_by_reason{engine="0",reason="deferred"} 2.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="deepseek-ai/DeepSeek-R1"} 0.8734
"""
SGLANG = b"""\
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{engine_type="unified",model_name="m",pp_rank="0",tp_rank="0"} 8.0
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{engine_type="unified",model_name="m",pp_rank="0",tp_rank="0"} 4.0
# TYPE sglang:token_usage gauge
sglang:token_usage{engine_type="unified",model_name="m",pp_rank="0",tp_rank="0"} 0.52
"""
LLAMA_CPP = b"""\
# HELP llamacpp:requests_processing Number of requests processing
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 4
# HELP llamacpp:requests_deferred Number of requests deferred
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 46
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (VLLM, ("vllm", Metrics(0.8734, 72, 31))),
        (VLLM.replace(b"kv_cache", b"gpu_cache"), ("vllm", Metrics(0.8734, 72, 31))),
        (VLLM.replace(b"\n", b"\r\n"), ("vllm", Metrics(0.8734, 72, 31))),
        (SGLANG, ("sglang", Metrics(0.52, 4, 8))),
        (LLAMA_CPP, ("llama.cpp", Metrics(None, 46, 4))),
        (
            LLAMA_CPP + b"llamacpp:kv_cache_usage_ratio 0.25\n",
            ("llama.cpp", Metrics(0.25, 46, 4)),
        ),
    ],
)
def test_each_engine_is_known_by_its_gauges(text, expected):
    """Old and new names are read, and gauges whose names only begin alike are not."""
    actual = read_metrics(text)

    assert expected == actual


def test_engines_tell_what_they_hold_and_write():
    """Capacity, tokens written, speed and calls thrown out, each in its engine's own words."""
    vllm = (
        b'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="661"} 1.0\n'
        b'vllm:generation_tokens_total{engine="0",model_name="m"} 1234.0\n'
        b'vllm:generation_tokens_created{engine="0",model_name="m"} 1.7e9\n'
        b'vllm:num_preemptions_total{engine="0",model_name="m"} 3.0\n'
    )
    newer = vllm.replace(b'block_size="16"', b'block_size="16",kv_cache_size_tokens="10500"')
    unknown = vllm.replace(b'"661"', b'"None"')
    two = vllm + vllm.replace(b'engine="0"', b'engine="1"')
    sglang = (
        b'sglang:max_total_num_tokens{tp_rank="0"} 471258.0\n'
        b'sglang:gen_throughput{tp_rank="0"} 812.5\n'
        b'sglang:generation_tokens_total{model_name="m"} 337.0\n'
        b'sglang:num_retracted_requests_total{tp_rank="0"} 2.0\n'
    )
    llama_cpp = b"llamacpp:tokens_predicted_total 40\n"
    told = [
        (one.kv_tokens, one.made_tokens, one.tokens_per_s, one.preemptions)
        for _, one in map(read_metrics, (vllm, newer, unknown, two, sglang, llama_cpp))
    ]

    assert [
        (10_576, 1234, None, 3),
        (10_500, 1234, None, 3),
        (None, 1234, None, 3),
        (21_152, 2468, None, 6),
        (471_258, 337, 812.5, 2),
        (None, 40, None, None),
    ] == told


def test_slots_tell_what_is_written_and_what_they_hold():
    """Of answers that go on, as llama.cpp of today and of before 2025 tell it."""
    new = b'[{"is_processing":true,"n_ctx":512,"next_token":[{"n_decoded":7}]},'
    old = b'{"is_processing":true,"n_ctx":512,"next_token":{"n_decoded":5}},'
    idle = b'{"is_processing":false,"n_ctx":512,"next_token":[{"n_decoded":9}]}]'

    assert (3, 2, 1536, 12) == read_slots(new + old + idle)


def test_several_engines_add_their_calls_and_the_fullest_cache_counts():
    """Data-parallel engines behind one address: calls are summed, of usages the largest holds."""
    two = VLLM + VLLM.replace(b'engine="0"', b'engine="1"').replace(b"0.8734", b"0.31")

    assert ("vllm", Metrics(0.8734, 144, 62)) == read_metrics(two)


def test_ranks_that_work_on_the_same_calls_count_once():
    """Tensor ranks of SGLang tell the same calls; data-parallel ranks tell calls of their own."""
    line = b'sglang:num_queue_reqs{dp_rank="%d",model_name="m",moe_ep_rank="%d",tp_rank="%d"} %d\n'
    text = b"".join(line % (dp, tp, tp, 3 + dp) for dp in (0, 1) for tp in range(4))

    assert ("sglang", Metrics(waiting=7)) == read_metrics(text)


def test_priorities_are_not_added_to_their_sum():
    """With priorities SGLang tells a line for each, and their sum under an empty one."""
    line = b'sglang:num_queue_reqs{model_name="m",priority="%b"} %d\n'
    text = line % (b"", 9) + line % (b"0", 4) + line % (b"5", 5)

    assert ("sglang", Metrics(waiting=9)) == read_metrics(text)


@pytest.mark.parametrize(
    "value", [b"NaN", b"+Inf", b"-Inf", b"-1", b"1e300", b"", b"lots", b'"3"', b"\xff"]
)
def test_a_line_without_a_sound_number_is_passed_over(value):
    """A broken line is no zero: it is as if it were not there, and the others still count."""
    bad = b"vllm:num_requests_waiting %b\nvllm:kv_cache_usage_perc %b\n" % (value, value)

    assert ("", Metrics()) == read_metrics(bad)
    assert ("vllm", Metrics(0.8734, 72, 31)) == read_metrics(bad + VLLM)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'vllm:num_requests_waiting{model_name="a} 5 {\\" b"} 7', 7),
        (b"vllm:num_requests_waiting\t7 1766000000000", 7),
        (b"vllm:num_requests_waiting{} 7", 7),
        (b"vllm:num_requests_waiting{", None),
        (b"vllm:num_requests_waiting{} ", None),
        (b"vllm:num_requests_waiting7", None),
        (b"# vllm:num_requests_waiting 7", None),
        (b" vllm:num_requests_waiting 7", None),
    ],
)
def test_labels_and_times_do_not_disturb_the_value(line, expected):
    """A label may hold braces and blanks, a time may follow; a line that is cut short is none."""
    _, metrics = read_metrics(line)

    assert expected == metrics.waiting


def test_a_usage_above_one_is_one():
    """Shares are told from 0 to 1, whatever an engine's rounding makes of it."""
    assert 1.0 == read_metrics(b"sglang:token_usage 1.02\n")[1].kv_usage


@pytest.mark.parametrize(
    "text", [b"", b"\n\n", b"<html>503</html>", b'{"a": 1}', b"process_open_fds 7\n", b"\0" * 99]
)
def test_other_pages_are_from_no_engine(text):
    """What does not hold one of the gauges has no kind."""
    assert ("", Metrics()) == read_metrics(text)


def test_a_page_that_is_cut_off_does_not_cut_a_number():
    """Only whole lines within the bound are read: 120 must not become 12."""
    text = b"vllm:num_requests_waiting 120\n"
    filler = b"#" * (METRICS_BYTES_MAX - len(text) + 1) + b"\n"

    assert Metrics() == read_metrics(filler + text)[1]
    assert Metrics(waiting=120) == read_metrics(filler[2:] + text)[1]


def test_the_number_of_lines_read_is_bounded():
    """A page of nothing but one gauge costs no more than its bound."""
    text = b"".join(b'vllm:num_requests_waiting{engine="%d"} 1\n' % n for n in range(9999))

    assert SERIES_MAX == read_metrics(text)[1].waiting


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'[{"id":0,"is_processing":true},{"is_processing":false,"prompt":"x"}]', (2, 1, None, 0)),
        (b"[]", None),
        (b'[{"id":0,"state":1}]', None),
        (b'[{"is_processing":1}]', None),
        (b'{"error":{"code":501}}', None),
        (b"[" * 100_000, None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_slots_are_counted_or_not_known(body, expected):
    """All slots and the busy ones; an answer in any other form tells nothing."""
    assert expected == read_slots(body)
