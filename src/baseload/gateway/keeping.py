"""What is kept of an answer while it is given on, and what is known of how backends take requests.

An answer that may break is kept, so that it can be continued: as references to the bytes that went
out, read only when it breaks or when many have gathered. An answer that is put together for a
caller who wanted no stream is kept for that, in the same way.

`Manners` remembers two things that a backend can only teach by refusing: that it will not be given
the beginning of an answer, and that it will not stream. Both are forgotten after a while, because
one odd request may have been the reason, and servers are replaced.

Not here: how a continuation is written (`apis.resume`) and joined (`apis.seam`).
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from baseload.apis.assemble import Assembly
from baseload.apis.deepseek import DEEPSEEK, OPENAI, fit, think
from baseload.apis.resume import BETA_CHAT, CHAT, RESTART, Said, Way, ways_of
from baseload.config.fleet import Backend, Target

KEPT_BYTES_MAX = 16 * 1024
"""So much is kept unread of one answer: reading late is cheap, keeping raw events is not."""
REFUSED_S = 600.0
"""How long a backend's refusal is remembered."""


class Kept:
    """What the caller of one call has been given, or will be given as one piece."""

    __slots__ = ("_assembly", "_bytes", "_is_continuable", "_pieces", "_said")

    def __init__(self, *, is_continuable: bool, is_assembled: bool) -> None:
        self._is_continuable = is_continuable
        self._said: Said | None = None
        """Made only when there is much to read, or a need: most answers are short and whole."""
        self._assembly = Assembly() if is_assembled else None
        self._pieces: list[bytes] = []
        self._bytes = 0

    def add(self, whole: bytes) -> None:
        """Keep whole events. Raises `AssemblyError` if they can be put together no longer."""
        self._pieces.append(whole)
        self._bytes += len(whole)
        if self._bytes > KEPT_BYTES_MAX:
            self._read()

    def said(self) -> Said | None:
        """Give what was said so far, if it can be continued."""
        self._read()
        return self._said if self._said is not None and self._said.is_continuable else None

    def answer(self) -> bytes:
        """Give what was kept as one answer. Raises `AssemblyError` like `add`."""
        assert self._assembly is not None
        self._read()
        return self._assembly.answer()

    def _read(self) -> None:
        pieces, self._pieces, self._bytes = b"".join(self._pieces), [], 0
        if not pieces:
            return
        if self._is_continuable:
            self._said = self._said or Said()
            self._said.feed(pieces)
        if self._assembly is not None:
            self._assembly.feed(pieces)


STARTED = ("llama.cpp", "sglang", "vllm")
"""Engines that are started here, of versions that are known to go on with what they are given."""


class Manners:
    """How each backend wants to be asked."""

    def __init__(self, backends: Mapping[str, Backend], kinds: Mapping[str, str]) -> None:
        """`kinds` tells which engine a backend has shown itself to be, as looks find out."""
        self.kinds = kinds
        self.read(backends)

    def read(self, backends: Mapping[str, Backend]) -> None:
        """Know these backends from now on; what others refused under their names is forgotten."""
        self._words = {name: _word(backend) for name, backend in backends.items()}
        self._known = {name: _kind(backend) for name, backend in backends.items()}
        self.told = {name for name in backends if self._words[name] or self._known[name]}
        """Backends of which the fleet file tells what they are; `kinds` has those that tell."""
        self._ours = {name for name, one in backends.items() if one.engine in STARTED}
        self._no_start: dict[str, float] = {}
        self._no_stream: dict[str, float] = {}

    def way(self, backend: str, now: float) -> Way:
        """Say how a backend is given the beginning of an answer."""
        if self._no_start.get(backend, 0.0) > now:
            return RESTART
        return ways_of(self._words[backend] or self.kinds.get(backend, ""))[0]

    def goes_on(self, backend: str) -> bool:
        """Say whether a backend surely goes on with a beginning, and never begins again."""
        return backend in self._ours

    def fit(
        self, target: Target, path: bytes, body: bytes, *, is_beta: bool
    ) -> tuple[bytes, bytes]:
        """Word a request for a backend, as far as it is known what that is."""
        backend = target.backend
        if target.thinking is not None and path in (CHAT, BETA_CHAT):
            body = think(body, target.thinking)
        word, found = self._words[backend], self.kinds.get(backend, "")
        kind = self._known[backend] or found or word
        if not kind:
            return path, body
        # The caller's own beginning is given even where ours was refused a while ago.
        return fit(path, body, kind, ways_of(word or found)[0], is_beta=is_beta)

    def kind(self, backend: str) -> str:
        """Say which engine a backend has shown itself to be; empty: none that tells of itself."""
        return self.kinds.get(backend, "")

    def streams(self, backend: str, now: float) -> bool:
        """Say whether a backend may be asked for a stream that the caller did not want."""
        return not self._no_stream or self._no_stream.get(backend, 0.0) <= now

    def refused_start(self, backend: str, now: float) -> None:
        """Remember that a backend refused to be given a beginning."""
        self._no_start[backend] = now + REFUSED_S

    def refused_stream(self, backend: str, now: float) -> None:
        """Remember that a backend refused to stream."""
        self._no_stream[backend] = now + REFUSED_S


def _word(backend: Backend) -> str:
    """Give what the fleet file says of how a backend goes on, in words or by what it is."""
    return backend.prefill if backend.prefill != "auto" else _kind(backend)


def _kind(backend: Backend) -> str:
    """Give what a backend is, as far as the fleet file tells."""
    if backend.engine is not None:
        return backend.engine
    host = urlsplit(backend.url or "").hostname or ""
    for kind in (DEEPSEEK, OPENAI):
        if host == f"{kind}.com" or host.endswith(f".{kind}.com"):
            return kind
    return ""
