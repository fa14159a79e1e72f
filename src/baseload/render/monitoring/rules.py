"""Which rules does Prometheus get? None yet."""

from typing import Any

from baseload.render.picture import Picture


def groups(_picture: Picture) -> list[dict[str, Any]]:
    """Give groups of rules."""
    return []
