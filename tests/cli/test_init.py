"""`baseload init`: a first file, and never a lost one."""

import typer
from click import unstyle
from typer.testing import CliRunner

from baseload.cli.init import init
from baseload.config.default import default_fleet
from baseload.config.reading import read_fleet

app = typer.Typer(rich_markup_mode="markdown")
app.command()(init)


def run(*args, key=None):
    """Run the verb, with or without DeepSeek's key in the environment."""
    env = {"COLUMNS": "100", "DEEPSEEK_API_KEY": key}
    return CliRunner().invoke(app, [str(one) for one in args], env=env)


def test_writes_a_sound_file(tmp_path, monkeypatch):
    """Without arguments it writes baseload.yaml, which is the fleet that runs without it."""
    monkeypatch.chdir(tmp_path)

    result = run()

    assert result.exit_code == 0
    assert result.stdout == (
        "baseload.yaml: written; DeepSeek's API is commented out, as DEEPSEEK_API_KEY is not set\n"
    )
    assert default_fleet({}) == read_fleet(tmp_path / "baseload.yaml", {})


def test_writes_what_the_environment_would_run(tmp_path):
    """With a key in the environment, DeepSeek's API is in front, and the key is not in the file."""
    path, env = tmp_path / "fleet.yaml", {"DEEPSEEK_API_KEY": "s3cret"}

    result = run(path, key="s3cret")

    assert result.exit_code == 0
    assert "s3cret" not in path.read_text() + result.stdout
    assert default_fleet(env) == read_fleet(path, env)


def test_refuses_to_overwrite(tmp_path):
    """What is already there stays as it is, with exit 1, unless --force is given."""
    path = tmp_path / "fleet.yaml"
    path.write_text("mine")

    refused = run(path)
    kept = path.read_text()
    forced = run(path, "--force")

    assert refused.exit_code == 1
    assert refused.stderr == f"{path}: is already there (`--force` overwrites it)\n"
    assert kept == "mine"
    assert forced.exit_code == 0
    assert default_fleet({}) == read_fleet(path, {})


def test_a_folder_that_is_not_there(tmp_path):
    """A path that cannot be written is one sentence and exit 1."""
    path = tmp_path / "none" / "fleet.yaml"

    result = run(path)

    assert result.exit_code == 1
    assert result.stderr == f"{path}: cannot be written: No such file or directory\n"


def test_help():
    """The help shows an example."""
    assert "baseload init fleet.yaml" in unstyle(run("--help").stdout)
