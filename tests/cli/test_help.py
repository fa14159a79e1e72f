"""Every verb can be asked what it does."""

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from baseload.cli import app


def _verbs(group=None, path=()):
    """Give the words of each verb, and of each verb below it."""
    group = group or get_command(app)
    context = group.make_context("baseload", [], resilient_parsing=True)
    for name in sorted(group.list_commands(context)):
        found = group.get_command(context, name)
        yield (*path, name)
        if hasattr(found, "list_commands"):
            yield from _verbs(found, (*path, name))


VERBS = list(_verbs())


def test_there_are_verbs():
    """Verbs that are loaded late, and those below others, are among them."""
    assert {("up",), ("weights", "pull"), ("plan", "fit")} <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help(verb):
    """`--help` of a verb exits with 0 and shows how it is called."""
    result = CliRunner().invoke(app, [*verb, "--help"])

    assert 0 == result.exit_code
    assert "Usage" in result.output
