"""How do weights come to a pod before its engine starts?

An init container runs `render/stage.py`, in the engine's own image: it has Python, and is on the
node anyway. Its text is in a ConfigMap. It has the CPU and memory of a download and no GPU of its
own.

Not here: what the script does (`render.stage`), where weights lie (`volumes`).
"""

from importlib import resources
from typing import Final

from baseload.render.kubernetes.engine.names import WEIGHTS, About
from baseload.render.kubernetes.engine.volumes import claimed
from baseload.render.kubernetes.objects import Object, Param

SCRIPT: Final = "stage.py"
FOLDER: Final = "/staging"


def script() -> str:
    """Give the script's text."""
    return (resources.files("baseload.render") / SCRIPT).read_text("utf-8")


def config(about: About) -> Object | None:
    """Give the ConfigMap of the script; None where nothing is staged."""
    if claimed(about) is not None:
        return None
    return about.object("v1", "ConfigMap", f"{about.name}-staging", data={SCRIPT: script()})


def volume(about: About) -> Object:
    """Give the script as a volume."""
    return {"name": "staging", "configMap": {"name": f"{about.name}-staging"}}


def container(about: About, image: Param, security: Object) -> Object | None:
    """Give the init container; None where nothing is staged."""
    if claimed(about) is not None:
        return None
    arguments = [about.engine.said.weights, about.folder]
    if about.engine.said.engine == "llama.cpp":
        arguments.append("--gguf")
    return {
        "name": "staging",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", f"{FOLDER}/{SCRIPT}", *arguments],
        **({"env": tokens} if (tokens := _tokens(about)) else {}),
        "resources": {
            "requests": {"cpu": "2", "memory": "1Gi"},
            "limits": {"memory": "2Gi"},
        },
        "securityContext": security,
        "volumeMounts": [
            {"name": "weights", "mountPath": WEIGHTS},
            {"name": "staging", "mountPath": FOLDER, "readOnly": True},
        ],
    }


def _tokens(about: About) -> list[Object]:
    """Give what sources ask for, from the Secret if it is there.

    A cloud's role for the ServiceAccount also does; one of the node's is out of a pod's reach.
    """
    names = {
        "hf": ("HF_TOKEN",),
        "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"),
    }.get(about.engine.said.weights.partition("://")[0], ())
    return [
        {
            "name": name,
            "valueFrom": {
                "secretKeyRef": {"name": about.secret, "key": name, "optional": True},
            },
        }
        for name in names
    ]
