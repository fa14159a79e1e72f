"""How do two halves of one answer become one, so that the caller sees no seam?

Two torn pages of the same text are laid over each other. If the second begins where the first
ended, it is only laid beside it. If it begins at the top again, it is moved up until the printed
lines cover each other, and only what sticks out below is new; where the lines differ, the pages
are not of one text, and there is no seam to be had (`SeamError`).

Nothing may be doubled and nothing lost. A server may ignore the start that it was given and begin
again; so the first characters of a continuation are held back until it is plain which of the two
it is, unless the server is known never to do so. Where it cannot be plain, because the text so far
is very short or repeats its own opening, the seam is refused rather than guessed. Spaces at
the seam are joined exactly as they come.

Not here: what was said before (`resume.Said`), and whether the second answer ended well.
"""

from typing import Any

from baseload.apis.chunks import (
    END_EVENT,
    REASONING_KEYS,
    Chunk,
    ChunkError,
    choice_of,
    chunks,
    delta_of,
    event_of,
    texts_of,
)
from baseload.apis.resume import PREFIX, RESTART, Said, Way

MATCH_CHARS = 24
"""This many characters equal to the start of what was said prove that the model began again."""

MATCH_CHARS_MIN = 8
"""If what was said is shorter than this, repeating all of it proves nothing."""


class SeamError(ValueError):
    """The second answer cannot be joined to the first; says why, and quotes neither."""


