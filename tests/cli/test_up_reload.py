"""`baseload up` reads its file again: on SIGHUP, and on its own when it watches."""

import signal
from pathlib import Path

from tests.cli.running import fleet_file, up, with_processes
from tests.gateway.harness import Backend, chat, raw, request

MODELS = request(method="GET", path="/v1/models")


@with_processes
async def test_sighup_reads_the_file_again(tmp_path_factory):
    """The next call goes where the new file says; a bad one changes nothing and says why."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as first, Backend() as second:
        file = fleet_file(folder, first)
        async with up(file) as running:
            (before,) = await raw(running.port, chat())
            fleet_file(folder, second)
            running.tell(signal.SIGHUP)
            await running.said(r"reloaded: backends: ~b0")
            (after,) = await raw(running.port, chat())
            file.write_text(file.read_text().replace("tiers", "teirs") + "nonsense: 1\n")
            running.tell(signal.SIGHUP)
            said = (await running.said(r"nothing was reloaded: (.*)")).group(1)
            (still,) = await raw(running.port, chat())

        assert [200] * 3 == [answer.status for answer in (before, after, still)]
        assert (1, 2) == (len(first.asked), len(second.asked))
        assert "teirs" in said
        assert "nonsense" in said


@with_processes
async def test_a_watched_file_is_read_when_it_has_changed(tmp_path_factory):
    """Both ways in which editors write are noticed: into the file, and another in its place."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as first, Backend() as second:
        file = fleet_file(folder, first)
        async with up(file, "--watch") as running:
            fleet_file(folder, first, second)
            await running.said(r"reloaded: backends: \+b1")
            other = folder / "other.yaml"
            other.write_text(file.read_text().replace("  m:\n", "  n:\n"))
            other.replace(file)
            await running.said(r"reloaded: models: \+n -m")
            (models,) = await raw(running.port, MODELS)

    assert ["n"] == [one["id"] for one in models.json()["data"]]


@with_processes
async def test_what_needs_a_restart_is_said(tmp_path_factory):
    """An address in the file that differs is left, named, and harmless."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as first:
        file = fleet_file(folder, first)
        async with up(file) as running:
            fleet_file(folder, first, listen="127.0.0.1:1", queue={"size": 7})
            running.tell(signal.SIGHUP)
            line = (await running.said(r"reloaded: (.*)")).group(1)

    assert "queue; needs a restart, and was left: listen" == line
