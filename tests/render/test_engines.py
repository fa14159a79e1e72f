"""Engines in clusters: what they are made of, and the rules that all of them keep."""

import tomllib
from copy import deepcopy
from fractions import Fraction

import pytest
from msgspec import structs

from baseload.config.reading import parse_fleet
from baseload.engines.kinds.llamacpp import CONTEXT_TOKENS, SLOTS_MAX
from baseload.plan.transport.loading import WARM_UP_S
from baseload.render import placeable
from baseload.render.kubernetes import engines
from baseload.render.kubernetes.engine import guarding, placing, pods, sharing, socket
from baseload.render.kubernetes.engine.names import About
from baseload.render.kubernetes.objects import params
from tests.render import goldens
from tests.render.engine_objects import (
    DATA,
    FULL,
    OTHERS,
    by_engine,
    each_engine,
    everything,
    files,
    kinds,
    main,
    only,
    settled,
    templates,
)

FLAGS = {
    name: set(flags)
    for name, flags in tomllib.loads((DATA / "engine_flags.toml").read_text()).items()
}


def test_the_full_fleets_engines_are_as_they_were():
    """Every file of the engines' parts is the one that was read in review."""
    goldens.same("engines", files(FULL))


def gpu_faults(template):
    """Say which GPUs the API server would refuse: not whole, or not limited as asked for."""
    resources = main(template)["resources"]
    asked, limited = resources["requests"], resources["limits"]
    found = []
    for name in {*asked, *limited}:
        if name.endswith("/gpu"):
            if asked.get(name) != limited.get(name):
                found.append(f"{name}: {asked.get(name)} under {limited.get(name)}")
            elif Fraction(asked[name]).denominator != 1:
                found.append(f"{name}: {asked[name]} is not whole")
    return found


def test_gpus_are_whole_and_limited_as_they_are_asked_for():
    """The API server takes nothing else; the rule finds a half, and a request under its limit."""
    found = [template for _, objects in each_engine() for template in templates(objects)]

    assert [] == [fault for template in found for fault in gpu_faults(template)]
    for asked, limited in (("0.5", "0.5"), ("1", "2")):
        spoilt = deepcopy(found[0])
        main(spoilt)["resources"]["requests"]["nvidia.com/gpu"] = asked
        main(spoilt)["resources"]["limits"]["nvidia.com/gpu"] = limited
        assert 1 == len(gpu_faults(spoilt))


def test_each_pod_takes_what_was_settled():
    """As many GPUs as the split has in one machine; a claim or a socket takes none by number."""
    taken = {}
    for engine, objects in each_engine():
        for template in templates(objects):
            limits = main(template)["resources"]["limits"]
            taken[engine.name] = {k: v for k, v in limits.items() if k.endswith("/gpu")}

    assert {
        "edge": {"nvidia.com/gpu": "2"}, "small": {"nvidia.com/gpu": "1"},
        "giant": {"nvidia.com/gpu": "8"}, "amd": {"amd.com/gpu": "1"}, "socket": {},
        "claimed": {}, "wide": {"nvidia.com/gpu": "8"}, "spread": {"nvidia.com/gpu": "8"},
        "narrow": {"nvidia.com/gpu": "2"}, "bare": {},
    } == taken  # fmt: skip


def unknown_flags(container):
    """Give flags that the engine does not have."""
    command = container["command"]
    known = FLAGS["vllm"] if command[0] == "vllm" else FLAGS["sglang"]
    return [each for each in command if each.startswith("--") and each.split("=")[0] not in known]


def test_engines_have_the_flags_they_are_started_with():
    """Each flag is one of the engine's own; a slip of the pen would be found."""
    found = [
        main(template) for engine, objects in each_engine() for template in templates(objects)
        if engine.said.engine != "llama.cpp"
    ]  # fmt: skip

    assert 10 == len(found)
    assert [] == [flag for container in found for flag in unknown_flags(container)]
    found[0] = {"command": [*found[0]["command"], "--max-num-seq=1"]}
    assert ["--max-num-seq=1"] == unknown_flags(found[0])


def test_a_pod_has_more_time_to_end_than_its_longest_answer():
    """Leaving the Service, the longest answer and the exit fit in the grace period, in this order."""
    for engine, objects in each_engine():
        for template in templates(objects):
            spec, container = template["spec"], main(template)
            before = container["lifecycle"]["preStop"].get("sleep", {}).get("seconds", 0)
            assert before + engine.answer_max_s < spec["terminationGracePeriodSeconds"]
            drains = [each for each in container["command"] if each.startswith("--shutdown")]
            assert drains in ([], [f"--shutdown-timeout={engine.answer_max_s:.0f}"])


