"""Tests of which engines may share a GPU, and what each is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.config.fleet import Backend
from baseload.config.serving import Serve
from baseload.engines.hardware.found import Gpu
from baseload.engines.sharing import (
    HEADROOM_BYTES,
    LIMIT_SLACK_BYTES,
    Share,
    environment,
    faults,
    shares_of,
)

GIB = 1 << 30
PLACES = {"CUDA_MPS_PIPE_DIRECTORY": "/p", "CUDA_MPS_LOG_DIRECTORY": "/l"}


def gpu(index, **more):
    known = {"vendor": "NVIDIA", "name": "H100", "memory_bytes": 80 * GIB, "compute": (9, 0)}
    return Gpu(index=index, uuid=f"GPU-{index}", free_bytes=0, driver="1", **known | more)


def share(name, memory=0.4, **more):
    return Share(name=name, memory=memory, threads=more.pop("threads", 50), **more)


def said(shares, gpus):
    return "\n".join(str(fault) for fault in faults(shares, gpus))


def test_parts_that_hold_their_models_are_fine():
    """Two models of 20 GiB, each with 0.4 of 80 GiB, and a third that is alone elsewhere."""
    shares = [
        share("a", weights_bytes=20 * GIB, gpus=(0,)),
        share("b", weights_bytes=20 * GIB, gpus=(0,)),
        Share(name="c", gpus=(1,)),
    ]

    assert [] == faults(shares, [gpu(0), gpu(1)])


def test_parts_of_more_than_the_whole_are_refused_by_name():
    """The sum is said with each part, and what to do."""
    text = said([share("a", 0.6), share("b", 0.6)], [gpu(0)])

    assert "GPU 0 (H100): the parts of its memory come to 1.2 (a 0.6 + b 0.6)" in text
    assert "smaller, or use another GPU" in text
    assert "" == said([share("a", 0.6, gpus=(0,)), share("b", 0.6, gpus=(1,))], [gpu(0), gpu(1)])


def test_who_shares_must_name_its_part_of_the_memory():
    """An engine without a part takes nearly all, so it can only be alone."""
    text = said([share("a"), share("b", None)], [gpu(0)])

    assert "backends.b.serve.gpu_memory: needed, because it shares GPU 0 with a" in text
    assert "" == said([share("b", None)], [gpu(0)])


def test_a_model_that_its_part_cannot_hold_is_refused():
    """Weights and headroom must fit; on two GPUs each has half of the weights."""
    weights = 32 * GIB  # just the part, without headroom
    text = said([share("a", weights_bytes=weights)], [gpu(0)])

    assert "0.4 of GPU 0 is 32.0 GiB, and its weights take 32.0 GiB there" in text
    assert "" == said([share("a", weights_bytes=weights)], [gpu(0), gpu(1)])
    assert "" == said([share("a", weights_bytes=weights - HEADROOM_BYTES)], [gpu(0)])


@pytest.mark.parametrize(
    ("gpus", "text"),
    [
        ([], "no GPU was found here; remove it"),
        ([gpu(0, vendor="AMD")], "GPU 0 is AMD's, and MPS is NVIDIA's"),
        ([gpu(0, compute=(6, 1), name="P40")], "GPU 0 (P40) is older than Volta"),
    ],
    ids=["none", "amd", "pascal"],
)
def test_mps_needs_a_gpu_that_has_it(gpus, text):
    """What the hardware cannot do is said at the setting that asks for it."""
    assert text in said([share("a")], gpus)


def test_a_gpu_that_is_not_there_is_named():
    """A wrong number is found before an engine is started."""
    assert "backends.a.serve.gpus: there is no GPU 7 here" in said(
        [share("a", gpus=(7,))], [gpu(0)]
    )


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6))
def test_parts_are_refused_exactly_when_they_make_more_than_one(parts):
    """Whatever the parts: the sum decides, up to the last binary digit."""
    shares = [share(str(at), part) for at, part in enumerate(parts)]

    assert (sum(parts) > 1 + 1e-9) == bool(faults(shares, [gpu(0)]))


def test_an_engine_is_told_its_limits_by_its_own_count():
    """GPU 2 is the first one that it sees, so its limit is that of number 0."""
    variables = environment(
        share("a", 0.5, threads=30, gpus=(3, 2)), [gpu(at) for at in range(4)], PLACES
    )
    mib = (40 * GIB + LIMIT_SLACK_BYTES) >> 20

    assert (
        PLACES
        | {
            "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "30",
            "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": f"0={mib}M,1={mib}M",
        }
        == variables
    )


def test_a_limit_is_never_above_the_whole_memory():
    """A part of all leaves no room for slack."""
    variables = environment(share("a", 1.0), [gpu(0)], PLACES)

    assert f"0={80 * 1024}M" == variables["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"]


def test_who_uses_gpus_is_known_from_the_file():
    """llama.cpp counts only if the file speaks of GPUs; a URL never does."""
    backends = [
        Backend(name="cpu", engine="llama.cpp", model="m.gguf"),
        Backend(name="l", engine="llama.cpp", model="m.gguf", serve=Serve(mps_threads=40)),
        Backend(name="v", engine="vllm", model="m", serve=Serve(gpus=(1,), gpu_memory=0.3)),
        Backend(name="u", url="https://example.org/v1"),
    ]
    shares = shares_of(backends, lambda model: 7 if model == "m" else None)

    assert [("l", 40, None, None), ("v", None, 0.3, 7)] == [
        (one.name, one.threads, one.memory, one.weights_bytes) for one in shares
    ]
