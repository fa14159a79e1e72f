"""A line in the log for each finished call, for those who read logs rather than ledgers.

It says what the ledger says, and like it holds nothing that a caller or a model said.
"""

import logging

import msgspec

from baseload.gateway.tracing import Trace
from baseload.store.entry import Entry

logger = logging.getLogger("baseload.calls")


class CallLog:
    """Hears of finished calls."""

    def saw(self, entry: Entry, trace: Trace | None) -> None:
        """Write one line."""
        fields = {
            name: value
            for name, value in zip(entry.__struct_fields__, msgspec.structs.astuple(entry),
                                   strict=True)
            if name != "at"
        }  # fmt: skip
        if trace is not None:
            fields["trace_id"], fields["span_id"] = trace.trace_id, trace.span_id
        logger.info(
            "%s %s at %s: %s in %.3f s, %d + %d tokens, request %s",
            entry.api, entry.model, entry.backend or "nobody", entry.outcome, entry.total_s,
            entry.prompt_tokens, entry.completion_tokens, entry.request_id, extra=fields,
        )  # fmt: skip
