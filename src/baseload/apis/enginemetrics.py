"""How full is an engine, by its own account?

vLLM, SGLang and llama.cpp each tell it in Prometheus' text format, under names of their own: the
used share of the KV cache, the calls that wait in the engine, the calls that run. Here the three
become one. Several engines behind one address add up their calls; the fullest cache speaks for
them all, because a call that lands there is the one that suffers.

Sound gauges are picked out of whatever text comes; the rest is passed over, for a metrics page
that is half broken still says half of the truth. What is not told stays None and is never guessed:
llama.cpp has dropped its cache gauge, and tells its slots elsewhere (`read_slots`).

Not here: histograms, counters and everything else that these pages hold.
"""

import re
from math import isfinite
from typing import NamedTuple

import msgspec

from baseload.apis.unreadable import UNREADABLE

METRICS_BYTES_MAX = 1024 * 1024
"""What is read of a page; vLLM's are some 100 KiB."""
SERIES_MAX = 1024
"""Lines that are read of one gauge: one an engine, or one a rank and priority."""
NUMBER_MAX = 1e15
"""A number beyond it is a mistake: no engine has written so many tokens."""


class Metrics(msgspec.Struct, frozen=True, gc=False):
    """What an engine tells of itself; None is what it does not tell.

    `kv_usage` is the used share of its KV cache from 0 to 1, `waiting` and `running` its calls.
    `kv_tokens` is what the cache holds, `made_tokens` what it has written since its start (SGLang
    and llama.cpp count an answer when it ends), `tokens_per_s` how fast it writes, by itself,
    `preemptions` how often it has thrown a call out of the cache.
    """

    kv_usage: float | None = None
    waiting: int | None = None
    running: int | None = None
    kv_tokens: int | None = None
    made_tokens: int | None = None
    tokens_per_s: float | None = None
    preemptions: int | None = None


class _Names(NamedTuple):
    """What an engine calls its numbers; each may have had several names."""

    kv_usage: tuple[bytes, ...]
    waiting: bytes
    running: bytes
    made_tokens: bytes
    tokens_per_s: bytes = b"?"
    preemptions: bytes = b"?"
    kv_tokens: bytes = b"?"


