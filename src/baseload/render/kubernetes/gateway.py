"""Which objects does the gateway take in a cluster?

Not here: what is in the larger ones (`pod`, `network`, `scaling`, `exposing`), what is watched
(`watching`), what a cluster has once (`cluster`).
"""

from baseload.render.kubernetes import config, exposing, network, pod, scaling
from baseload.render.kubernetes.identity import metadata
from baseload.render.kubernetes.objects import Object, Part, Sheet
from baseload.render.picture import Picture

ALONE = """\
Each gateway has a ledger of its own (SQLite), which goes with its pod: budgets, keys made by
`baseload keys create`, batches and usage are not shared and not kept. For several replicas, set
`store.ledger: postgresql://...` and `store.counters: redis://...` in the fleet file."""


def part(picture: Picture) -> Part:
    """Give the gateway's objects."""
    alone = ALONE if config.is_alone(picture.fleet) else ""
    return Part(
        name="gateway",
        sheets=(
            Sheet(
                file="deployment.yaml", objects=(pod.deployment(picture),),
                about=(
                    "No `replicas` here: the scaler's number would be undone at every apply.\n"
                    "A pod that goes stays in service for some seconds, then finishes its answers."
                ),
            ),
            Sheet(file="configmap.yaml", objects=(_config(picture),), about=alone),
            Sheet(file="service.yaml", objects=(network.service(picture),)),
            Sheet(file="serviceaccount.yaml", objects=(_account(picture),)),
            Sheet(
                file="networkpolicy.yaml",
                objects=(network.policy(picture), network.outside(picture)),
                about="Ports are those of pods: mind Services that map theirs to others.",
            ),
            Sheet(file="poddisruptionbudget.yaml", objects=(network.budget(picture),)),
            Sheet(
                file="scaling.yaml", objects=(scaling.scaler(picture),),
                about="Added at once, taken away slowly: each that goes finishes its answers.",
            ),
            *exposing.sheets(picture),
        ),
    )  # fmt: skip


def _config(picture: Picture) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(picture),
        "data": {"baseload.yaml": pod.configuration(picture)},
    }


def _account(picture: Picture) -> Object:
    """Give the ServiceAccount: a name without rights, whose token is not even there."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(picture),
        "automountServiceAccountToken": False,
    }
