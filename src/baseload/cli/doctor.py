"""`baseload doctor`: what is wrong with a Kubernetes manifest, by line, and the same corrected.

Findings go to stdout, one a line, with a summary; what was not checked goes to stderr. It reads
files and touches nothing else: no cluster is asked. Exit codes: 0, nothing refused or harmful; 1,
something is; 2, the file cannot be read as a manifest, or the corrected one cannot be written.

Not here: what is looked for (`baseload.doctor`).
"""

import os
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Final, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from baseload.doctor.emitting import MARK
from baseload.doctor.findings import Finding, Report
from baseload.errors import FleetFileError

UNSOUND: Final = 1
UNUSABLE: Final = 2
STANDARD: Final = "-"
_STYLES: Final = {"refused": "bold red", "harmful": "yellow", "advice": "cyan"}
_READ_BYTES_MAX: Final = 8 * 1024 * 1024 + 1

doctor = typer.Typer(rich_markup_mode="rich", add_completion=False)


@doctor.command()
def examine_file(
    manifest: Annotated[str, typer.Argument(metavar="FILE", help="A manifest; `-` is stdin.")],
    fix: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write it corrected; `-` is stdout."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a file that the doctor did not write.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print findings as data.")] = False,
) -> None:
    """Say what is wrong with a Kubernetes manifest, and write it corrected.

    By line: what the API server refuses, and what hurts in production. Exits with 1 if it finds
    any of the two, with 2 if the file cannot be read; advice does not count.

    Example: baseload doctor deployment.yaml --fix fixed.yaml

    Example: helm template web ./chart | baseload doctor -
    """
    if fix not in (None, STANDARD):
        assert fix is not None
        _may_write(Path(fix), manifest, force=force)
    report = _examined(manifest)
    if fix == STANDARD:
        sys.stdout.write(report.fixed)
    elif fix is not None:
        _write(Path(fix), report.fixed)
    _show(report, fix, as_json=as_json)
    raise typer.Exit(0 if report.is_sound else UNSOUND)


def _examined(manifest: str) -> Report:
    # Found when wanted: its rules and tables are not small.
    from baseload.doctor import examine  # noqa: PLC0415

    name = "stdin" if manifest == STANDARD else manifest
    try:
        if manifest == STANDARD:
            data = sys.stdin.buffer.read(_READ_BYTES_MAX)
        else:
            with Path(manifest).open("rb") as file:
                data = file.read(_READ_BYTES_MAX)
        return examine(data.decode(), name)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        _stop(f"{name}: cannot be read: {reason}")
    except FleetFileError as error:
        _stop(str(error))


def _stop(text: str) -> NoReturn:
    Console(stderr=True).out(text, highlight=False)
    raise typer.Exit(UNUSABLE)


def _may_write(fix: Path, manifest: str, *, force: bool) -> None:
    """See that nothing of a person's is overwritten."""
    try:
        if manifest != STANDARD and fix.exists() and fix.samefile(manifest):
            _stop(f"{fix}: --fix does not write onto the file that it reads; name another")
        if fix.is_dir() or not fix.absolute().parent.is_dir():
            _stop(f"{fix}: --fix wants a file in a folder that is there")
        if fix.exists() and not force:
            with fix.open(encoding="utf-8", errors="replace") as file:
                is_ours = MARK in file.readline(1000)
            if not is_ours:
                _stop(f"{fix}: is there, and not of the doctor's making; --force overwrites it")
    except OSError as error:
        _stop(f"{fix}: {error.strerror or error}")


def _write(fix: Path, text: str) -> None:
    """Write all of it or nothing."""
    try:
        with NamedTemporaryFile(
            "w", encoding="utf-8", dir=fix.absolute().parent, prefix=f".{fix.name}.", delete=False
        ) as file:
            file.write(text)
        fresh = Path(file.name)
        try:
            umask = os.umask(0)
            os.umask(umask)
            fresh.chmod(0o666 & ~umask)
            fresh.replace(fix)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
    except OSError as error:
        _stop(f"{fix}: cannot be written: {error.strerror or error}")


def _show(report: Report, fix: str | None, *, as_json: bool) -> None:
    out = Console(stderr=fix == STANDARD, soft_wrap=True, highlight=False)
    if as_json:
        answer = {
            "file": report.file, "sound": report.is_sound, "objects": report.objects,
            "findings": report.findings, "notes": report.notes, "written": fix,
        }  # fmt: skip
        out.out(msgspec.json.format(msgspec.json.encode(answer)).decode(), highlight=False)
        return
    for finding in report.findings:
        out.print(line(report.file, finding))
    for note in report.notes:
        Console(stderr=True).out(f"note: {note}", highlight=False)
    out.print(Text(summary(report, fix)))


def line(file: str, finding: Finding) -> Text:
    """Give a finding as one line; a terminal that has colours shows them."""
    path = f" {finding.path}" if finding.path else ""
    hint = f" ({finding.hint})" if finding.hint else ""
    return Text.assemble(
        f"{file}:{finding.line}:{finding.column}: ",
        (finding.severity, _STYLES[finding.severity]),
        f": {finding.object}{path}: {finding.what}{hint} ",
        (f"[{finding.rule}]", "dim"),
    )


def summary(report: Report, fix: str | None) -> str:
    """Give the last line: how much there is of what, and what is left for a person."""
    counts = {
        name: sum(each.severity == name for each in report.findings) for name in _STYLES
    }  # fmt: skip
    objects = f"{report.objects} object{'s' * (report.objects != 1)}"
    said = f"{report.file}: {objects}, {counts['refused']} refused, {counts['harmful']} harmful"
    said += f", {counts['advice']} advice: {'sound' if report.is_sound else 'not sound'}"
    bad = [each for each in report.findings if each.counts]
    mended = sum(each.fixed for each in bad)
    if not bad:
        return said
    if fix is None:
        return f"{said}; --fix FILE mends {mended} of {len(bad)}" if mended else said
    left = f"{len(bad) - mended} left for you" if mended < len(bad) else "none is left"
    return f"{said}\n{'stdout' if fix == STANDARD else fix}: {mended} mended, {left}"
