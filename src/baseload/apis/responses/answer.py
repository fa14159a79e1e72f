"""What does a Response say, and in which events does it grow?

An answer is a row of items, and an item is open while it grows: thoughts, then a message, then
calls. It is told twice, as it happens in events and at its end as a whole, and both are made from
the same items, so that they cannot differ; an answer that was never streamed goes the same way in
one step and only its end is looked at.

A message or a thought is closed as soon as something else begins. Calls stay open until the end,
because their arguments may arrive by turns.

Thoughts are given as what they are, `reasoning_text`. A caller who asks for a summary of them is
given the thoughts themselves in its place: shorter ones could only be made up.

Not here: a chat's chunks (`speech`). The format: platform.openai.com/docs/api-reference/responses.
"""

from typing import Any, NamedTuple

import msgspec

from baseload.apis.openai import Usage

Fields = dict[str, Any]
_encode = msgspec.json.Encoder().encode

CALLS_MAX = 1024
"""An answer with more calls is none: each stays open until the end, and costs several events."""


class _Part(NamedTuple):
    """How one kind of text is told while it grows."""

    events: str  # what its own events are called
    frame: str  # what those around it are called
    place: str  # how its number in the item is called
    text: str = "text"


_PARTS = {
    "output_text": _Part("response.output_text", "response.content_part", "content_index"),
    "refusal": _Part("response.refusal", "response.content_part", "content_index", "refusal"),
    "reasoning_text": _Part("response.reasoning_text", "response.content_part", "content_index"),
    "summary_text": _Part(
        "response.reasoning_summary_text", "response.reasoning_summary_part", "summary_index"
    ),
}
_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc"}


class _Item:
    """One item while it grows."""

    def __init__(self, kind: str, index: int, name: str, call_id: str = "") -> None:
        self.index = index
        self.is_open = True
        self.is_cut = False
        self.part: str | None = None
        """The kind of the part that grows; calls have none."""
        self.pieces: list[str] = []
        self.logprobs: list[Any] = []
        self.fields: Fields = {"id": f"{_PREFIXES[kind]}_{name}_{index}", "type": kind}
        if kind == "message":
            self.fields |= {"role": "assistant", "content": []}
        elif kind == "reasoning":
            self.fields |= {"summary": [], "content": []}
        else:
            call_id = call_id or f"call_{name}_{index}"
            self.fields |= {"call_id": call_id, "name": "", "arguments": ""}

    @property
    def kind(self) -> str:
        """What it is."""
        return str(self.fields["type"])

    @property
    def parts(self) -> list[Fields]:
        """The parts that are whole."""
        found: list[Fields] = self.fields["summary" if self.part == "summary_text" else "content"]
        return found

    def grown(self) -> Fields:
        """Give the part that grows, as far as it has grown."""
        assert self.part is not None
        text = "".join(self.pieces)
        part: Fields = {"type": self.part, _PARTS[self.part].text: text}
        if self.part == "output_text":
            part |= {"annotations": [], "logprobs": self.logprobs}
        return part

    def told(self) -> Fields:
        """Give the item as far as it has grown; what is left out of it was never whole."""
        status = "incomplete" if self.is_cut else "in_progress" if self.is_open else "completed"
        fields = {**self.fields, "status": status}
        if self.kind == "function_call":
            fields["arguments"] = "".join(self.pieces)
        elif self.part is not None and self.is_open:
            key = "summary" if self.part == "summary_text" else "content"
            fields[key] = [*fields[key], self.grown()]
        return fields


