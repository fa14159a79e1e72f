"""Which kinds of engines are there, and how is one of them started for a model on this machine?"""

from baseload.config.fleet import Backend
from baseload.engines.kinds.external import EXTERNAL
from baseload.engines.kinds.launch import Kind
from baseload.engines.kinds.llamacpp import LLAMACPP
from baseload.engines.kinds.sglang import SGLANG
from baseload.engines.kinds.vllm import VLLM
from baseload.errors import EngineError

KINDS = {kind.name: kind for kind in (LLAMACPP, VLLM, SGLANG, EXTERNAL)}


def kind_of(backend: Backend) -> Kind:
    """Give the kind of a backend's engine; raises EngineError if it has none or no model."""
    if backend.engine is None:
        raise EngineError(f"backends.{backend.name}: has no `engine`")
    if backend.model is None:
        raise EngineError(f"backends.{backend.name}: an engine needs a `model`")
    return KINDS[backend.engine]
