"""The fleet file that the gateway reads in a cluster."""

import pytest

from baseload.config import rules
from baseload.config.reading import parse_fleet
from baseload.config.references import References
from baseload.errors import FleetFileError
from baseload.render.kubernetes import config, gateway, output, pod
from baseload.render.kubernetes.engine.timing import cold_start_s
from baseload.render.picture import whole_s
from tests.render import kubernetes_pictures as k8s
from tests.render.pictures import picture


def test_the_gateway_reads_its_file_as_it_was_meant():
    """What is written for the cluster is read as the fleet it was written from."""
    made = picture()
    text = config.text(made)

    assert config.in_cluster(made) == parse_fleet(text, "baseload.yaml", References(text))


def test_strange_words_are_read_as_they_were_meant(tmp_path, monkeypatch):
    """Numbers in quotes, braces and `$${` come through; a variable with a default is settled."""
    monkeypatch.setattr(rules, "_file", lambda at, mistakes: None)  # their files are a pod's
    made = k8s.strange(tmp_path)
    text = config.text(made)
    env = {name: f"<{name}, 16 signs or more>".replace(" ", "_") for name in made.variables}
    found = parse_fleet(text, "baseload.yaml", env | {config.ADMIN_TOKEN: "x" * 16})

    assert config.in_cluster(made) == parse_fleet(text, "baseload.yaml", References(text))
    account = "a ${b} {{ c }} <DEEPSEEK_API_KEY,_16_signs_or_more> %s d"
    assert account == found.backends["1e3"].account
    assert {"on": "{{ .Values.y }}", "~": "1_0"} == found.keys[0].labels
    assert ("y", "0o7") == tuple(one.model for one in found.models["m"].tiers[0].values())


def test_a_variable_that_the_pod_does_not_set_would_be_found():
    """The file is read with the real rules: without one of its variables it has a mistake."""
    text = config.text(picture())
    env = dict.fromkeys(config.variables(picture()), "x" * 16)
    parse_fleet(text, "baseload.yaml", env)
    del env["PG_PASSWORD"]

    with pytest.raises(FleetFileError, match="PG_PASSWORD is not set"):
        parse_fleet(text, "baseload.yaml", env)


def test_addresses_and_folders_are_those_of_a_pod(tmp_path):
    """It listens for others, writes to its volume, and asks engines at their Services."""
    fleet = config.in_cluster(picture())
    strange = config.in_cluster(k8s.strange(tmp_path))

    assert ("0.0.0.0:8080", "0.0.0.0:9090") == (fleet.listen, fleet.admin)
    assert "/var/lib/baseload" == fleet.state_dir
    assert "http://engine-edge:8000/v1" == fleet.backends["edge"].url
    assert "https://engine.aws.example.com/v1" == fleet.backends["aws"].url
    assert fleet.deploy is None
    assert "sqlite:////var/lib/baseload/baseload.db" == strange.store.ledger
    assert "/etc/baseload-tls/tls.crt" == strange.tls.cert
    assert "/etc/baseload-ca/deepseek.pem" == strange.backends["deepseek"].ca
    assert "${BASELOAD_ADMIN_TOKEN}" == strange.admin_token


def test_a_pod_that_goes_finishes_the_longest_answer():
    """It drains for as long as an answer may take, and is not killed before that."""
    made = picture()
    spec = k8s.objects(gateway.part(made))["Deployment"]["spec"]["template"]["spec"]
    pause_s = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert 1800 == made.answer_max_s == config.in_cluster(made).drain_s
    assert spec["terminationGracePeriodSeconds"] == pod.grace_s(made) > 1800 + pause_s


def test_every_variable_comes_from_the_secret_and_no_secret_is_rendered():
    """The pod has exactly the file's variables, by reference; no Secret is among the objects."""
    made = picture()
    (container,) = k8s.objects(gateway.part(made))["Deployment"]["spec"]["template"]["spec"][
        "containers"
    ]
    env = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in container["env"]}

    assert {name: {"name": "baseload-env", "key": name} for name in env} == env
    assert {
        "DEEPSEEK_API_KEY", "AWS_ENGINE_KEY", "AZURE_ENGINE_KEY", "TENCENT_ENGINE_KEY",
        "PG_PASSWORD", "BASELOAD_ADMIN_TOKEN",
    } == env.keys()  # fmt: skip
    assert "Secret" not in k8s.objects(output.build(made))


def test_a_change_of_the_file_replaces_the_pods(tmp_path):
    """The pods carry the file's digest, which is another one for another file."""

    def digest(text: str) -> str:
        found = k8s.objects(gateway.part(k8s.of(text, tmp_path)))["Deployment"]
        return found["spec"]["template"]["metadata"]["annotations"]["baseload.dev/config"]

    same = digest(k8s.FILE + k8s.OPEN)

    assert same == digest("# a comment\n" + k8s.FILE + k8s.OPEN)
    assert same != digest(k8s.FILE + k8s.OPEN + "queue: {size: 7}\n")


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ("", ["keys"]),
        (k8s.OPEN, []),
        ("store: {ledger: postgresql://db/baseload}\n", []),
        (k8s.OPEN + "deploy: {gateway: {expose: ingress}}\n", ["deploy.gateway.hosts"]),
        (k8s.OPEN + "deploy: {gateway: {expose: gateway}}\n", []),
    ],
)
def test_what_would_not_work_is_refused(more, wrong, tmp_path):
    """Gateways that could not start for want of keys, and an Ingress that would take everything."""
    made = k8s.of(k8s.FILE + more, tmp_path)
    try:
        output.render(made)
        found = []
    except FleetFileError as error:
        found = [one.path for one in error.mistakes]

    assert wrong == found


def test_calls_are_held_for_an_engine_at_zero():
    """A backend whose engine may be at zero is given the time of a cold start; others are not."""
    backends = config.in_cluster(picture()).backends
    edge = next(engine for engine in picture().engines if engine.name == "edge")

    assert whole_s(cold_start_s(edge)) == backends["edge"].cold_start_s > edge.machine_s
    assert {"edge"} == {name for name, each in backends.items() if each.cold_start_s}
