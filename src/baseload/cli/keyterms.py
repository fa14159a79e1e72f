"""What a key's holder may do, as options of a command line.

The names of limits are those of the fleet file. What needs the fleet to be judged (is there such a
model?) is judged here, everything else where keys are kept.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from baseload.cli.spans import seconds_of
from baseload.config.fleet import Fleet
from baseload.config.mistakes import nearest
from baseload.config.tenancy import Class, Limits, Terms, begin_of

Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", metavar="M", help="A model it may use; again for more."),
]
Rpm = Annotated[int | None, typer.Option(min=1, metavar="N", help="Calls in any minute.")]
Tpm = Annotated[int | None, typer.Option(min=1, metavar="N", help="Tokens in any minute.")]
Concurrency = Annotated[int | None, typer.Option(min=1, metavar="N", help="Calls at once.")]
UsdDay = Annotated[float | None, typer.Option(min=0, metavar="X", help="US dollars a day.")]
UsdMonth = Annotated[float | None, typer.Option(min=0, metavar="X", help="US dollars a month.")]
ModelLimit = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="M:K=N", help="For one model, as `deepseek-chat:rpm=60`."),
]
Priority = Annotated[
    Class | None, typer.Option(help="The class of its calls, and the most they may ask for.")
]
Expires = Annotated[
    str | None,
    typer.Option(metavar="DATE|SPAN", help="First day it is refused: 2027-01-31, or 30d from now."),
]
Label = Annotated[
    list[str] | None, typer.Option(metavar="K=V", help="A note of your own; again for more.")
]
Unset = Annotated[
    list[str] | None, typer.Option(metavar="FIELD", help="Take a limit away, as `rpm`.")
]

_ABSENT = Terms()


def terms_of(fleet: Fleet, *, unset: list[str] | None = None, **given: Any) -> dict[str, object]:
    """Give what was named on the command line as fields of `Terms`; raises `BadParameter`."""
    terms = {field: value for field, value in given.items() if value}
    terms |= {field: value for field, value in given.items() if value == 0}
    for name in terms.get("models", ()):
        _known_model(fleet, name, "--model")
    if "per_model" in terms:
        terms["per_model"] = _by_model(fleet, terms["per_model"])
    if "labels" in terms:
        terms["labels"] = dict(_pair(label, "--label") for label in terms["labels"])
    if "expires" in terms:
        terms["expires"] = _day(terms["expires"])
    for name in unset or ():
        field = name.replace("-", "_")
        if field not in Terms.__struct_fields__:
            hint = nearest(field, Terms.__struct_fields__)
            raise typer.BadParameter(f"`{name}`: no such field ({hint})", param_hint="--unset")
        terms[field] = getattr(_ABSENT, field)
    return terms


def _by_model(fleet: Fleet, limits: list[str]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for text in limits:
        field, number = _pair(text, "--limit")
        model, _, kind = field.rpartition(":")
        _known_model(fleet, model, "--limit")
        if kind not in Limits.__struct_fields__:
            hint = nearest(kind, Limits.__struct_fields__)
            raise typer.BadParameter(f"`{kind}`: no such limit ({hint})", param_hint="--limit")
        try:
            found.setdefault(model, {})[kind] = float(number) if "usd" in kind else int(number)
        except ValueError:
            raise typer.BadParameter(f"`{number}`: no number", param_hint="--limit") from None
    return found


def _known_model(fleet: Fleet, name: str, option: str) -> None:
    if name not in fleet.models:
        hint = nearest(name, fleet.models)
        raise typer.BadParameter(f"`{name}`: no such model ({hint})", param_hint=option)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"`{text}` is not written NAME=VALUE", param_hint=option)
    return name, value


def _day(text: str) -> str:
    try:
        begin_of(text)
    except ValueError:
        try:
            at = datetime.now(UTC) + timedelta(seconds=seconds_of(text))
        except (ValueError, OverflowError):
            what = f"`{text}` is neither a day such as 2027-01-31 nor a span such as 30d"
            raise typer.BadParameter(what, param_hint="--expires") from None
        return at.date().isoformat()
    return text
