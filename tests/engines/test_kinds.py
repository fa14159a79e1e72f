"""Tests of deciding how engines are started. Nothing runs here; see the children's own tests."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from baseload.config.fleet import Backend
from baseload.config.serving import Batch
from baseload.engines.kinds import KINDS, kind_of
from baseload.engines.kinds.facts import Facts, facts_of
from baseload.engines.kinds.launch import Size
from baseload.engines.kinds.memory import RUNTIME_BYTES
from baseload.engines.weights import find_weights
from baseload.errors import EngineError
from tests.engines.engine_kit import MODEL
from tests.engines.machines import BIG, GIB, SMALL, launched, machine, model_folder

TABLES = Path(__file__).parent.parent / "render/data/engine_flags.toml"
FLAGS = {name: set(flags) for name, flags in tomllib.loads(TABLES.read_text()).items()}
WISHES = {
    "plain": {},
    "all": {"kv": "fp8", "draft": "/m/d", "prefix_cache": False, "precision": "fp8", "slots": 7},
    "fp32": {"precision": "fp32", "context": 4096},
    "split": {"tensor_parallel": 2, "pipeline_parallel": 2},
}
GGUF = Facts(
    path="/m/x.gguf", form="gguf", weights_bytes=100 << 20, layers=30, heads=9,
    kv_width=2 * 3 * 64, context_max=8192,
)  # fmt: skip


def value(launch, flag):
    """Give what follows a flag, in either way of writing it; None if it is not there."""
    for at, word in enumerate(launch.argv):
        if word == flag:
            return launch.argv[at + 1] if at + 1 < len(launch.argv) else ""
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_every_flag_is_one_of_the_engines_own(engine, wish):
    """No flag is another than those in the engines' argument tables."""
    launch = launched(engine, hardware=machine(4), **WISHES[wish])
    used = {word.partition("=")[0] for word in launch.argv if word.startswith("--")}
    used = {re.sub("^--no-", "--", flag) if engine == "vllm" else flag for flag in used}

    assert len(used) > 6
    assert set() == used - FLAGS[engine]


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_every_word_of_a_command_has_its_reason(engine):
    """The reasons tell the whole command line, in order."""
    launch = launched(engine, **WISHES["all"])

    assert list(launch.argv) == " ".join(reason.what for reason in launch.reasons).split(" ")
    assert all(reason.why for reason in launch.reasons)


@pytest.mark.parametrize(
    ("facts", "hardware", "split"),
    [
        (SMALL, machine(1, 24), (1, 1)),
        (SMALL, machine(8, 80), (1, 1)),
        (SMALL, machine(4, 12), (4, 1)),
        (BIG, machine(8, 80), (4, 1)),
        (BIG, machine(2, 141), (2, 1)),
        (msgspec.structs.replace(BIG, heads=12), machine(8, 24), (4, 2)),
    ],
    ids=["7b-24", "7b-8x80", "7b-4x12", "70b-8x80", "70b-2x141", "odd-heads"],
)
def test_as_few_gpus_as_the_weights_need(facts, hardware, split):
    """Weights and room for a KV cache decide how many; heads of attention, how far layers are split by themselves."""
    launch = launched("vllm", facts, hardware)

    assert split == (launch.tensor_parallel, launch.pipeline_parallel)
    assert split[0] * split[1] == len(launch.gpus)
    assert str(split[0]) == value(launch, "--tensor-parallel-size")


def test_a_model_that_does_not_fit_is_refused_with_the_numbers():
    """What is needed and what there is are both said."""
    with pytest.raises(EngineError, match=r"131\.3 GiB of weights .* 39\.2 GiB that 2 of 2 GPUs"):
        launched("vllm", BIG, machine(2, 24))


def test_fp8_halves_what_the_weights_need():
    """A precision that the engine makes while loading counts as it will lie there."""
    assert (4, 2) == (
        launched("vllm", BIG, machine(8)).tensor_parallel,
        launched("vllm", BIG, machine(8), precision="fp8").tensor_parallel,
    )


