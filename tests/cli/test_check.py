"""`baseload check`, as a person and as a pipeline see it."""

import msgspec
import pytest
import typer
from click import unstyle
from typer.testing import CliRunner

from baseload.cli.check import check
from baseload.config.default import init_text

app = typer.Typer(rich_markup_mode="markdown")
app.command()(check)

BAD = """\
listen: 8080
backends: {"[bold]": {url: http://a}, x: {url: http://a, api_key: s3cret}}
models: {m: {tiers: [{y: {model: m}}]}}
"""


def run(*args, env=None):
    """Run the verb; `env` is added to the environment."""
    return CliRunner().invoke(
        app, args, env={"COLUMNS": "100", "DEEPSEEK_API_KEY": None, **(env or {})}
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Stand in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_sound(folder):
    """A sound file is one line on stdout, exit 0; the default is baseload.yaml here."""
    (folder / "baseload.yaml").write_text(init_text())

    result = run()

    assert result.exit_code == 0
    assert result.stdout == "baseload.yaml: 1 backend, 3 models: sound\n"
    assert result.stderr == ""


def test_notes(folder):
    """Notes go to stderr and do not make a file unsound; variables come from the environment."""
    text = init_text(with_deepseek=True).replace("listen: 127.0.0.1", "listen: 0.0.0.0")
    (folder / "fleet.yaml").write_text(text)

    result = run("-c", "fleet.yaml", env={"DEEPSEEK_API_KEY": "k"})

    assert result.exit_code == 0
    assert result.stdout == "fleet.yaml: 2 backends, 3 models: sound\n"
    assert result.stderr == (
        "note: listen: 0.0.0.0:8080 can be reached from other machines, and no keys are in this "
        "file: callers need one made with `baseload keys create`\n"
    )


def test_mistakes(folder):
    """Mistakes are lines on stderr, unwrapped and without markup; exit 1."""
    (folder / "baseload.yaml").write_text(BAD)

    result = run()

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "baseload.yaml:1:9: listen: wants text, found the number `8080` (put text in quotes; "
        'for example "127.0.0.1:8080")\n'
        "baseload.yaml:2:12: backends.[bold]: does not have the form that is wanted (A name of at "
        "most 64 letters, digits, `.`, `_` and `-`)\n"
        "baseload.yaml:3:23: models.m.tiers[0].y: no such backend (known: `[bold]`, `x`)\n"
    )


def test_missing_file(folder):
    """Without a file, the error names the verb that writes one; exit 1."""
    result = run("--config", "none.yaml")

    assert result.exit_code == 1
    assert result.stderr == "none.yaml: no such file (`baseload init` writes one)\n"


def test_json_of_a_bad_file(folder):
    """With --json, one object on stdout holds the mistakes with their places; exit 1."""
    (folder / "baseload.yaml").write_text(BAD)

    result = run("--json")

    answer = msgspec.json.decode(result.stdout)
    assert result.exit_code == 1
    assert result.stderr == ""
    assert answer["sound"] is False
    assert len(answer["mistakes"]) == 3
    expected = {
        "file": "baseload.yaml",
        "line": 3,
        "column": 23,
        "path": "models.m.tiers[0].y",
        "what": "no such backend",
        "hint": "known: `[bold]`, `x`",
    }
    assert expected == answer["mistakes"][2]


def test_json_of_a_sound_file(folder):
    """With --json, a sound file's object names its backends, models and notes; exit 0."""
    (folder / "baseload.yaml").write_text(init_text())

    result = run("--json")

    assert result.exit_code == 0
    expected = {
        "file": "baseload.yaml",
        "sound": True,
        "backends": ["cpu"],
        "models": ["smollm2-135m-instruct", "deepseek-chat", "deepseek-reasoner"],
        "notes": [],
        "mistakes": [],
    }
    assert expected == msgspec.json.decode(result.stdout)


def test_usage():
    """An unknown option is exit 2, and the help shows an example."""
    assert run("--nope").exit_code == 2
    assert "baseload check -c fleet.yaml" in unstyle(run("--help").stdout)