def test_start_up_is_waited_for_longer_than_loading_takes():
    """Probes do not kill an engine that loads, and a rollout is not stuck before they would."""
    for engine, objects in each_engine():
        probe = main(templates(objects)[0])["startupProbe"]
        waits_s = probe["failureThreshold"] * probe["periodSeconds"]
        assert waits_s > 2 * (engine.load_s + WARM_UP_S)
        if "Deployment" in kinds(objects):
            spec = only(objects, "Deployment")["spec"]
            assert (
                spec["progressDeadlineSeconds"] > engine.machine_s + engine.start_s[1] + waits_s - 1
            )


def test_only_who_serves_is_asked_for_its_health():
    """A group's other machines have no server, so no probe and no place in the Service."""
    leader, worker = templates(by_engine(FULL)["giant"])
    service = only(by_engine(FULL)["giant"], "Service")["spec"]

    assert "readinessProbe" in main(leader)
    assert {"startupProbe", "readinessProbe", "livenessProbe", "ports"}.isdisjoint(main(worker))
    assert "0" == service["selector"]["leaderworkerset.sigs.k8s.io/worker-index"]
    assert only(by_engine(FULL)["giant"], "LeaderWorkerSet")["metadata"]["name"] != "engine-giant"


def test_several_machines_are_one_engine():
    """Machines of vLLM and SGLang find the first one, each under its own rank."""
    wide = [main(each)["command"] for each in templates(by_engine(OTHERS)["wide"])]
    giant = [main(each)["command"] for each in templates(by_engine(FULL)["giant"])]

    assert {"--nnodes=2", "--node-rank=0", "--master-addr=$(LWS_LEADER_ADDRESS)"} <= {*wide[0]}
    assert {"--headless", "--node-rank=$(LWS_WORKER_INDEX)"} == {*wide[1]} - {*wide[0]}
    assert {"--dist-init-addr=$(LWS_LEADER_ADDRESS):20000", "--node-rank=0"} <= {*giant[0]}
    assert {"--node-rank=$(LWS_WORKER_INDEX)"} == {*giant[1]} - {*giant[0]}


def test_copies_of_attention_are_counted_as_the_engine_counts_them():
    """SGLang's tensor parallel size has the copies in it."""
    command = main(templates(by_engine(OTHERS)["spread"])[0])["command"]

    assert {
        "--tp-size=8", "--dp-size=8", "--ep-size=8", "--enable-dp-attention",
    } <= {*command}  # fmt: skip


def test_precision_is_asked_for_where_weights_are_not_in_it():
    """FP8 is made of BF16 weights at their loading, and left alone where they come so."""
    narrow = main(templates(by_engine(OTHERS)["narrow"])[0])["command"]
    wide = main(templates(by_engine(OTHERS)["wide"])[0])["command"]

    assert "--quantization=fp8" in narrow
    assert [] == [each for each in wide if each.startswith(("--quantization", "--dtype"))]


def test_keys_are_taken_from_the_secret():
    """An engine asks for the key that the gateway shows, and no object holds it."""
    vllm = main(templates(by_engine(OTHERS)["claimed"])[0])
    sglang = main(templates(by_engine(OTHERS)["spread"])[0])
    source = {"secretKeyRef": {"name": "baseload-env", "key": "CLAIMED_KEY"}}

    assert {"name": "VLLM_API_KEY", "valueFrom": source} in vllm["env"]
    assert "--api-key=$(ENGINE_API_KEY)" in sglang["command"]
    assert "ENGINE_API_KEY" in [each["name"] for each in sglang["env"]]


def test_sharers_of_a_gpu_fit_on_it_together():
    """Engines on one GPU take no more than all of it, each with a cache of a stated size."""
    sharers = [(engine, made) for engine, made in each_engine() if engine.said.sharing != "none"]

    assert ["mps", "dra"] == [engine.said.sharing for engine, _ in sharers]
    for engine, objects in sharers:
        command = main(templates(objects)[0])["command"]
        flags = dict(each.split("=") for each in command if "=" in each)
        assert float(flags["--gpu-memory-utilization"]) * engine.said.share <= 0.9
        room = engine.room
        needed = room.weights_bytes + room.activations_bytes + room.reserve_bytes
        cache = int(flags["--kv-cache-memory-bytes"])
        assert (needed + cache) * engine.said.share <= engine.accelerator.memory_bytes


def test_mps_nodes_are_those_that_share_so():
    """Pods go to nodes whose device plugin cuts GPUs into as many parts, whole ones elsewhere."""
    spec = templates(by_engine(FULL)["small"])[0]["spec"]

    assert {
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-SHARED",
        "nvidia.com/device-plugin.config": "mps-2",
    } == spec["nodeSelector"]
    assert "hostIPC" not in spec
    for path, name in ((FULL, "small"), (OTHERS, "claimed"), (FULL, "edge")):
        mounts = [
            each["mountPath"] for each in main(templates(by_engine(path)[name])[0])["volumeMounts"]
        ]
        assert (name == "edge") == ("/dev/shm" in mounts)  # sharers have that of their MPS server
    assert (2,) == sharing.mps_shares(settled(FULL))
    assert () == sharing.mps_shares(settled(OTHERS))