@pytest.mark.parametrize(
    ("compute", "native", "wish", "flag"),
    [
        ((7, 0), "bf16", "auto", "--dtype=half"),
        ((7, 0), "fp16", "auto", None),
        ((8, 0), "bf16", "auto", None),
        ((8, 0), "bf16", "bf16", "--dtype=bfloat16"),
        ((8, 9), "bf16", "fp8", "--quantization=fp8"),
        ((9, 0), "fp8", "fp8", None),
        ((9, 0), "int8", "int8", None),
        (None, "bf16", "fp8", "--quantization=fp8"),
    ],
)
def test_precision_is_what_the_gpu_can_do(compute, native, wish, flag):
    """What the weights have already needs no flag; what the GPU lacks is made another."""
    facts = msgspec.structs.replace(SMALL, native=native)
    launch = launched("vllm", facts, machine(compute=compute), precision=wish)
    found = {word for word in launch.argv if word.startswith(("--dtype", "--quantization"))}

    assert found == ({flag} if flag else set())


@pytest.mark.parametrize(
    ("compute", "native", "wish", "said"),
    [
        ((8, 6), "bf16", {"precision": "fp8"}, "FP8 needs compute capability 8.9"),
        ((8, 6), "fp8", {}, "FP8 needs compute capability 8.9"),
        ((7, 5), "bf16", {"precision": "bf16"}, "BF16 needs compute capability 8.0"),
        ((9, 0), "bf16", {"precision": "int8"}, "`baseload quantize`"),
        ((9, 0), "int4", {"precision": "bf16"}, "cannot be made bf16 again"),
        ((8, 0), "bf16", {"kv": "fp8"}, "serve.kv: fp8 needs"),
        ((9, 0), "bf16", {"kv": "q8_0"}, "llama.cpp's"),
        ((9, 0), "bf16", {"gpus": (3,)}, "there is no GPU 3; found: 0"),
        ((9, 0), "bf16", {"tensor_parallel": 2}, "asks for 2 GPUs, and 1"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_loaded(compute, native, wish, said):
    """A wish that GPU, engine or weights cannot keep is an error, in words."""
    facts = msgspec.structs.replace(SMALL, native=native)
    with pytest.raises(EngineError, match=re.escape(said)):
        launched("vllm", facts, machine(compute=compute), **wish)


@pytest.mark.parametrize(
    ("free", "stated", "of_all"),
    [(80.0, None, 0.9), (40.0, None, 0.49), (46.4, 0.42, 0.42), (20.0, 0.42, 0.25)],
    ids=["alone", "half", "second", "too much"],
)
def test_sglang_is_told_its_share_of_what_is_free(free, stated, of_all):
    """Weights, cache and runtime come to the share of the GPU; SGLang counts from what is free."""
    more = {} if stated is None else {"gpu_memory": stated}
    launch = launched("sglang", hardware=machine(1, 80, free=[free]), **more)
    left_gib = free * (1 - float(value(launch, "--mem-fraction-static")))  # by SGLang's reckoning

    assert of_all * 80 == pytest.approx(free - left_gib + RUNTIME_BYTES / GIB, abs=0.1)


@pytest.mark.parametrize("port", [1024, 30_000, 55_535, 55_536, 65_535])
def test_sglang_starts_at_any_port(port):
    """Its port for gRPC, 10,000 above unless named, is one that there is, and another."""
    named = launched("sglang", port=port).environment.get("SGLANG_GRPC_PORT")

    assert 1024 <= int(named or port + 10_000) <= 65_535
    assert named != str(port)


def test_without_a_gpu_the_reason_is_what_was_looked_for():
    """The machine's notes are in the error."""
    hardware = msgspec.structs.replace(machine(0), notes=("no NVML here",))
    with pytest.raises(EngineError, match=r"needs a GPU, and none was found; no NVML here"):
        launched("sglang", hardware=hardware)


def test_the_context_is_shortened_until_four_calls_fit():
    """A small card has not room for 131072 tokens; what is stated is kept."""
    small = launched("vllm", hardware=machine(1, 24))
    roomy = launched("vllm", hardware=machine(1, 80))
    stated = launched("vllm", hardware=machine(1, 24), context=50_000)

    assert small.kv_tokens is not None
    assert 2 * 4 * small.size.context > small.kv_tokens >= 4 * small.size.context
    assert [131072, 50_000] == [roomy.size.context, stated.size.context]


def test_calls_at_once_are_those_of_the_batch_bounded_by_the_cache():
    """Without a wish as many as a batch is tried with; each needs some of the KV cache."""
    tight = launched("vllm", hardware=machine(1, 24), gpu_memory=0.72)

    assert 128 == launched("vllm").size.slots
    assert 50 == launched("vllm", batch=Batch(max=50)).size.slots
    assert 9 == launched("vllm", slots=9).size.slots
    assert tight.kv_tokens // 512 == tight.size.slots < 128


def test_the_emptiest_gpus_are_taken_as_far_as_they_are_free():
    """A GPU that others use is the last choice, and then only what they have left is taken."""
    chosen = launched("vllm", hardware=machine(2, 80, free=[20, 80]))
    crowded = launched("vllm", hardware=machine(1, 80, free=[40]))

    assert ((1,), 0.9) == (chosen.gpus, chosen.size.gpu_memory)
    assert 0.49 == crowded.size.gpu_memory
    assert "CUDA_VISIBLE_DEVICES" in chosen.environment
    assert ("1", "PCI_BUS_ID") == (
        chosen.environment["CUDA_VISIBLE_DEVICES"], chosen.environment["CUDA_DEVICE_ORDER"]
    )  # fmt: skip


def test_amds_gpus_are_named_by_their_own_variable():
    """ROCm knows HIP_VISIBLE_DEVICES."""
    launch = launched("vllm", hardware=machine(2, compute=None, vendor="AMD"))

    assert "0" == launch.environment["HIP_VISIBLE_DEVICES"]


def test_a_key_goes_where_nobody_else_reads_it():
    """It is no part of the command; SGLang, which takes it there only, is refused one."""
    launch = launched("vllm", api_key="s3cret")

    assert {"VLLM_API_KEY": "s3cret"} == launch.secrets
    assert "s3cret" not in str(launch.argv) + str(launch.environment)
    with pytest.raises(EngineError, match=r"remove backends\.b\.api_key"):
        launched("sglang", api_key="s3cret")


def test_a_model_left_to_the_engine_is_served_under_both_names():
    """A hub's name is asked for whole or in short, and what is not known gets no flag."""
    launch = launched("vllm", Facts(path="Qwen/Q-7B"), model="Qwen/Q-7B")

    assert ("vllm", "serve", "Qwen/Q-7B", "--served-model-name", "Q-7B", "Qwen/Q-7B") == (
        launch.argv[:6]
    )
    assert None is value(launch, "--max-model-len")


def test_another_program_is_given_the_same_flags():
    """A module takes its model as a flag; arguments of the file come last."""
    program = ("python3", "-m", "vllm.entrypoints.openai.api_server")
    launch = launched("vllm", program=program, arguments=("--seed=1",))

    assert program == launch.argv[:3]
    assert "/m/qwen-7b" == value(launch, "--model")
    assert "--seed=1" == launch.argv[-1]


def test_a_smaller_size_is_what_is_started():
    """What came down the ladder is not chosen again."""
    size = Size(slots=5, context=3000, gpu_memory=0.6, kv="auto", rung=1)
    launch = launched("vllm", size=size)

    assert ["5", "3000", "0.6"] == [
        value(launch, flag)
        for flag in ("--max-num-seqs", "--max-model-len", "--gpu-memory-utilization")
    ]


def test_llama_cpp_has_as_many_slots_as_memory_has_room_for():
    """Slots times context must fit beside the weights; else there are fewer, or it is refused."""
    plenty = launched("llama.cpp", GGUF, machine(0), slots=64)
    little = launched("llama.cpp", GGUF, machine(0, memory_gib=2), slots=64)

    assert (64, 4096) == (plenty.size.slots, plenty.size.context)
    assert 1 < little.size.slots < 64
    assert little.size.slots * 94_371_840 < 0.8 * 2 * GIB
    with pytest.raises(EngineError, match=r"the model does not fit: 100 MiB"):
        launched("llama.cpp", GGUF, machine(0, memory_gib=0))


def test_llama_cpps_wishes_are_arguments_of_its_child():
    """Type of the cache, draft, prefix cache, NUMA and GPU are passed on, and shown with reasons."""
    launch = launched(
        "llama.cpp", GGUF, machine(0, numa=2), kv="q8_0", draft="/m/d.gguf", prefix_cache=False
    )

    assert ["q8_0", "/m/d.gguf", "8"] == [
        value(launch, flag) for flag in ("--kv", "--draft", "--threads")
    ]
    assert {"--numa", "--no-prefix-cache"} <= set(launch.argv)
    assert "--gpu" in launched("llama.cpp", GGUF, machine(1)).argv


@pytest.mark.parametrize(
    ("facts", "wish", "said"),
    [
        (SMALL, {}, "reads GGUF files"),
        (GGUF, {"precision": "int8"}, "the precision it was made in"),
        (GGUF, {"kv": "fp8"}, "fp16, q8_0 and q4_0"),
        (GGUF, {"tensor_parallel": 2}, "splits models by itself"),
    ],
)
def test_what_llama_cpp_cannot_do_is_said(facts, wish, said):
    """Wishes that are other engines' are refused, in words."""
    with pytest.raises(EngineError, match=re.escape(said)):
        launched("llama.cpp", facts, machine(0), **wish)


def test_facts_come_from_a_models_folder(tmp_path):
    """Sizes, precision and the width of the KV cache are read; latent attention has its own."""
    plain = facts_of(str(model_folder(tmp_path / "a", 1234)), may_fetch=False)
    latent = facts_of(
        str(model_folder(tmp_path / "b", kv_lora_rank=512, qk_rope_head_dim=64)), may_fetch=False
    )
    int8 = {"config_groups": {"g": {"weights": {"num_bits": 8, "type": "int"}}}}
    quantised = model_folder(
        tmp_path / "c", quantization_config={"quant_method": "compressed-tensors", **int8}
    )

    assert (1234, "bf16", 28, 28, 1024, 131072) == (
        plain.weights_bytes, plain.native, plain.layers, plain.heads, plain.kv_width,
        plain.context_max,
    )  # fmt: skip
    assert 57_344 == plain.kv_bytes_token("auto")
    assert 576 == latent.kv_width
    assert "int8" == facts_of(str(quantised), may_fetch=False).native


def test_what_an_engine_must_not_get_is_refused(tmp_path):
    """A cut file and a folder of pickles alone are named; numbers that cannot be are not known."""
    folder = model_folder(tmp_path / "m", num_hidden_layers=-1, max_position_embeddings=2**60)
    facts = facts_of(str(folder), may_fetch=False)
    file = folder / "model-00001-of-00001.safetensors"
    file.write_bytes(file.read_bytes()[:-1])

    assert (0, 0) == (facts.layers, facts.context_max)
    with pytest.raises(EngineError, match=r"00001\.safetensors is cut short"):
        facts_of(str(folder), may_fetch=False)
    file.rename(folder / "pytorch_model.bin")
    with pytest.raises(EngineError, match=r"pytorch_model\.bin is a pickle"):
        facts_of(str(folder), may_fetch=True)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", '{"num_hidden_layers": "many"}', '{"text_config": [1]}',
        '{"hidden_size": [1]}', '{"quantization_config": [1]}', '{"hidden_size": 1e999}',
    ],
    ids=range(8),
)  # fmt: skip
def test_a_folder_that_is_no_models_is_refused_in_words(tmp_path, text):
    """An empty, broken or strange config.json is named."""
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(EngineError, match=r"config\.json"):
        facts_of(str(tmp_path), may_fetch=True)


def test_facts_of_the_real_model(real_engine):
    """The shipped model's header gives the numbers by which its context was measured to cost."""
    facts = facts_of(MODEL, may_fetch=False)

    assert (30, 9, 384, 8192) == (facts.layers, facts.heads, facts.kv_width, facts.context_max)
    assert find_weights(MODEL).stat().st_size == facts.weights_bytes
    assert 94_371_840 == 4096 * facts.kv_bytes_token("fp16")


def test_only_names_of_a_hub_are_left_to_the_engine():
    """Whatever else is not there is an error, for engines that could fetch, too."""
    assert "Qwen/Qwen3-8B" == facts_of("Qwen/Qwen3-8B", may_fetch=True).path
    for model in ("Qwen/Qwen3-8B.gguf", "nothing", "/no/where"):
        with pytest.raises(EngineError):
            facts_of(model, may_fetch=True)
    with pytest.raises(EngineError):
        facts_of("Qwen/Qwen3-8B", may_fetch=False)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_missing_program_is_named_with_how_to_install_it(engine, monkeypatch):
    """Where it is not on the path, one line says what to do."""
    monkeypatch.setenv("PATH", "/nowhere")
    backend = Backend(name="b", engine=engine, model="m")

    assert f"pip install {engine}" in kind_of(backend).missing(backend)


def test_there_is_a_kind_for_each_engine_of_the_fleet_file():
    """The file's words and the kinds are the same."""
    field = next(one for one in msgspec.structs.fields(Backend) if one.name == "engine")

    assert all(repr(name) in str(field.type) for name in KINDS)
    assert 4 == len(KINDS)
