"""Which objects do the engines take? None yet."""

from baseload.render.kubernetes.objects import Part
from baseload.render.picture import Picture


def parts(_picture: Picture) -> tuple[Part, ...]:
    """Give a part for each engine."""
    return ()