class Answer:
    """One Response from its first event to its last."""

    def __init__(self, echo: Fields, *, is_summary: bool) -> None:
        """`echo` holds the request's settings, which are repeated in every answer."""
        self._echo = echo
        self._thought = "summary_text" if is_summary else "reasoning_text"
        self._name = "0"
        self._top: Fields = {}
        self._items: list[_Item] = []
        self._open: _Item | None = None
        """The message or the thoughts that grow now."""
        self._calls: dict[int, _Item] = {}
        self._events: list[bytes] = []
        self._number = 0
        self.usage: Usage | None = None
        self.is_over = False

    @property
    def has_begun(self) -> bool:
        """Say whether its first event has been told."""
        return bool(self._top)

    def take_events(self) -> bytes:
        """Give the events since the last time."""
        events, self._events = b"".join(self._events), []
        return events

    # -- how it grows ------------------------------------------------------------------------

    def begin(self, name: str, created: float, model: str) -> None:
        """Begin; `name` becomes a part of every id."""
        self._name = name
        self._top = {"id": f"resp_{name}", "object": "response", "created_at": created}
        self._echo = {**self._echo, "model": model}
        for kind in ("created", "in_progress"):
            self._tell(f"response.{kind}", response=self.response("in_progress"))

    def go_on(self, response: Fields, number: int) -> None:
        """Go on where a backend's own events ended, so that its Response can be ended."""
        self._top, self._echo, self._number = response, {}, number

    def think(self, text: str) -> None:
        """Add to the thoughts."""
        self._grow("reasoning", self._thought, text)

    def say(self, text: str, logprobs: list[Any]) -> None:
        """Add to the words."""
        self._grow("message", "output_text", text, logprobs)

    def refuse(self, text: str) -> None:
        """Add to a refusal, which is a part of a message."""
        self._grow("message", "refusal", text)

    def call(self, number: int, call_id: str, name: str, arguments: str) -> None:
        """Add to a call; its id and name stand with its first piece."""
        item = self._calls.get(number)
        if item is None:
            self._close_open()
            item = self._calls[number] = self._add("function_call", call_id, name)
        elif name:
            item.fields["name"] = name
        if arguments:
            item.pieces.append(arguments)
            where = self._where(item)
            self._tell("response.function_call_arguments.delta", **where, delta=arguments)

    def end(self, incomplete: str | None = None) -> None:
        """End well, or at a bound that is named; then the last item is the one that it cut."""
        last = self._items[-1] if self._items else None
        if incomplete and last is not None and last.is_open:
            last.is_cut = True
        self._close_open()
        for item in self._calls.values():
            self._close(item)
        status = "incomplete" if incomplete else "completed"
        self._tell(f"response.{status}", response=self.response(status, incomplete=incomplete))
        self.is_over = True

    def fail(self, code: str, error: Fields) -> None:
        """End badly. Two events, for two kinds of readers; see `speech`.

        `code` is one that a Response may name; `error` tells more.
        """
        for item in self._items:
            item.is_cut = item.is_open
        shown = {"code": code, "message": error["message"]}
        self._tell("response.failed", response=self.response("failed", error=shown))
        flat = {key: error[key] for key in ("code", "message", "param")}
        self._tell("error", **flat, error=error)
        self.is_over = True

    # -- what it is --------------------------------------------------------------------------

    def response(
        self, status: str, *, incomplete: str | None = None, error: Fields | None = None
    ) -> Fields:
        """Give the whole as it stands."""
        is_over = status != "in_progress"
        return {
            **self._top,
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": {"reason": incomplete} if incomplete else None,
            **self._echo,
            "output": [item.told() for item in self._items],
            "usage": self._usage() if is_over else None,
        }

    def _usage(self) -> Fields | None:
        usage = self.usage
        if usage is None:
            return None
        details = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0}
        return {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": details,
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }

    # -- within ------------------------------------------------------------------------------

    def _grow(self, kind: str, part: str, text: str, logprobs: list[Any] | None = None) -> None:
        item = self._open
        if item is None or item.kind != kind:
            self._close_open()
            item = self._open = self._add(kind)
        if item.part != part:
            self._close_part(item)
            item.part, item.pieces, item.logprobs = part, [], []
            self._tell(f"{_PARTS[part].frame}.added", **self._at(item), part=item.grown())
        item.pieces.append(text)
        more: Fields = {}
        if logprobs is not None:
            item.logprobs += logprobs
            more["logprobs"] = logprobs
        self._tell(f"{_PARTS[part].events}.delta", **self._at(item), delta=text, **more)

    def _add(self, kind: str, call_id: str = "", name: str = "") -> _Item:
        item = _Item(kind, len(self._items), self._name, call_id)
        if kind == "function_call":
            item.fields["name"] = name
        self._items.append(item)
        self._tell("response.output_item.added", output_index=item.index, item=item.told())
        return item

    def _close_open(self) -> None:
        item, self._open = self._open, None
        if item is not None:
            self._close_part(item)
            self._close(item)

    def _close_part(self, item: _Item) -> None:
        if item.part is None:
            return
        known, grown, where = _PARTS[item.part], item.grown(), self._at(item)
        text = {known.text: grown[known.text]}
        if item.part == "output_text":
            text["logprobs"] = item.logprobs
        self._tell(f"{known.events}.done", **where, **text)
        self._tell(f"{known.frame}.done", **where, part=grown)
        item.parts.append(grown)
        item.part = None

    def _close(self, item: _Item) -> None:
        item.is_open = False
        told = item.told()
        if item.kind == "function_call":
            item.fields["arguments"] = arguments = told["arguments"]
            where, name = self._where(item), item.fields["name"]
            kind = "response.function_call_arguments.done"
            self._tell(kind, **where, arguments=arguments, name=name)
        self._tell("response.output_item.done", output_index=item.index, item=told)

    def _where(self, item: _Item) -> Fields:
        return {"item_id": item.fields["id"], "output_index": item.index}

    def _at(self, item: _Item) -> Fields:
        assert item.part is not None
        return {**self._where(item), _PARTS[item.part].place: len(item.parts)}

    def _tell(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        self._events.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode(event)))
