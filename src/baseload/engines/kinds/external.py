"""How is an engine used that somebody else starts? It is watched, warmed, and left alone."""

from baseload.config.fleet import Backend
from baseload.engines.kinds.launch import Kind, Launch, Order, Reason, Size


def slots_of(backend: Backend) -> int:
    """Calls at once that the file says; 0: nobody said."""
    said = backend.serve.slots or backend.concurrency
    return said or (backend.batch.max if backend.batch else 0)


def launch(order: Order) -> Launch:
    """Say what is used of it: nothing is started."""
    serve = order.backend.serve
    return Launch(
        kind="external",
        served_model=order.backend.model or "",
        size=Size(slots=slots_of(order.backend), context=serve.context or 0),
        reasons=(Reason(what=order.backend.url or "", why="not started here; watched and warmed"),),
    )


EXTERNAL = Kind(name="external", launch=launch, slots=slots_of, needs_gpu=False, ready_max_s=300.0)
