"""A reload that only warms an engine otherwise. The model is real."""

import signal
from pathlib import Path

import pytest

from tests.cli.running import fleet_file, up, with_processes
from tests.cli.test_up_engines import MODEL, engine_pids
from tests.gateway.harness import chat, raw
from tests.needs import need_the_engine

PROMPT = "You are the gardener of a large park. " * 30


@pytest.fixture(autouse=True, scope="module")
def _engine():
    need_the_engine()


def with_system(folder: Path, *prompts: str) -> Path:
    """Write a fleet file with one engine and its system prompts."""
    warm = {"prompts": [], "system": list(prompts)}
    cpu = {"engine": "llama.cpp", "model": MODEL, "concurrency": 1, "serve": {"warm": warm}}
    small = {"tiers": [{"cpu": {"model": MODEL}}], "first_token_s": 60}
    return fleet_file(folder, backends={"cpu": cpu}, models={"small": small})


@with_processes
async def test_a_reload_reads_new_system_prompts_without_a_restart(tmp_path_factory):
    """The engine goes on under its process id, and a call with the new prompt finds it read."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with up(with_system(folder)) as running:
        await running.said("● engine cpu is ready")
        before = engine_pids(running)
        with_system(folder, PROMPT)
        running.tell(signal.SIGHUP)
        await running.said(r"reloaded: backends: ~cpu")
        await running.said(r"engine cpu: warm after .*; system prompts read: 1")
        messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": "A rose?"}]
        (answer,) = await raw(running.port, chat("small", messages=messages, max_tokens=1))
        after = engine_pids(running)

    usage = answer.json()["usage"]
    assert (200, before) == (answer.status, after)
    assert usage["prompt_tokens_details"]["cached_tokens"] > 0.8 * usage["prompt_tokens"]