class Seam:
    """Joins a second answer to what was said.

    `joined` is True once something new was released: the continuation's first token. `is_restart`
    is True while the answer is taken as one that began again. What was said is read once, here;
    feeding `said` with what the seam gives back is how a third answer can be joined to the second.
    """

    def __init__(self, said: Said, way: Way, *, is_sure: bool = False) -> None:
        """With `is_sure` the server is known to go on where it is told to: nothing is guessed."""
        self.joined = False
        self.is_restart = way is RESTART
        self._reasoning, self._content = said.reasoning, said.content
        self._reasoning_keys = said.reasoning_keys
        self._has_role = said.has_role
        self._face = {
            "id": said.id,
            "created": said.created,
            "model": said.model,
            "system_fingerprint": said.system_fingerprint,
        }
        self._chunks = said.chunks
        self._given = said.chunks if way is PREFIX else said.chunks - said.reasoning_chunks
        self._is_decided = is_sure or self.is_restart or not said.chunks
        self._held: list[Chunk] = []
        self._head: list[str] = ["", ""]
        # How much of the old texts is covered: for a continuation all, for a restart none yet.
        self._covered = [0, 0] if self.is_restart else [len(self._reasoning), len(self._content)]

    def feed(self, whole: bytes) -> bytes:
        """Take whole events of the second answer; give those for the caller, maybe none.

        Comments are dropped. Raises `SeamError` if they cannot be joined: what was given back
        by earlier calls stays valid, these events give nothing, and the seam is of no more use.
        """
        out = []
        try:
            for _, chunk in chunks(whole):
                if chunk is not None:
                    out += self._take(chunk)
                else:
                    out += self._release()
                    self._expect_covered()
                    out.append(END_EVENT)
        except ChunkError as error:
            raise SeamError(f"The continuation cannot be joined: {error}.") from None
        except RecursionError:
            raise SeamError("The continuation cannot be joined: it is nested too deeply.") from None
        return b"".join(out)

    # -- is it a continuation, or did the model begin again? -----------------------------------

    def _take(self, chunk: Chunk) -> list[bytes]:
        if chunk.get("error"):
            raise ChunkError("the backend reported an error")
        if self._is_decided:
            return self._pass(chunk)
        choice = choice_of(chunk)
        if choice is None:
            return self._release() + self._pass(chunk) if chunk.get("usage") else []
        texts = texts_of(choice)
        if not any(texts) and not choice.get("finish_reason"):
            return []  # A role, or nothing: the caller has had one.
        self._held.append(chunk)
        self._decide(texts)
        return self._release() if self._is_decided or choice.get("finish_reason") else []

    def _decide(self, texts: tuple[str, str]) -> None:
        """Compare the second answer's first characters with those of what was said.

        The part of the answer that it begins with decides: thoughts with thoughts, content with
        content.
        """
        part = 0 if self._head[0] or texts[0] else 1
        self._head[part] += texts[part]
        head = self._head[part][:MATCH_CHARS]
        old = (self._reasoning, self._content)[part][:MATCH_CHARS]
        if old and head.startswith(old):
            self._expect_plain(part, old)
            self._is_decided = self.is_restart = True
            self._covered = [0, 0]
        elif not old.startswith(head) or (part == 0 and texts[1]):
            self._is_decided = True  # It goes on: it says something else, or stops thinking early.

    def _expect_plain(self, part: int, old: str) -> None:
        """Refuse a match that a continuation might give as well."""
        if len(old) < MATCH_CHARS_MIN or (self._reasoning, self._content)[part].find(old, 1) > 0:
            raise ChunkError("it may have begun again, or repeat the opening; nothing tells which")

    def _release(self) -> list[bytes]:
        """Pass on what was held back; from here on the answer is what it was taken for."""
        self._is_decided = True
        held, self._held = self._held, []
        return [event for chunk in held for event in self._pass(chunk)]

    # -- passing on ----------------------------------------------------------------------------

    def _pass(self, chunk: Chunk) -> list[bytes]:
        """Give what of a chunk is new to the caller, as an event of the first answer."""
        usage = chunk.get("usage")
        if (choice := choice_of(chunk)) is None:
            is_heard, is_last = bool(usage), bool(usage)
        else:
            is_last = bool(choice.get("finish_reason"))
            is_heard = self._trim(choice) or is_last
        if is_last:
            self._expect_covered()
        if not is_heard:
            return []
        for key, value in self._face.items():
            if value is not None:
                chunk[key] = value
        if isinstance(usage, dict) and not self.is_restart:
            self._correct(usage)
        return [event_of(chunk)]

    def _trim(self, choice: Chunk) -> bool:
        """Take from a choice what the caller has had; say whether any text is left."""
        reasoning, content = texts_of(choice)
        new_reasoning = self._uncovered(0, self._reasoning, reasoning)
        if new_reasoning and self._content and not self.joined:
            raise ChunkError("it thinks where the first answer had begun to speak")
        if content and self._covered[0] < len(self._reasoning):
            raise ChunkError("it stopped thinking before the first answer did")
        new_content = self._uncovered(1, self._content, content)
        delta = delta_of(choice)
        if reasoning:
            self._write_reasoning(delta, new_reasoning)
        if content and "content" in delta:
            delta["content"] = new_content
        elif content:
            choice["text"] = new_content
        if self._has_role:
            delta.pop("role", None)
        is_new = bool(new_reasoning or new_content)
        self.joined = self.joined or is_new
        return is_new

    def _uncovered(self, part: int, old: str, text: str) -> str:
        """Lay a text over the old one; give what sticks out below."""
        start = self._covered[part]
        size = min(len(text), len(old) - start)
        if not old.startswith(text[:size], start):
            raise ChunkError(f"it began again, and differs from the first after character {start}")
        self._covered[part] = start + size
        return text[size:]

    def _write_reasoning(self, delta: Chunk, text: str) -> None:
        """Spell the reasoning's key as the first answer did: the caller reads that one."""
        found = [key for key in REASONING_KEYS if delta.pop(key, None)]
        for key in self._reasoning_keys or found:
            delta[key] = text

    def _expect_covered(self) -> None:
        if self._covered != [len(self._reasoning), len(self._content)]:
            raise ChunkError("it began again, and ended before it reached the old text's end")

    def _correct(self, usage: dict[str, Any]) -> None:
        """Count what was said as an answer, not as a prompt; chunks stand for tokens."""
        prompt, answer = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if type(prompt) is int and type(answer) is int:
            usage["prompt_tokens"] = max(prompt - self._given, 0)
            usage["completion_tokens"] = answer + self._chunks
            usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]


def note(backend: str, chars: int) -> bytes:
    """Give the comment that tells where the answer was resumed, for those who look."""
    return f": baseload: resumed at character {chars} by {backend}\n\n".encode()
