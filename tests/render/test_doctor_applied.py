"""The doctor beside an API server: what it mends is taken, and what is rendered is sound to it."""

from pathlib import Path

import yaml

from baseload.doctor import examine
from tests.render.apiserver import serving
from tests.render.kubernetes_tools import MINORS, Kubectl, invalid, read
from tests.render.references import dangling
from tests.render.rendered import FULL, Rendering
from tests.render.rules import refused

ARTICLE = (Path(__file__).parents[1] / "doctor/data/article.yaml").read_text()
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: nvidia-device-plugin}\n"


def test_an_api_server_takes_what_the_doctor_mended(tmp_path: Path):
    """The article's Deployment is refused; mended, it passes every check and is created."""
    fixed = examine(ARTICLE, "deployment.yaml").fixed
    with serving(tmp_path) as server:
        kubectl = Kubectl(server.config)
        kubectl.apply("-f", "-", stdin=NAMESPACE)

        code, _, errors = kubectl("apply", "-f", "-", stdin=ARTICLE)
        assert (1, True) == (code, "does not match" in errors and "nvidia.com/gpu" in errors)
        assert {"created"} == {*kubectl.apply("-f", "-", stdin=fixed).values()}

    objects = read(fixed)
    assert [] == [what for minor in MINORS for what in invalid(objects, minor)]
    assert [] == [what for each in objects for what in refused(each)]
    assert [] == dangling(objects)


def test_what_is_rendered_is_sound(tmp_path: Path):
    """The doctor finds nothing in a rendering that is refused or does harm.

    Scaling on CPU, which a fleet may ask for, is left out: it does.
    """
    rendering = Rendering(tmp_path, FULL | {"      scale_on: cpu\n": ""})
    for site in rendering.sites:
        report = examine(yaml.safe_dump_all(rendering.objects(site)), "rendered.yaml")

        assert set() == {
            f"{each.object}: {each.what}" for each in report.findings
            if each.severity != "advice"
        }  # fmt: skip
