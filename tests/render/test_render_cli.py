"""`baseload render` as a person and a pipeline see it: what is written, what is refused, and how."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from baseload.cli import app, rendered
from baseload.cli import render as verb
from baseload.cli.render import render
from baseload.config.default import init_text
from baseload.errors import BaseloadError
from baseload.render.difference import RECORD
from baseload.render.files import File
from tests.render.goldens import same
from tests.render.pictures import FULL
from tests.render.test_planned import plan

SMALL = """\
listen: 0.0.0.0:8080
open_to_all: true
backends:
  edge: {url: "http://gpu.lan:8000/v1"}
models:
  m: {tiers: [{edge: {model: r1}}]}
deploy:
  engines:
    edge: {model: deepseek-r1-distill-qwen-7b, weights: "hf://a/b", accelerator: h100}
"""


def run(*words):
    """Run the verb in this process."""
    return CliRunner().invoke(render, [*map(str, words)], env={"COLUMNS": "100"})


def files(folder):
    """Give what is in a folder, drafts included, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Stand in a folder with a small fleet file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "baseload.yaml").write_text(SMALL)
    return tmp_path


def told(result, code, said):
    """See that it ended with this code and one sentence on stderr, without a traceback."""
    assert (code, True) == (result.exit_code, said in result.stderr), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output


def test_what_is_written_stays_and_changes(place):
    """New files, none to change, a difference, the change; exit codes are 0, 0, 1, 0."""
    first, again = run("all", "-o", "out"), run("all", "-o", "out", "--diff")
    assert (0, 0, "") == (first.exit_code, again.exit_code, again.stdout)
    assert ["kubernetes", "monitoring"] == sorted(path.name for path in (place / "out").iterdir())

    before = files(place / "out")
    (place / "baseload.yaml").write_text(SMALL + "  gateway: {image: 'other:1'}\n")
    shown = run("all", "-o", "out", "--diff")
    assert (1, before) == (shown.exit_code, files(place / "out"))
    assert "deployment.yaml: changed\n--- a/base/gateway/deployment.yaml" in shown.stdout
    assert "+        image: other:1\n" in run("kubernetes", "-o", "out/kubernetes", "--diff").stdout
    rows = json.loads(run("all", "-o", "out", "--diff", "--json").stdout)
    assert {"changed", "same"} == {row["what"] for row in rows}
    assert "changed" in run("all", "-o", "out").stdout
    assert 0 == run("all", "-o", "out", "--diff").exit_code


def test_what_a_person_changed_is_kept(place):
    """An edited and an emptied file stop everything, with exit 2; --overwrite says otherwise."""
    run("all", "-o", "out")
    (place / "out/kubernetes/README.md").write_text("mine")
    (place / "out/monitoring/compose.yaml").write_text("")
    before = files(place)

    result = run("all", "-o", "out")
    told(result, 2, "out/kubernetes/README.md: not what `baseload render` last wrote there")
    assert "out/monitoring/compose.yaml: not what" in result.stderr
    assert before == files(place)
    assert "README.md: not what was last rendered there" in run("all", "-o", "out", "--diff").stdout
    assert "1 overwritten" in run("all", "-o", "out", "--overwrite").stdout


def test_a_lost_record_is_made_again(place):
    """Where all files are as they should be and the record is gone, it is written anew."""
    run("kubernetes", "-o", "out")
    (place / "out" / RECORD).unlink()
    run("kubernetes", "-o", "out")
    (place / "baseload.yaml").write_text(SMALL.replace("hf://a/b", "hf://a/c"))

    assert 0 == run("kubernetes", "-o", "out").exit_code


@pytest.mark.parametrize(("words", "said"), [
    (("-c", "none.yaml"), "none.yaml: no such file"), (("-c", "."), ".: cannot be read: Is a dir"),
    (("--plan", "none.json"), "none.json: cannot be read: No such file"),
    (("--plan", "baseload.yaml"), "baseload.yaml: not a plan as `baseload plan --json` prints it"),
    (("--catalog", "none.toml"), "none.toml: No such file"),
    (("-o", "baseload.yaml"), "baseload.yaml: not a folder"),
    (("-o", "baseload.yaml/a/b"), "baseload.yaml: not a folder"),
    (("-o", "/proc/a/b"), "/proc/a: No such file"), (("-o", "a" * 300), "File name too long"),
    (("-o", "/dev/null/a"), "/dev/null: not a folder"),
])  # fmt: skip
def test_what_cannot_be_read_or_written(place, words, said):
    """A file or a folder that is not what it should be: a sentence, exit 2, and nothing is left."""
    before = files(place)

    told(run("kubernetes", "-o", "out", *words), 2, said)
    assert before == files(place)
    assert not (place / "out").exists()


