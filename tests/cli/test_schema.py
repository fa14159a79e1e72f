"""`baseload schema`, on stdout and into a file."""

import msgspec
import typer
from click import unstyle
from typer.testing import CliRunner

from baseload.cli.schema import schema
from baseload.config.schema import fleet_schema

app = typer.Typer(rich_markup_mode="markdown")
app.command()(schema)


def run(*args):
    """Run the verb."""
    return CliRunner().invoke(app, args, env={"COLUMNS": "100"})


def test_stdout():
    """The schema is printed as JSON, whatever the width of the terminal."""
    result = run()

    assert result.exit_code == 0
    expected = msgspec.json.decode(msgspec.json.encode(fleet_schema()))
    assert expected == msgspec.json.decode(result.stdout)


def test_out(tmp_path):
    """With --out, the same goes into a file and nothing is printed."""
    path = tmp_path / "schema.json"

    result = run("--out", str(path))

    assert result.exit_code == 0
    assert result.stdout == ""
    assert run().stdout == path.read_text()


def test_out_that_cannot_be_written(tmp_path):
    """A path that cannot be written is one sentence and exit 1."""
    result = run("--out", str(tmp_path))

    assert result.exit_code == 1
    assert result.stderr == f"{tmp_path}: cannot be written: Is a directory\n"


def test_help():
    """The help shows an example."""
    assert "baseload schema --out baseload.schema.json" in unstyle(run("--help").stdout)