_NAMES = {
    "vllm": _Names(
        (b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc"),  # the second until 2025
        b"vllm:num_requests_waiting",
        b"vllm:num_requests_running",
        b"vllm:generation_tokens_total",
        preemptions=b"vllm:num_preemptions_total",
    ),
    "sglang": _Names(
        (b"sglang:token_usage",),
        b"sglang:num_queue_reqs",
        b"sglang:num_running_reqs",
        b"sglang:generation_tokens_total",
        b"sglang:gen_throughput",
        b"sglang:num_retracted_requests_total",
        b"sglang:max_total_num_tokens",
    ),
    "llama.cpp": _Names(
        (b"llamacpp:kv_cache_usage_ratio",),  # until May 2026
        b"llamacpp:requests_deferred",
        b"llamacpp:requests_processing",
        b"llamacpp:tokens_predicted_total",
    ),
}
_CACHE = b"vllm:cache_config_info"
"""vLLM tells its cache's size in labels of a gauge that is always 1."""
_CACHE_TOKENS = re.compile(rb'\bkv_cache_size_tokens="(\d{1,15})"')  # since 2026
_CACHE_BLOCKS = re.compile(rb'\bnum_gpu_blocks="(\d{1,12})"')
_BLOCK_TOKENS = re.compile(rb'\bblock_size="(\d{1,6})"')

_REST = re.compile(rb"(?:\{([^\n]*)\})?[ \t]+(\S+)")
"""What follows a gauge's name: labels, which may hold any sign but a line's end, and the value."""

_SAME_CALLS = re.compile(rb'\b(?:tp_rank|pp_rank|moe_ep_rank|priority)="[^"]*",?')
"""SGLang's labels of lines that speak of the same calls: ranks work on them together, and the line
of an empty priority is the sum of the others."""


def read_metrics(text: bytes) -> tuple[str, Metrics]:
    """Say which engine a metrics page is from, and what it tells; an empty name: from none known.

    Should a page hold the gauges of several kinds, the first kind in the order of the module's
    text is read. Bytes beyond METRICS_BYTES_MAX are passed over.
    """
    if len(text) > METRICS_BYTES_MAX:
        text = text[:METRICS_BYTES_MAX].rpartition(b"\n")[0]  # half a number is another number
    text = b"\n" + text
    for kind, names in _NAMES.items():
        usages = [usage for name in names.kv_usage for usage in _values(text, name)]
        kv_usage = min(max(usages), 1.0) if usages else None
        speeds = _values(text, names.tokens_per_s)
        metrics = Metrics(
            kv_usage,
            _sum(text, names.waiting),
            _sum(text, names.running),
            _cache_tokens(text) if kind == "vllm" else _sum(text, names.kv_tokens),
            _sum(text, names.made_tokens),
            sum(speeds) if speeds else None,
            _sum(text, names.preemptions),
        )
        if metrics != _NOTHING:
            return kind, metrics
    return "", _NOTHING


_NOTHING = Metrics()


def _cache_tokens(text: bytes) -> int | None:
    """Give what vLLM's caches hold together; older ones tell only how many blocks of which size."""
    total = 0
    for labels in _lines(text, _CACHE):
        if tokens := _CACHE_TOKENS.search(labels):
            total += int(tokens[1])
        elif (blocks := _CACHE_BLOCKS.search(labels)) and (size := _BLOCK_TOKENS.search(labels)):
            total += int(blocks[1]) * int(size[1])
    return total or None


def _sum(text: bytes, name: bytes) -> int | None:
    values = _values(text, name)
    return int(sum(values)) if values else None


def _values(text: bytes, name: bytes) -> list[float]:
    """Give a number's values, one for all lines that speak of the same calls."""
    return list(_lines(text, name).values())


def _lines(text: bytes, name: bytes) -> dict[bytes, float]:
    """Give a number's values by their labels, without those that tell the same calls apart."""
    values: dict[bytes, float] = {}
    line = b"\n" + name
    at = text.find(line)
    for _ in range(SERIES_MAX):
        if at < 0:
            break
        at += len(line)
        rest = _REST.match(text, at)
        if rest is not None and (value := _number(rest[2])) is not None:
            labels = _SAME_CALLS.sub(b"", rest[1] or b"")
            values[labels] = max(value, values.get(labels, 0.0))
        at = text.find(line, at)
    return values


def _number(text: bytes) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and 0 <= value <= NUMBER_MAX else None


class _Next(msgspec.Struct, gc=False):
    n_decoded: int = 0


class _Slot(msgspec.Struct, gc=False):
    is_processing: bool
    n_ctx: int = 0
    next_token: list[_Next] | _Next | None = None

    def written(self) -> int:
        """Give how much of an answer that goes on is written."""
        heads = self.next_token if isinstance(self.next_token, list) else [self.next_token]
        return sum(one.n_decoded for one in heads if one is not None) if self.is_processing else 0


_decode_slots = msgspec.json.Decoder(list[_Slot]).decode


class Slots(NamedTuple):
    """llama.cpp's slots: how many, how many of them work on a call, what all hold together.

    `written` are the tokens of answers that go on; its total of tokens counts those that ended.
    """

    number: int
    running: int
    kv_tokens: int | None
    written: int


def read_slots(body: bytes) -> Slots | None:
    """Read llama.cpp's `/slots`; None if these are no slots.

    They may hold prompts, which are not looked at.
    """
    try:
        slots = _decode_slots(body)
    except UNREADABLE:
        return None
    if not slots:
        return None
    return Slots(
        len(slots),
        sum(slot.is_processing for slot in slots),
        sum(slot.n_ctx for slot in slots if 0 < slot.n_ctx < NUMBER_MAX) or None,
        sum(slot.written() for slot in slots if 0 <= slot.written() < NUMBER_MAX),
    )
