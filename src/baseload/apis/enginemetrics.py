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
CALLS_MAX = 1_000_000_000
"""A gauge of calls beyond it is a mistake."""


class Metrics(msgspec.Struct, frozen=True, gc=False):
    """What an engine tells of itself; None is what it does not tell.

    `kv_usage` is the used share of its KV cache from 0 to 1, `waiting` and `running` its calls.
    """

    kv_usage: float | None = None
    waiting: int | None = None
    running: int | None = None


class _Names(NamedTuple):
    """What an engine calls its gauges; each may have had several names."""

    kv_usage: tuple[bytes, ...]
    waiting: bytes
    running: bytes


_NAMES = {
    "vllm": _Names(
        (b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc"),  # the second until 2025
        b"vllm:num_requests_waiting",
        b"vllm:num_requests_running",
    ),
    "sglang": _Names(
        (b"sglang:token_usage",), b"sglang:num_queue_reqs", b"sglang:num_running_reqs"
    ),
    "llama.cpp": _Names(
        (b"llamacpp:kv_cache_usage_ratio",),  # until May 2026
        b"llamacpp:requests_deferred",
        b"llamacpp:requests_processing",
    ),
}

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
        metrics = Metrics(kv_usage, _calls(text, names.waiting), _calls(text, names.running))
        if metrics != _NOTHING:
            return kind, metrics
    return "", _NOTHING


_NOTHING = Metrics()


def _calls(text: bytes, name: bytes) -> int | None:
    values = _values(text, name)
    return int(sum(values)) if values else None


def _values(text: bytes, name: bytes) -> list[float]:
    """Give a gauge's values, one for all lines that speak of the same calls."""
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
    return list(values.values())


def _number(text: bytes) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and 0 <= value <= CALLS_MAX else None


class _Slot(msgspec.Struct, gc=False):
    is_processing: bool


_decode_slots = msgspec.json.Decoder(list[_Slot]).decode


def read_slots(body: bytes) -> tuple[int, int] | None:
    """Read llama.cpp's `/slots`: how many there are, and how many of them work on a call.

    None if these are no slots. They may hold prompts, which are not looked at.
    """
    try:
        slots = _decode_slots(body)
    except UNREADABLE:
        return None
    return (len(slots), sum(slot.is_processing for slot in slots)) if slots else None
