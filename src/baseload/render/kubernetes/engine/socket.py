"""How does llama.cpp serve from a pool of CPUs?

In the gateway's own image: a gateway with one backend, which it starts and watches itself, and a
fleet file in a ConfigMap. Its operator's port stays on loopback, so probes ask from inside. It
serves whoever reaches it, and the NetworkPolicy lets only the gateway do so.

Its context is what the gateway gives to every slot; `render.settling` refuses more.
"""

from typing import Final

import yaml

from baseload.config.references import variables_in
from baseload.render.kubernetes.engine.names import About
from baseload.render.kubernetes.engine.placing import slots
from baseload.render.kubernetes.engine.volumes import claimed
from baseload.render.kubernetes.objects import Object
from baseload.render.picture import PORT, whole_s

FILE: Final = "baseload.yaml"
FOLDER: Final = "/etc/baseload"
STATE: Final = "/state"
ADMIN: Final = "127.0.0.1:9090"


def model_file(about: About) -> str:
    """Give the path of the model's file."""
    if (found := claimed(about)) is not None:
        return f"{about.folder}/{found[1].rpartition('/')[2]}"
    return f"{about.folder}/model.gguf"


def fleet_file(about: About) -> str:
    """Give the text of the fleet file."""
    engine = about.engine
    target = {"local": {"model": engine.served[0]}}
    fleet = {
        "listen": f"0.0.0.0:{PORT}",
        "admin": ADMIN,
        "open_to_all": True,
        "drain_s": whole_s(engine.answer_max_s),
        "state_dir": STATE,
        "store": {"ledger": f"sqlite:///{STATE}/ledger.db", "keep_days": 1},
        "backends": {
            "local": {
                "engine": "llama.cpp", "model": model_file(about), "concurrency": slots(about),
            },
        },
        "models": {
            name: {
                "tiers": [target],
                "total_s": whole_s(engine.answer_max_s),
                "first_token_s": whole_s(engine.answer_max_s),
            }
            for name in engine.served
        },
    }  # fmt: skip
    text: str = yaml.safe_dump(fleet, sort_keys=False)
    return text.replace("${", "$${") if variables_in(text) else text


def config(about: About) -> Object | None:
    """Give the ConfigMap of the fleet file; None for other engines."""
    if about.engine.said.engine != "llama.cpp":
        return None
    return about.object("v1", "ConfigMap", f"{about.name}-fleet", data={FILE: fleet_file(about)})


def command() -> tuple[str, ...]:
    """Give the command that serves."""
    return ("baseload", "up", "--config", f"{FOLDER}/{FILE}")


def probe(path: str) -> Object:
    """Give how health is asked from inside the pod."""
    asking = f"import urllib.request as r; r.urlopen('http://{ADMIN}/{path}', timeout=5)"
    return {"exec": {"command": ["python3", "-c", asking]}}


def volumes(about: About) -> list[Object]:
    """Give what it mounts beside its weights: its file, and a place to write."""
    return [
        {"name": "fleet", "configMap": {"name": f"{about.name}-fleet"}},
        {"name": "state", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
    ]


def mounts() -> list[Object]:
    """Give where."""
    return [
        {"name": "fleet", "mountPath": FOLDER, "readOnly": True},
        {"name": "state", "mountPath": STATE},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
    ]
