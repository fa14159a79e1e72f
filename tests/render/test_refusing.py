"""What cannot be rendered is refused with its line and the reason, all of it at once."""

import pytest

from baseload.errors import FleetFileError
from tests.render.pictures import FULL, picture

TEXT = FULL.read_text()


def complaints(tmp_path, *changes):
    """Give what is said of the full fleet with parts of its text changed."""
    text = TEXT
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    path = tmp_path / "baseload.yaml"
    path.write_text(text)
    with pytest.raises(FleetFileError) as refused:
        picture(path)
    return [
        (text.splitlines()[mistake.line - 1].strip(), mistake.path, mistake.what)
        for mistake in refused.value.mistakes
    ]


@pytest.mark.parametrize(
    ("old", "new", "path", "what"),
    [
        ("accelerator: h100", "accelerator: l4", "deploy.engines.edge.accelerator", "does not fit 2xl4"),
        ("accelerator: mi300x", "accelerator: mi300", "deploy.engines.amd.accelerator", "no accelerator is called `mi300`"),
        ("share: 2\n", "share: 8\n", "deploy.engines.small.accelerator", "of which each of 8 has its part"),
        ("model: deepseek-r1\n", "model: deepseek-r9\n", "deploy.engines.giant.model", "no model is known as `deepseek-r9`"),
        ("precision: int4", "precision: fp8", "deploy.engines.socket.accelerator", "cannot calculate with fp8"),
        ("h100: 32", "h100: 4", "deploy.sites.home.quota.h100", "may take 25 of 4 h100"),
        ("replicas_max: 6", "replicas_max: 9", "deploy.clouds.aws.replicas_max", "9 machines at most, and the quota is 8"),
        ("region: us-east-1", "region: us-esat-1", "deploy.clouds.aws.region", "no region `us-esat-1`"),
        ("standby_region: us-west-2", "standby_region: us-east-1", "deploy.clouds.aws.standby_region", "the same as `region`"),
        ("instance: p5.48xlarge", "instance: p4d.24xlarge", "deploy.clouds.aws.instance", "has a100-40, and the engine `aws` wants h100"),
        ("instance: p5.48xlarge", "instance: p5.4xlarge", "deploy.clouds.aws.instance", "has 1 accelerators of 8"),
        ("instance: p5.48xlarge", "instance: Standard_NC4as_T4_v3", "deploy.clouds.aws.instance", "aws rents no"),
        ('"${DEEPSEEK_API_KEY}"', "sk-0123456789", "backends.deepseek.api_key", "a secret in clear text"),
        ("${PG_PASSWORD}", "hunter2", "store.ledger", "a secret in clear text"),
        ('"${SLACK_URL}"', "https://hooks.example.com/T0/B0", "deploy.monitoring.ticket.to", "a secret in clear text"),
        ("    edge:\n      model:", "    egde:\n      model:", "deploy.engines.egde", "no such backend"),
        ("engines: [small, socket]", "engines: [small, sokcet]", "deploy.sites.branch.engines[1]", "no such engine"),
    ],
)  # fmt: skip
def test_each_reason_has_its_line(tmp_path, old, new, path, what):
    """A fleet that cannot be rendered is refused at the line that says so, with the reason."""
    line, at, why = complaints(tmp_path, (old, new))[0]

    assert path == at
    assert what in why
    assert path.rpartition(".")[2].partition("[")[0] in line or new.strip() in line


def test_a_secret_is_not_repeated(tmp_path):
    """What was found in clear text stands in no mistake."""
    said = complaints(tmp_path, ("${PG_PASSWORD}", "hunter2"))

    assert "hunter2" not in str([mistake[1:] for mistake in said])


def test_everything_is_said_at_once(tmp_path):
    """Mistakes of engines, sites and clouds come together, in the file's order."""
    said = complaints(
        tmp_path,
        ("accelerator: mi300x", "accelerator: mi300"),
        ("region: eastus", "region: westeros"),
        ("accelerator: h100", "accelerator: l4"),
    )

    assert [
        "deploy.engines.edge.accelerator",
        "deploy.engines.amd.accelerator",
        "deploy.clouds.azure.region",
    ] == [path for _, path, _ in said]


def test_a_default_is_settled_and_a_secret_default_refused(tmp_path):
    """A variable's default is what is rendered; one of a secret is a secret in clear text."""
    path = tmp_path / "baseload.yaml"
    path.write_text(TEXT.replace("llm.example.com", '"${HOST:-ai.example.com}"', 1))

    assert ("ai.example.com",) == picture(path).deploy.gateway.hosts
    said = complaints(tmp_path, ('"${DEEPSEEK_API_KEY}"', '"${DEEPSEEK_API_KEY:-sk-1}"'))
    assert ["backends.deepseek.api_key"] == [path for _, path, _ in said]


def test_variables_stay_variables():
    """Secrets are rendered as references, and their names are known."""
    found = picture()

    assert "${DEEPSEEK_API_KEY}" == found.fleet.backends["deepseek"].api_key
    assert {"DEEPSEEK_API_KEY", "PG_PASSWORD", "PAGERDUTY_KEY"} <= set(found.variables)