def test_a_claim_is_one_gpu_for_all_pods_of_an_engine():
    """Pods name one claim; a template would give each its own GPU, and share nothing."""
    objects = by_engine(OTHERS)["claimed"]
    claim, spec = only(objects, "ResourceClaim"), templates(objects)[0]["spec"]
    (config,) = claim["spec"]["devices"]["config"]
    mps = config["opaque"]["parameters"]["sharing"]["mpsConfig"]

    assert [{"name": "gpu", "resourceClaimName": "engine-claimed-gpu"}] == spec["resourceClaims"]
    assert [{"name": "gpu"}] == main(templates(objects)[0])["resources"]["claims"]
    assert {
        "defaultActiveThreadPercentage": 50, "defaultPinnedDeviceMemoryLimit": "40779Mi",
    } == mps  # fmt: skip
    assert 2 * 40779 * 1024**2 <= settled(OTHERS).engines[0].accelerator.memory_bytes


def test_catalogue_names_are_drivers_names():
    """Every GPU that is looked for by its product is one of the catalogue; labels of one's own win."""
    assert placing.PRODUCTS.keys() | placing.AMD_PRODUCTS.keys() <= (
        settled(FULL).catalogue.accelerators.keys()
    )
    assert {"pool": "l40s"} == templates(by_engine(OTHERS)["narrow"])[0]["spec"]["nodeSelector"]


def test_weights_lie_where_the_file_says():
    """A volume of the class for each pod, claims that a group keeps, the node's disk, or a claim."""

    def source(path, name):
        spec = templates(by_engine(path)[name])[0]["spec"]
        return next(
            (set(each) - {"name"} for each in spec["volumes"] if each["name"] == "weights"), None
        )

    group = only(by_engine(FULL)["giant"], "LeaderWorkerSet")["spec"]["leaderWorkerTemplate"]

    assert {"ephemeral"} == source(FULL, "edge")
    assert {"emptyDir"} == source(FULL, "small")
    assert {"persistentVolumeClaim"} == source(FULL, "amd")
    assert source(FULL, "giant") is None
    assert ["weights"] == [each["metadata"]["name"] for each in group["volumeClaimTemplates"]]
    assert (
        "ephemeral-storage" in main(templates(by_engine(FULL)["small"])[0])["resources"]["requests"]
    )
    assert "initContainers" not in templates(by_engine(FULL)["amd"])[0]["spec"]
    (mount,) = [
        each for each in main(templates(by_engine(OTHERS)["bare"])[0])["volumeMounts"]
        if each["name"] == "weights"
    ]  # fmt: skip
    assert ("r1", True) == (mount["subPath"], mount["readOnly"])


def test_disks_hold_the_weights():
    """Wherever weights are staged there is room for them, and for what else a repository has."""
    for part in engines.parts(settled(FULL)):
        sizes = {
            each.value for sheet in part.sheets for made in sheet.objects
            for _, each in params(made) if each.path[-1] == "disk"
        }  # fmt: skip
        engine = next(e for e in settled(FULL).engines if part.name == f"engine-{e.slug}")
        for size in sizes:
            assert int(size.removesuffix("Gi")) * 1024**3 >= 1.3 * engine.weights_bytes


def test_only_the_gateway_and_monitoring_reach_an_engine():
    """Port 8000 is theirs; out go names and, where weights are fetched, https; groups talk inside."""
    staged = only(by_engine(FULL)["edge"], "NetworkPolicy")["spec"]
    mounted = only(by_engine(FULL)["amd"], "NetworkPolicy")["spec"]
    group = only(by_engine(FULL)["giant"], "NetworkPolicy")["spec"]
    (way,) = staged["ingress"]

    assert [{"port": 8000, "protocol": "TCP"}] == way["ports"]
    assert ["podSelector", "namespaceSelector"] == [next(iter(each)) for each in way["from"]]
    assert [53, 53, 443] == [p["port"] for rule in staged["egress"] for p in rule["ports"]]
    assert ["ports"] == list(staged["egress"][0])  # whatever answers names, a node's cache too
    assert [53, 53] == [p["port"] for rule in mounted["egress"] for p in rule["ports"]]
    inside = [{"podSelector": {"matchLabels": group["podSelector"]["matchLabels"]}}]
    assert ({"from": inside}, {"to": inside}) == (group["ingress"][-1], group["egress"][-1])