@pytest.mark.parametrize(("change", "said"), [
    (("deploy:", "deplyo:"), "baseload.yaml:7:1: deplyo: unknown key (did you mean `deploy`?)"),
    (("open_to_all: true\n", ""), "baseload.yaml: keys: there are none"),
    (("h100", "h1000"), "deploy.engines.edge.accelerator: no accelerator is called `h1000`"),
    (('"http://gpu.lan:8000/v1"', '"${EDGE}"'), "baseload.yaml:4:15: backends.edge.url: does not"),
    (('"http://gpu.lan:8000/v1"', '"${EDGE}"'), "(its value is not known when this is rendered"),
    (("true\n", "true\nadmin_token: abcdefghijklmnop\n"), "admin_token: a secret in clear text"),
    (("{model: deep", "{model: none-such-"), "deploy.engines.edge.model: "),
])  # fmt: skip
def test_a_fleet_that_cannot_be_rendered(place, change, said):
    """A mistake is told with its place, exit 2, and no folder is made."""
    (place / "baseload.yaml").write_text(SMALL.replace(*change))

    told(run("all", "-o", "a/b/out"), 2, said)
    assert ["baseload.yaml"] == [path.name for path in place.iterdir()]


def test_there_is_no_built_in_fleet(place):
    """Without a file nothing is rendered, and the help does not say otherwise."""
    (place / "baseload.yaml").unlink()

    told(run("all", "-o", "out"), 2, "baseload.yaml: no such file (`baseload init` writes one)")
    assert "built-in" not in run("all", "--help").stdout


def test_clouds(place):
    """No cloud, or an unknown one, is refused; one of several leaves the others' folders alone."""
    told(run("terraform", "-o", "out"), 2, "deploy.clouds: there are none")
    (place / "baseload.yaml").write_text(FULL.read_text())
    told(run("terraform", "-o", "out", "--cloud", "gcp"), 2, "--cloud gcp: deploy.clouds has aws")
    run("terraform", "-o", "out")
    before = files(place / "out")

    assert 0 == run("terraform", "-o", "out", "--cloud", "aws").exit_code
    assert before == files(place / "out")


def test_a_plan(place):
    """A plan fills in what the file leaves open; one of another model is refused."""
    (place / "plan.json").write_bytes(msgspec.json.encode(plan()))
    told(run("all", "-o", "out", "--plan", "plan.json"), 2, "no engine is of the plan's model")
    text = SMALL.replace("qwen-7b", "qwen-32b").replace(", accelerator: h100", "")
    (place / "baseload.yaml").write_text(text)
    told(run("all", "-o", "out"), 2, "it is not said on which accelerator it runs")

    assert 0 == run("all", "-o", "out", "--plan", "plan.json").exit_code
    assert "from baseload.yaml and plan.json." in (place / "out/kubernetes/README.md").read_text()


def test_ones_own_catalogue(place):
    """Rows beside the fleet file hold for it, and so do those of a file that is named."""
    (place / "mine.toml").write_text("[accelerator.h100]\nmemory_bytes = 1\n")
    assert 0 == run("kubernetes", "-o", "out").exit_code
    told(run("kubernetes", "-o", "out", "--catalog", "mine.toml"), 2, "does not fit 1xh100")
    (place / "mine.toml").rename(place / "baseload-catalog.toml")

    told(run("kubernetes", "-o", "out"), 2, "does not fit 1xh100")


@pytest.mark.parametrize("change", [
    ('edge: {url: "http://gpu.lan:8000/v1"}', 'edge: {url: "${U:-http://gpu.lan:8000/v1}"}'),
    ('"http://gpu.lan:8000/v1"', '"https://gpu.lan:8443/v1", ca: /nowhere/ca.pem'),
    ("0.0.0.0:8080", '"[::]:8080"'),
    ("open_to_all: true", "open_to_all: true\ntls: {cert: /nowhere/c.pem, key: /nowhere/k.pem}"),
    ("edge", "A.b_C"), ("edge", "e" * 36), ("edge: {model: d", "edge: &e {model: d"),
])  # fmt: skip
def test_what_is_usual_is_taken(place, change):
    """Defaults of variables, IPv6, files of another machine, odd names and anchors are rendered."""
    (place / "baseload.yaml").write_text(SMALL.replace(*change))

    assert (0, "") == (run("all", "-o", "out").exit_code, run("all", "-o", "out", "--diff").stdout)


def test_the_example_of_init_is_rendered(place):
    """What `baseload init` writes, its example of a deployment uncommented, can be rendered."""
    head, example = init_text().split("# deploy:", 1)
    text = head + re.sub(r"^# ", "", f"# deploy:{example}", flags=re.MULTILINE)
    text = text.replace("  # edge:\n  #   url: https://gpu-1", "  edge:\n    url: https://gpu-1")
    text = text.replace("  # rented: ", "  rented: ").replace(
        "# open_to_all: false", "open_to_all: true"
    )
    (place / "baseload.yaml").write_text(text)

    result = run("all", "-o", "out")
    assert (0, 3) == (result.exit_code, len(result.stdout.splitlines())), result.output


