"""What does the doctor say? Findings, as data; worst first is not their order, the file's is.

Not here: how they are found (`table`), how a terminal shows them (`cli.doctor`).
"""

from typing import Literal

import msgspec

Severity = Literal["refused", "harmful", "advice"]
"""By the API server; in production; neither, but worth a thought."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, where a person can mend it."""

    line: int
    column: int
    object: str
    """`Deployment/deepseek-model`."""
    path: str
    """`spec.template.spec.containers[0].image`; empty for the object itself."""
    severity: Severity
    rule: str
    what: str
    hint: str = ""
    """Why it matters, or what to do about it."""
    cure: str = ""
    """What the corrected file has in its place."""
    fixed: bool = False
    """Whether the corrected file is free of it."""

    @property
    def counts(self) -> bool:
        """Whether it makes the file unsound."""
        return self.severity != "advice"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that is to be said of a file."""

    file: str
    objects: int
    findings: tuple[Finding, ...]
    """In the file's order."""
    notes: tuple[str, ...]
    """What was not checked, and why."""
    fixed: str
    """The corrected file's text."""

    @property
    def is_sound(self) -> bool:
        """Whether the API server takes it and nothing hurts in production."""
        return not any(finding.counts for finding in self.findings)
