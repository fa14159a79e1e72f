"""Machines and models that tests of engines' kinds are asked about. Made up, but for the numbers."""

import json

from baseload.config.fleet import Backend
from baseload.config.serving import Serve
from baseload.engines.hardware.found import Cpu, Gpu, Hardware, Numa
from baseload.engines.kinds import kind_of
from baseload.engines.kinds.facts import Facts
from baseload.engines.kinds.launch import Order

GIB = 1024**3
H100 = (9, 0)
QWEN_7B = {
    "hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28,
    "num_key_value_heads": 4, "torch_dtype": "bfloat16", "max_position_embeddings": 131072,
}  # fmt: skip
"""Of DeepSeek-R1-Distill-Qwen-7B's config.json."""
BIG = Facts(
    path="/m/llama-70b", form="safetensors", weights_bytes=141 * 10**9, native="bf16", layers=80,
    heads=64, kv_width=2 * 8 * 128, context_max=131072,
)  # fmt: skip
SMALL = Facts(
    path="/m/qwen-7b", form="safetensors", weights_bytes=15_231_000_000, native="bf16", layers=28,
    heads=28, kv_width=2 * 4 * 128, context_max=131072,
)  # fmt: skip


def machine(gpus=1, gib=80, compute=H100, free=None, vendor="NVIDIA", memory_gib=64, numa=1):
    """Give a machine with alike GPUs; `free` is what of each is free, in GiB."""
    found = [
        Gpu(
            index=at, uuid=f"GPU-{at}", name="H100" if compute == H100 else "G", vendor=vendor,
            memory_bytes=gib * GIB, driver="1", compute=compute,
            free_bytes=int((gib if free is None else free[at]) * GIB),
        )
        for at in range(gpus)
    ]  # fmt: skip
    nodes = tuple(Numa(index=at, cores=4, memory_bytes=GIB) for at in range(numa))
    cpu = Cpu(model="c", cores=8, features=(), memory_bytes=memory_gib * GIB, numa=nodes)
    return Hardware(gpus=tuple(found), cpu=cpu)


def launched(engine, facts=SMALL, hardware=None, size=None, port=8001, model="/m/qwen-7b", **more):
    """Decide a start: `more` are fields of the backend, and those of `serve`."""
    known = {name: more.pop(name) for name in list(more) if name in Backend.__struct_fields__}
    backend = Backend(name="b", engine=engine, model=model, serve=Serve(**more), **known)
    order = Order(
        backend=backend, facts=facts, hardware=hardware or machine(), size=size, port=port
    )
    return kind_of(backend).launch(order)


def model_folder(folder, weights_bytes=1000, **config):
    """Write a model's folder, its weights sparse."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(QWEN_7B | config))
    head = b'{"w": {"dtype": "U8", "shape": [%d], "data_offsets": [0, %d]}}'
    data_bytes = weights_bytes - 128
    with (folder / "model-00001-of-00001.safetensors").open("wb") as file:
        file.write((120).to_bytes(8, "little") + (head % (data_bytes, data_bytes)).ljust(120))
        file.truncate(weights_bytes)
    return folder