def test_no_pod_has_rights_that_it_does_not_need():
    """No token, no capability, no privilege to gain; the gateway's own image is no root, either."""
    for engine, objects in each_engine():
        for template in templates(objects):
            spec = template["spec"]
            assert spec["automountServiceAccountToken"] is False
            assert "RuntimeDefault" == spec["securityContext"]["seccompProfile"]["type"]
            for each in [*spec["containers"], *spec.get("initContainers", [])]:
                security = each["securityContext"]
                assert ["ALL"] == security["capabilities"]["drop"]
                assert security["allowPrivilegeEscalation"] is False
                is_own = engine.said.engine == "llama.cpp"
                assert is_own == security.get("readOnlyRootFilesystem", False)
                assert is_own == spec["securityContext"].get("runAsNonRoot", False)


def test_selectors_select_the_pods():
    """What a workload, a Service, a budget, a policy and a monitor select are the engine's pods."""
    for _, objects in each_engine():
        given = templates(objects)[0]["metadata"]["labels"]
        for each in objects:
            spec = each.get("spec", {})
            found = spec.get("podSelector") or spec.get("selector") or {}
            wanted = found.get("matchLabels", found)
            own = {k: v for k, v in wanted.items() if not k.startswith("leaderworkerset.sigs")}
            assert own.items() <= given.items(), each["kind"]
        assert "app.kubernetes.io/version" not in given


def test_llama_cpp_serves_from_a_fleet_file_that_is_read(tmp_path):
    """Its file has no mistake, asks for the slots that there are, and drains the longest answer."""
    config = next(e for e in by_engine(FULL)["socket"] if e["metadata"]["name"].endswith("-fleet"))
    text = config["data"][socket.FILE]
    staged = tmp_path / "model.gguf"
    staged.touch()
    fleet = parse_fleet(text.replace("/models/socket/model.gguf", str(staged)), "file", {})

    assert (SLOTS_MAX, CONTEXT_TOKENS) == (placing.SLOTS_MAX, placing.SLOT_TOKENS)
    assert CONTEXT_TOKENS == placeable.CONTEXT_MAX
    assert str(staged) == fleet.backends["local"].model
    assert SLOTS_MAX == fleet.backends["local"].concurrency
    assert ("0.0.0.0:8000", 600.0, ["r1-7b"]) == (fleet.listen, fleet.drain_s, [*fleet.models])


def test_another_fleet_file_replaces_llama_cpps_pods():
    """It is read once, at the start: a name that is served from now on is a new pod's."""
    made = settled(FULL)
    engine = next(each for each in made.engines if each.name == "socket")
    digests = {
        str(pods.template(About(made, each))["metadata"]["annotations"])
        for each in (engine, structs.replace(engine, served=("r1-7b", "r1-new")))
    }

    assert 2 == len(digests)


@pytest.mark.parametrize(
    ("weights", "port"),
    [("https://weights.lan:8443/r1/", 8443), ("https://weights.lan/r1/", 443), ("hf://a/b", 443)],
)
def test_weights_are_let_in_from_their_sources_port(weights, port):
    """A server of weights listens where its URL says."""
    made = settled(FULL)
    engine = next(each for each in made.engines if each.name == "edge")
    there = structs.replace(engine, said=structs.replace(engine.said, weights=weights))
    (way,) = guarding.policy(About(made, there))["spec"]["egress"][1:]

    assert [port] == [each["port"] for each in way["ports"]]


def test_a_groups_pods_have_labels_that_are_not_too_long():
    """A StatefulSet's pods bear its name and ten signs more; a group's has an index in it."""
    made = settled(FULL)
    engine = next(each for each in made.engines if each.name == "giant")
    longest = About(made, structs.replace(engine, name="g" * placeable.NAME_MAX))

    assert 63 == len(f"{longest.workload['name']}-99-0123456789")


def test_sites_may_set_replicas_and_disks():
    """What a site says differently is a value of its own, and an engine can be switched off."""
    paths = {
        name: {each.path for sheet in part.sheets for made in sheet.objects for _, each in params(made)}
        for part in engines.parts(settled(FULL))
        for name in [part.name]
    }  # fmt: skip

    assert ("engines", "small", "replicas") in paths["engine-small"]
    assert {
        ("engines", "edge", name) for name in ("replicas", "replicas_max", "storage_class", "image")
    } <= paths["engine-edge"]
    assert [("engines", "edge", "enabled")] == [
        part.switch.path for part in engines.parts(settled(FULL))[:1]
    ]


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_no_secret_is_rendered(kind):
    """Secrets are named; none is made, and no ConfigMap holds a reference in their place."""
    found = [str(each) for each in everything() if each["kind"] == kind]

    assert (kind == "ConfigMap") == bool(found)
    assert [] == [text for text in found if "_KEY}" in text]
