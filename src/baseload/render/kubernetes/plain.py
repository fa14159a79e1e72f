"""What are objects once every `Param` in them stands for its value?

Not here: how they are written (`render.text`), which files there are (`kustomize`, `chart`).
"""

from baseload.render.kubernetes.objects import Object, mapped
from baseload.render.text import dump


def settled(value: Object) -> Object:
    """Give an object with every `Param` as what stands there."""
    found = mapped(value, lambda param: param.standing(param.value))
    assert isinstance(found, dict)
    return found


def documents(objects: tuple[Object, ...]) -> str:
    """Give objects as the documents of one file."""
    return "---\n".join(dump(each) for each in objects)
