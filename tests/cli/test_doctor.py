"""`baseload doctor`, as a person and as a pipeline see it."""

import msgspec
import pytest
from typer.testing import CliRunner

from baseload.cli.doctor import doctor
from tests.doctor.mistakes import DATA

ARTICLE = (DATA / "article.yaml").read_text()


def run(*args, stdin=None, **env):
    """Run the verb."""
    return CliRunner().invoke(doctor, args, input=stdin, env={"COLUMNS": "100", **env})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Stand in a folder with the manifest."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deployment.yaml").write_text(ARTICLE)
    return tmp_path


def test_findings_and_the_corrected_file(folder):
    """Findings are lines in the file's order, exit 1; the corrected file has none, exit 0."""
    result = run("deployment.yaml", "--fix", "fixed.yaml")
    lines = result.stdout.splitlines()

    assert 1 == result.exit_code
    assert (
        "deployment.yaml:20:29: refused: Deployment/deepseek-model "
        'spec.template.spec.containers[0].resources.requests["nvidia.com/gpu"]: `0.5` of '
        "nvidia.com/gpu cannot be had: devices are counted in whole numbers (share a GPU through "
        "MPS: the device plugin advertises it several times, and each pod asks for 1) "
        "[device-fraction]"
    ) in lines
    assert [
        "deployment.yaml: 1 object, 3 refused, 8 harmful, 3 advice: not sound",
        "fixed.yaml: 11 mended, none is left",
    ] == lines[-2:]
    assert [*range(14)] == sorted(range(14), key=lambda n: int(lines[n].split(":")[1]))

    again = run("fixed.yaml")
    assert 0 == again.exit_code
    assert (
        "fixed.yaml: 3 objects, 0 refused, 0 harmful, 3 advice: sound"
        == again.stdout.splitlines()[-1]
    )


def test_no_colours_in_a_pipe(folder):
    """Where nobody looks, nothing is coloured."""
    assert "\x1b" not in run("deployment.yaml").output


def test_as_data(folder):
    """As JSON there is one object, findings with places included."""
    result = run("deployment.yaml", "--json")
    answer = msgspec.json.decode(result.stdout)

    assert 1 == result.exit_code
    assert (False, 1, None) == (answer["sound"], answer["objects"], answer["written"])
    assert {
        "line": 7, "column": 3, "object": "Deployment/deepseek-model", "path": "spec.selector",
        "severity": "refused", "rule": "selector-mismatch",
        "what": "it selects `app: deepseek`, and its template has no labels",
        "hint": "give the template these labels; a selector cannot be changed once it is applied",
        "cure": "the template has `app: deepseek`", "fixed": True,
    } in answer["findings"]  # fmt: skip


def test_standard_streams(folder):
    """`-` reads stdin; as the target of --fix it is stdout, and findings go to stderr."""
    result = run("-", "--fix", "-", stdin=ARTICLE)

    assert 1 == result.exit_code
    assert result.stdout.startswith("# baseload")
    assert "stdin:20:29: refused" in result.stderr
    assert 0 == run("-", stdin=result.stdout).exit_code


def test_files_of_people_are_kept(folder):
    """It writes over what it wrote before, but neither over its input nor over somebody's file."""
    (folder / "mine.yaml").write_text("mine\n")

    own = run("deployment.yaml", "--fix", "./deployment.yaml", "--force")
    assert (2, True) == (own.exit_code, "does not write onto the file that it reads" in own.stderr)
    other = run("deployment.yaml", "--fix", "mine.yaml")
    assert (2, True) == (other.exit_code, "--force overwrites it" in other.stderr)
    assert "mine\n" == (folder / "mine.yaml").read_text()

    assert 1 == run("deployment.yaml", "--fix", "mine.yaml", "--force").exit_code
    assert 1 == run("deployment.yaml", "--fix", "mine.yaml").exit_code
    assert ["deployment.yaml", "mine.yaml"] == sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize(("text", "said"), [
    (b"kind: [", "bad.yaml:1:8: not valid YAML"), (b"\xff\xfe", "bad.yaml: cannot be read: not UTF-8"),
    (b"name: {{ .Values.x }}\n", "a template of a Helm chart"), (b"", "no Kubernetes object"),
])  # fmt: skip
def test_what_cannot_be_read(folder, text, said):
    """What is no manifest is refused on stderr with a place, exit 2, and nothing is written."""
    (folder / "bad.yaml").write_bytes(text)
    result = run("bad.yaml", "--fix", "fixed.yaml")

    assert 2 == result.exit_code
    assert said in result.stderr
    assert "" == result.stdout
    assert not (folder / "fixed.yaml").exists()


def test_no_such_file(folder):
    """A file that is not there, or a folder to write to that is not, is one sentence and exit 2."""
    assert (2, "gone.yaml: cannot be read: No such file or directory\n") == (
        run("gone.yaml").exit_code, run("gone.yaml").stderr,
    )  # fmt: skip
    assert 2 == run("deployment.yaml", "--fix", "no/where.yaml").exit_code
