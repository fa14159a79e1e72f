"""What `baseload up` says on the terminal when it serves."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from baseload import __version__
from baseload.cli.ask import KEY_VARIABLE
from baseload.cli.common import base_url
from baseload.config.addresses import show_address
from baseload.config.fleet import Fleet
from baseload.config.notes import notes


def greet(
    console: Console,
    fleet: Fleet,
    source: str,
    address: tuple[str, int],
    admin: tuple[str, int],
    *,
    is_open: bool,
) -> None:
    """Say what is served, from where, how to try it, and where operators look.

    Without `is_open`, callers need keys.
    """
    say = partial(console.print, soft_wrap=True)
    url = base_url(show_address(*address), is_tls=fleet.tls is not None)
    where = f"[bold]{escape(url)}/v1[/]"
    say(f"[bold]baseload {__version__}[/] serves {escape(source)} at {where}")
    for name, model in fleet.models.items():
        tiers = " → ".join(
            " | ".join(f"{target.model} at {place}" for place, target in tier.items())
            for tier in model.tiers
        )
        say(f"  {escape(name)}: {escape(tiers)}", highlight=False)
    for note in notes(fleet):
        say(f"[yellow]note:[/] {escape(note)}", highlight=False)
    model_name = next(iter(fleet.models))
    question = '"messages":[{"role":"user","content":"Say hello."}]'
    body = f'{{"model":"{model_name}","max_tokens":64,{question}}}'
    key = "" if is_open else f' -H "authorization: Bearer ${KEY_VARIABLE}"'
    say(f"Try it{', with a key' if key else ''}:")
    curl = f"curl {url}/v1/chat/completions -H 'content-type: application/json'{key}"
    console.out(f"  {curl} -d '{body}'", highlight=False)
    operators = escape(base_url(show_address(*admin)))
    say(f"Operators: {operators} (/healthz /readyz /metrics /status), or `baseload status`")


def tell_of_engines(console: Console, waiting: Iterable[str], tape: Path | None) -> None:
    """Say which engines are not ready yet, and where the tape goes."""
    for name in waiting:
        text = f"[yellow]○[/] engine {escape(name)} is starting; until then it answers 503"
        console.print(text, soft_wrap=True)
    if tape is not None:
        console.print(
            f"Tape: {escape(str(tape))}, for `baseload replay`", soft_wrap=True, highlight=False
        )
