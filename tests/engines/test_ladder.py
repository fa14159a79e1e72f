"""Tests of what is tried next when memory ran short, and of seeing that it did."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.config.serving import Serve
from baseload.engines import outofmemory
from baseload.engines.kinds.ladder import LADDERS, RUNGS_MAX, Sign, smaller
from baseload.engines.kinds.launch import Size
from baseload.engines.outofmemory import sign_in, sign_of

SIZES = st.builds(
    Size,
    slots=st.integers(1, 4096),
    context=st.integers(0, 1_000_000),
    gpu_memory=st.none() | st.floats(0.05, 1.0),
    kv=st.sampled_from(["fp16", "q8_0", "fp8"]),
)
SIGNS = st.builds(
    Sign, st.sampled_from(sorted(LADDERS)), st.integers(0, 1_000_000), st.floats(0.0, 1.0)
)


@given(SIZES, SIGNS, st.none() | st.integers(256, 10_000_000))
def test_every_step_is_smaller_and_the_ladder_ends(size, sign, context):
    """Nothing ever grows, one thing shrinks at each step, and a stated context stays."""
    serve = Serve(context=context)
    for _ in range(RUNGS_MAX + 1):
        found = smaller(size, sign, serve)
        if found is None:
            return
        less, words = found

        assert words
        assert (less.slots, less.context) <= (size.slots, size.context)
        assert less.context <= size.context
        assert (less.gpu_memory or 0) <= (size.gpu_memory or 0)
        assert (less.slots, less.context, less.gpu_memory, less.kv) != (
            size.slots, size.context, size.gpu_memory, size.kv
        )  # fmt: skip
        assert context is None or less.context == size.context
        size = less
    pytest.fail("the ladder has no end")


def test_the_ladder_of_a_gpu_takes_memory_first_then_calls():
    """Two steps of memory, then half the calls twice, then half the context."""
    size, said = Size(slots=128, context=32768, gpu_memory=0.9), []
    while found := smaller(size, Sign("gpu"), Serve()):
        size, words = found
        said.append(words)

    assert [
        "gpu_memory 0.9 -> 0.8", "gpu_memory 0.8 -> 0.7", "slots 128 -> 64", "slots 64 -> 32",
        "context 32768 -> 16384", "context 16384 -> 8192",
    ] == said[:6]  # fmt: skip


def test_an_engine_that_says_which_context_fits_is_given_that():
    """No need to halve where the engine has reckoned."""
    size = Size(slots=8, context=131072, gpu_memory=0.9)

    assert "context 131072 -> 21440" == smaller(size, Sign("kv", 21440), Serve())[1]


def test_a_gpu_that_others_have_taken_is_answered_by_what_is_free_of_it():
    """One step to the part that is free; fewer calls or a shorter context would help nothing."""
    size = Size(slots=128, context=32768, gpu_memory=0.9)
    less, words = smaller(size, Sign("taken", gpu_memory_max=0.54), Serve())

    assert (0.53, 128, 32768) == (less.gpu_memory, less.slots, less.context)
    assert "gpu_memory 0.9 -> 0.53" == words
    assert smaller(size, Sign("taken", gpu_memory_max=0.1), Serve()) is None


def test_without_room_for_any_cache_only_fewer_calls_are_tried():
    """A shorter context would not be read any smaller."""
    size, said = Size(slots=8, context=32768, gpu_memory=0.9), []
    while found := smaller(size, Sign("cache"), Serve()):
        size, words = found
        said.append(words)

    assert ["slots 8 -> 4", "slots 4 -> 2", "slots 2 -> 1"] == said


def test_what_has_no_room_for_its_weights_is_not_tried_again():
    """Nothing smaller helps there."""
    assert smaller(Size(slots=8, context=4096), Sign("weights"), Serve()) is None


FREE = (
    "ValueError: Free memory on device cuda:0 (12.38/287.69 GiB) on startup is less than "
    "desired GPU memory utilization (0.92, 264.67 GiB)."
)
CACHE = (
    "ValueError: To serve at least one request with the models's max seq len (131072), (4.00 GiB "
    "KV cache is needed, which is larger than the available KV cache memory (0.65 GiB). Based on "
    "the available memory, the estimated maximum model length is 21440. Try increasing"
)
CUDA = (
    "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 13285.50 MiB on device 0: "
    "cudaMalloc failed: out of memory"
)
STATIC = "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static."

BUDGET = (
    "ValueError: Loaded weights leave no GPU memory for the KV cache under "
    "--mem-fraction-static=0.1. Raise --mem-fraction-static above 0.182"
)


@pytest.mark.parametrize(
    ("line", "sign"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", Sign("gpu")),
        (FREE, Sign("taken", 0, 12.38 / 287.69)),
        ("ValueError: No available memory for the cache blocks. Try", Sign("cache")),
        (CACHE, Sign("kv", 21440)),
        (STATIC, Sign("weights")),
        (BUDGET, Sign("weights")),
        (CUDA, Sign("gpu")),
        ("alloc_tensor_range: failed to allocate CPU buffer of size 1879048192", Sign("host")),
        ("  what():  std::bad_alloc", Sign("host")),
        ("loading shard 3 of 7", None),
    ],
    ids=[
        "torch",
        "vllm-free",
        "vllm-cache",
        "vllm-kv",
        "sglang",
        "sglang-0.5.15",
        "llama.cpp",
        "llama.cpp-host",
        "c++",
        "none",
    ],
)
def test_engines_words_for_a_lack_of_memory(line, sign):
    """Lines of each engine are known, with what they say would fit; others are no sign."""
    assert sign == sign_in(line)


@pytest.mark.parametrize(
    ("heard", "code", "before", "after", "sign"),
    [
        (None, -9, 3, 4, Sign("host")),
        (None, 1, 3, 4, Sign("host")),
        (None, -9, 3, 3, None),
        (None, None, 3, 4, None),
        (None, -9, None, None, None),
        (Sign("gpu"), 1, 3, 3, Sign("gpu")),
    ],
)
def test_a_kill_counts_only_while_the_kernels_count_rose(heard, code, before, after, sign):
    """A SIGKILL alone may be anybody's; an end that we brought about is no sign at all."""
    assert sign == sign_of(heard, code, before, after)


@pytest.mark.parametrize(
    ("group", "file", "text"),
    [
        ("4:memory:/a", "cgroup/memory/a/memory.oom_control", "oom_kill_disable 0\noom_kill 7\n"),
        ("0::/b", "cgroup/b/memory.events", "oom 1\noom_kill 7\noom_group_kill 0\n"),
        ("0::/x", "proc/vmstat", "nr_free 1\noom_kill 7\n"),
    ],
    ids=["v1", "v2", "machine"],
)
def test_the_kernels_count_is_found_in_each_place(tmp_path, monkeypatch, group, file, text):
    """Of the own control group, old kind and new, or else of the machine. Files are made up."""
    monkeypatch.setattr(outofmemory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(outofmemory, "CGROUPS", tmp_path / "cgroup")
    for name, content in (("proc/self/cgroup", f"8:pids:/\n{group}\n"), (file, text)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)

    assert 7 == outofmemory.oom_kills()


def test_a_machine_that_tells_no_count_is_no_mistake(tmp_path, monkeypatch):
    """Elsewhere than on Linux there is none of these files."""
    monkeypatch.setattr(outofmemory, "PROC", tmp_path)

    assert outofmemory.oom_kills() is None
