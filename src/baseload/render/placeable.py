"""What of a fleet can no cluster run, whatever fits?

Held against the engines that run in clusters, before anything is rendered: how GPUs can be shared,
which images there are, what scales to zero, what names may be. Those of clouds are not meant.

Not here: memory and quotas (`settling`).
"""

from collections.abc import Iterable, Iterator
from typing import Final

from baseload.config.deploying import Deploy
from baseload.render.command import image_of
from baseload.render.picture import Engine, slug
from baseload.render.refusing import Complaints

NAME_MAX: Final = 36
"""Of a backend's name: a group's pods bear `engine-NAME-group-NN-HASH` as a label, of 63 signs."""
CONTEXT_MAX: Final = 4096
"""What the gateway's own llama.cpp gives to each call."""
Found = tuple[str, str, str]
"""A field, what is wrong with it, and a hint."""


def see_clusters(deploy: Deploy, engines: Iterable[Engine], complaints: Complaints) -> None:
    """Complain of what no cluster can run."""
    clouds = {cloud.engine for cloud in deploy.clouds.values()}
    names: dict[str, str] = {}
    for engine in engines:
        if engine.name in clouds:
            continue
        at = f"deploy.engines.{engine.name}"
        for field, what, hint in _all(deploy, engine):
            complaints.add(f"{at}.{field}", what, hint)
        other = names.setdefault(slug(engine.name), engine.name)
        if len(engine.name) > NAME_MAX or not engine.name[-1].isalnum():
            what = f"objects are named after it: at most {NAME_MAX} signs, the last no punctuation"
            complaints.add(at, what, "shorten the backend's name")
        elif other != engine.name:
            what = f"its objects would be called as those of `{other}`"
            complaints.add(at, what, "rename one of the backends")


def is_socket(engine: Engine) -> bool:
    """Say whether an engine runs on CPUs: nothing that is put into a bus."""
    return not engine.accelerator.pcie_bytes_s


def _all(deploy: Deploy, engine: Engine) -> Iterator[Found]:
    yield from _engine(deploy, engine)
    yield from _sharing(deploy, engine)
    yield from _scaling(deploy, engine)


def _engine(deploy: Deploy, engine: Engine) -> Iterator[Found]:
    said, accelerator = engine.said, engine.accelerator
    is_own = said.engine == "llama.cpp"
    if is_socket(engine) and not is_own:
        yield "engine", f"{said.engine} is rendered for GPUs alone", "take llama.cpp"
    elif is_own and not is_socket(engine):
        what = "llama.cpp is the gateway's own, which has no GPU support"
        yield "engine", what, "take vllm or sglang, or a CPU of `baseload catalog`"
    elif not is_socket(engine) and accelerator.vendor not in {"NVIDIA", "AMD"}:
        what = f"no device plugin of {accelerator.vendor} is known here"
        yield "accelerator", what, "leave this engine to a deployment of your own"
    elif not image_of(engine, deploy.gateway.image):
        what = f"{said.engine} has no usual image for {accelerator.vendor}"
        yield "image", what, "name one; SGLang has a tag for each version of ROCm and GPU"
    if is_own and said.weights.startswith("s3://") and not said.image:
        yield "weights", "the gateway's image cannot read buckets", "take https:// or name an image"
    if is_own and said.context > CONTEXT_MAX:
        what = f"the gateway's llama.cpp has {CONTEXT_MAX} tokens for a call"
        yield "context", what, f"write `context: {CONTEXT_MAX}` or less"
    if is_own and said.weights.startswith("pvc://") and not said.weights.endswith(".gguf"):
        yield "weights", "llama.cpp takes one file", "give its path: pvc://CLAIM/…/MODEL.gguf"


def _sharing(deploy: Deploy, engine: Engine) -> Iterator[Found]:
    said = engine.said
    if said.sharing == "none":
        return
    if engine.accelerator.vendor != "NVIDIA":
        yield "sharing", "MPS is NVIDIA's", "remove `sharing`"
    elif said.engine != "vllm":
        what = f"{said.engine} measures free memory when it starts, so two would be in each other's"
        yield "sharing", what + " way", "take vllm"
    if said.share < 2:
        yield "share", "one engine shares with nobody", "give how many engines one GPU carries"
        return
    counts = [site.engine_replicas.get(said.name, 0) for site in deploy.sites.values()]
    most = max([engine.replicas_max, *counts])
    if said.sharing == "dra" and most > said.share:
        what = f"a claim is one GPU, which carries {said.share} of {most} replicas"
        yield "sharing", what, "lower the replicas, or share by `mps`"


def _scaling(deploy: Deploy, engine: Engine) -> Iterator[Found]:
    said = engine.said
    if not said.to_zero:
        return
    if said.scale_on != "load":
        what = f"nothing wakes it with `scale_on: {said.scale_on}`"
        yield "to_zero", what, "write `scale_on: load`"
    elif deploy.scaler == "hpa":
        what = "an HPA goes to zero only behind the feature gate HPAScaleToZero"
        yield "to_zero", what, "write `scaler: keda`, or remove `to_zero`"