def fill(monkeypatch, files_max):
    """Put a double in place of writing: a disk that is full after some files.

    It does not prove that all disks say so.
    """
    real, written = Path.write_text, []

    def write(path, *text):
        written.append(path)
        if len(written) > files_max:
            raise OSError(28, "No space left on device", str(path))
        return real(path, *text)

    monkeypatch.setattr(Path, "write_text", write)


@pytest.mark.parametrize("files_max", [0, 10, 60])
def test_a_full_disk(place, monkeypatch, files_max):
    """Wherever it ends, in the first folder or the second, nothing of any is left."""
    with monkeypatch.context() as patch:
        fill(patch, files_max)
        told(run("all", "-o", "a/b/out"), 2, "No space left on device")

    assert ["baseload.yaml"] == [path.name for path in place.iterdir()]


def test_an_interruption(place, monkeypatch):
    """Ctrl-C before the first move leaves the folder as it was."""
    run("all", "-o", "out")
    before = files(place)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(rendered, "_move", interrupted)
    (place / "baseload.yaml").write_text(SMALL.replace("hf://a/b", "hf://a/c"))
    assert 0 != run("all", "-o", "out").exit_code
    (place / "baseload.yaml").write_text(SMALL)

    assert before == files(place)


def test_a_folder_that_changes_meanwhile(tmp_path):
    """What another render or a person writes between looking and writing is not overwritten."""
    folder, one = tmp_path / "out", File(path="a", text="1")
    compared = {folder: rendered.compare(folder, [one])}
    folder.mkdir()
    (folder / "a").write_text("mine")

    with pytest.raises(BaseloadError, match="changed by somebody else meanwhile"):
        rendered.write({folder: [one]}, compared)
    assert {"a": b"mine"} == files(folder)


@pytest.mark.parametrize("way", ["/etc/hostname", "../outside", "a/../../outside"])
def test_a_record_of_others_files(place, way):
    """A record that names files outside of its folder is refused: those listed may be removed."""
    (place / "out").mkdir()
    (place / "out" / RECORD).write_text(json.dumps({"made_by": "x", "files": {way: "0"}}))

    told(run("kubernetes", "-o", "out"), 2, f"`{way}` is outside this folder")


def test_the_order_of_folders_in_the_way(place):
    """A file where a folder has to be is refused before anything is moved."""
    (place / "out/kubernetes").mkdir(parents=True)
    (place / "out/kubernetes/base").write_text("")

    told(run("all", "-o", "out"), 2, "out/kubernetes/base: not a folder")
    assert {"kubernetes/base": b""} == files(place / "out")


ELSEWHEN = """
import sys
from datetime import UTC, datetime
from baseload.cli import render

class Later(datetime):
    @classmethod
    def now(cls, zone=None):
        return datetime(2031, 2, 3, 4, 5, tzinfo=zone)

render.datetime = Later
render.render(["all", "-o", sys.argv[1], "-c", sys.argv[2]])
"""


def test_the_same_bytes_whenever_and_wherever(tmp_path):
    """Another process, hash seed, time zone, locale and year give the same bytes."""
    (tmp_path / "fleet.yaml").write_text(FULL.read_text())
    assert 0 == run("all", "-o", tmp_path / "here", "-c", tmp_path / "fleet.yaml").exit_code
    env = {**os.environ, "PYTHONHASHSEED": "4711", "TZ": "Pacific/Kiritimati", "LC_ALL": "C"}
    subprocess.run(
        [sys.executable, "-c", ELSEWHEN, tmp_path / "there", tmp_path / "fleet.yaml"],
        env=env, check=True, capture_output=True, timeout=60,
    )  # fmt: skip

    here, there = files(tmp_path / "here"), files(tmp_path / "there")
    assert here.keys() == there.keys()
    assert [] == [path for path, data in here.items() if data != there[path]]


def test_the_list_of_files_is_kept(tmp_path):
    """Which files the full fleet gives is what it was; each says what made it, and from what."""
    (tmp_path / "fleet.yaml").write_text(FULL.read_text())
    run("all", "-o", tmp_path / "out", "-c", tmp_path / "fleet.yaml")
    found = files(tmp_path / "out")

    same("files", [File(path="full.txt", text="".join(f"{path}\n" for path in sorted(found)))])
    head = b"from fleet.yaml. Made by `baseload render`"
    assert [] == [path for path, data in found.items()
                  if head not in data and Path(path).name != RECORD]  # fmt: skip


def test_the_verb_is_known_by_what_it_does():
    """The list of verbs says what it is for, and its codes are those of the module."""
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).stdout

    assert re.search(r"render +Write Kubernetes, Terraform and monitoring", text)
    assert (1, 2) == (verb.DIFFERENT, verb.REFUSED)
