"""Which fleet does the gateway of the local stack serve?

One for somebody's desk: the models have the names that callers of the real fleet know, and the
embedded engine answers them, on the CPU. With the profile `gpu`, vLLM is asked first, for the first
of the fleet's own models that one machine and vLLM can run. No backend of the real fleet is asked.

Not here: the services around it (`compose`).
"""

from typing import Any, Final

from baseload.config.references import is_reference
from baseload.render.picture import PORT, Engine, Picture

EMBEDDED: Final = "smollm2-135m-instruct"
"""The model that comes with the program."""
STATE: Final = "/var/lib/baseload"
TOKEN: Final = "BASELOAD_ADMIN_TOKEN"  # noqa: S105  # the name of a variable
USUAL_WEIGHTS: Final = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
USUAL_IMAGE: Final = "vllm/vllm-openai:v0.24.0"

Setting = dict[str, Any]


def fleet(picture: Picture, *, has_gpu: bool) -> Setting:
    """Give the fleet file, without or with the engine on a GPU."""
    cpu = {"cpu": {"model": EMBEDDED}}
    tiers = [{"engine": {"model": served(picture)}}, cpu] if has_gpu else [cpu]
    engine = {"engine": {"url": f"http://engine:{PORT}/v1"}} if has_gpu else {}
    return {
        "listen": "0.0.0.0:8080",
        "admin": "0.0.0.0:9090",
        "admin_token": f"${{{TOKEN}}}",
        "open_to_all": True,
        "state_dir": STATE,
        "backends": {**engine, "cpu": {"engine": "llama.cpp", "model": EMBEDDED}},
        "models": {name: {"tiers": tiers} for name in picture.fleet.models},
        "store": {"ledger": f"sqlite:///{STATE}/baseload.db"},
    }


def _engine(picture: Picture) -> Engine | None:
    """Give the engine that the stack can run as the fleet does, if there is one."""
    return next(
        (
            each for each in picture.engines
            if each.said.engine == "vllm" and each.layout.machines == 1
            and each.said.weights.startswith("hf://") and not is_reference(each.said.weights)
            and each.accelerator.vendor == "NVIDIA"
        ),
        None,
    )  # fmt: skip


def served(picture: Picture) -> str:
    """Give the name under which the engine is asked for its model."""
    found = _engine(picture)
    return found.served[0] if found else USUAL_WEIGHTS.rpartition("/")[2].lower()


def image(picture: Picture) -> str:
    """Give the engine's image."""
    found = _engine(picture)
    return (found and found.said.image) or USUAL_IMAGE


def gpus(picture: Picture) -> int:
    """Give how many GPUs the engine takes."""
    found = _engine(picture)
    return found.layout.accelerators if found else 1


def arguments(picture: Picture) -> list[str]:
    """Give the arguments of `vllm serve`."""
    found = _engine(picture)
    weights = found.said.weights.removeprefix("hf://") if found else USUAL_WEIGHTS
    context = found.said.context if found else 16_384
    return [
        weights,
        "--served-model-name", served(picture),
        f"--tensor-parallel-size={gpus(picture)}",
        f"--max-model-len={context}",
        f"--port={PORT}",
    ]  # fmt: skip
