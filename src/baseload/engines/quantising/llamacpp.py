"""What does a model give each token of a text? Asked of llama.cpp itself, in this process.

llama.cpp's server tells probabilities of tokens that it makes, never of those that it reads, so a
perplexity would take one request a token. Its C interface has them all after one pass over the
text, and the `xllamacpp` wheel exports it. Structures are passed through as they come from
llama.cpp's own functions: only the leading fields of `llama_batch` are known here, which have been
the same since 2024 (`llama.h`), and the size of a context is read back, not assumed.

Only a child process may use this: where an interface has changed, C code ends the process.
"""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int, c_int8, c_int32, c_uint64, c_void_p
from typing import Any

import numpy as np

from baseload.engines.quantising.tasks import WINDOW_TOKENS
from baseload.errors import EngineError

ROWS_AT_ONCE = 32
"""Positions whose probabilities are reckoned at once, in double precision."""

_ROOM = 256
"""Words of 8 bytes for a structure of unknown size; those of llama.cpp have some 20 to 30."""


class _Structure(ctypes.Structure):
    """A structure of llama.cpp that is passed on unread."""

    _fields_ = [("words", c_uint64 * _ROOM)]


class _Batch(ctypes.Structure):
    """`llama_batch`: tokens, with a position, a sequence and a wish for logits each."""

    _fields_ = [
        ("n_tokens", c_int32),
        ("token", POINTER(c_int32)),
        ("embd", c_void_p),
        ("pos", POINTER(c_int32)),
        ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(c_int32))),
        ("logits", POINTER(c_int8)),
        ("words", c_uint64 * _ROOM),
    ]


_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "llama_backend_init": (None, []),
    "llama_log_set": (None, [c_void_p, c_void_p]),
    "llama_model_default_params": (_Structure, []),
    "llama_context_default_params": (_Structure, []),
    "llama_model_load_from_file": (c_void_p, [c_char_p, _Structure]),
    "llama_init_from_model": (c_void_p, [c_void_p, _Structure]),
    "llama_n_ctx": (c_int32, [c_void_p]),
    "llama_n_batch": (c_int32, [c_void_p]),
    "llama_set_n_threads": (None, [c_void_p, c_int32, c_int32]),
    "llama_model_get_vocab": (c_void_p, [c_void_p]),
    "llama_vocab_n_tokens": (c_int32, [c_void_p]),
    "llama_vocab_bos": (c_int32, [c_void_p]),
    "llama_vocab_get_add_bos": (c_bool, [c_void_p]),
    "llama_tokenize": (
        c_int32,
        [c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool],
    ),
    "llama_batch_init": (_Batch, [c_int32, c_int32, c_int32]),
    "llama_decode": (c_int32, [c_void_p, _Batch]),
    "llama_get_logits": (POINTER(c_float), [c_void_p]),
    "llama_get_memory": (c_void_p, [c_void_p]),
    "llama_memory_clear": (None, [c_void_p, c_bool]),
    "llama_memory_seq_rm": (c_bool, [c_void_p, c_int32, c_int32, c_int32]),
}
"""Names in `llama.h`: what each returns, and what it takes."""

_SILENCE = ctypes.CFUNCTYPE(None, c_int, c_char_p, c_void_p)(lambda *_: None)


class Reader:
    """A model that reads: it says what each token of a text costs it, in nats."""

    def __init__(self, path: str, threads: int) -> None:
        """Load the model; raises EngineError if llama.cpp cannot, or has another interface."""
        self._library = library = _library()
        library.llama_log_set(ctypes.cast(_SILENCE, c_void_p), None)
        library.llama_backend_init()
        model = library.llama_model_load_from_file(
            path.encode(), library.llama_model_default_params()
        )
        if not model:
            raise EngineError(f"llama.cpp cannot load {path}")
        self._context = library.llama_init_from_model(model, library.llama_context_default_params())
        if not self._context:
            raise EngineError(f"llama.cpp makes no context for {path}: is there enough memory?")
        room = min(library.llama_n_ctx(self._context), library.llama_n_batch(self._context))
        if room < WINDOW_TOKENS:
            raise EngineError(f"llama.cpp reads only {room} tokens at once, not {WINDOW_TOKENS}")
        library.llama_set_n_threads(self._context, threads, threads)
        self._vocab = library.llama_model_get_vocab(model)
        self._vocab_tokens = library.llama_vocab_n_tokens(self._vocab)
        self._batch = library.llama_batch_init(WINDOW_TOKENS, 0, 1)
        has_start = library.llama_vocab_get_add_bos(self._vocab)
        self.start = [library.llama_vocab_bos(self._vocab)] if has_start else []
        """What the model wants before every text."""

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text, without what comes before every text."""
        data = text.encode()
        room = (c_int32 * (len(data) + 8))()  # No token is shorter than a byte.
        count = self._library.llama_tokenize(
            self._vocab, data, len(data), room, len(room), False, False
        )
        if count < 0:
            raise EngineError("llama.cpp cannot cut the text into tokens")
        return list(room[:count])

    def losses(self, tokens: Sequence[int]) -> list[float]:
        """Return what each token costs but the very first; at most one window of them."""
        whole = [*self.start, *tokens]
        self._forget(0)
        return [-each for each in self._read(whole[:-1], 0, whole[1:])]

    def choose(self, question: str, options: Sequence[str]) -> list[float]:
        """Return how probable each option is after the question: the sum of its tokens' logs."""
        asked = [*self.start, *self.tokens(question)]
        self._forget(0)
        first = self._read(asked, 0, None)
        return [self._option(asked, first, self.tokens(option)) for option in options]

    def _option(self, asked: list[int], first: Any, option: list[int]) -> float:
        logs = [float(first[option[0]])]
        if len(option) > 1:
            if not self._forget(len(asked)):  # A model with a state that cannot be cut back.
                self._forget(0)
                self._read(asked, 0, None)
            logs += self._read(option[:-1], len(asked), option[1:])
        return sum(logs)

    def _forget(self, at: int) -> bool:
        """Forget what was read from position `at` on; tell whether that could be done."""
        memory = self._library.llama_get_memory(self._context)
        if at == 0:
            self._library.llama_memory_clear(memory, True)
            return True
        return bool(self._library.llama_memory_seq_rm(memory, 0, at, -1))

    def _read(self, tokens: Sequence[int], at: int, expected: Sequence[int] | None) -> Any:
        """Read tokens at position `at`.

        Returns the log-probability of each expected token; without `expected` those of the whole
        vocabulary after the last token.
        """
        if not tokens or at + len(tokens) > WINDOW_TOKENS:
            raise EngineError(f"{at + len(tokens)} tokens do not fit in {WINDOW_TOKENS}")
        batch = self._batch
        batch.n_tokens = len(tokens)
        for place, token in enumerate(tokens):
            batch.token[place], batch.pos[place] = token, at + place
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
            batch.logits[place] = expected is not None or place == len(tokens) - 1
        if (code := self._library.llama_decode(self._context, batch)) != 0:
            raise EngineError(f"llama.cpp cannot read the text: llama_decode returned {code}")
        rows = 1 if expected is None else len(tokens)
        logits = np.ctypeslib.as_array(
            self._library.llama_get_logits(self._context), (rows, self._vocab_tokens)
        )
        if expected is None:
            return _log_softmax(logits)[0]
        found: list[float] = []
        for row in range(0, rows, ROWS_AT_ONCE):
            logs = _log_softmax(logits[row : row + ROWS_AT_ONCE])
            wanted = expected[row : row + ROWS_AT_ONCE]
            found += logs[np.arange(len(logs)), wanted].tolist()
        return found


def _log_softmax(logits: Any) -> Any:
    above = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return above - np.log(np.exp(above).sum(axis=1, keepdims=True))


def _library() -> Any:
    """Load the wheel's library again, as C; raises EngineError if it exports too little."""
    import xllamacpp.xllamacpp as wheel  # noqa: PLC0415 - only here, as it is 100 MB

    library = ctypes.CDLL(wheel.__file__)
    for name, (gives, takes) in _FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise EngineError(
                f"this xllamacpp does not export {name}, so accuracy cannot be measured with it; "
                "version 2026.10 does"
            ) from error
        function.restype, function.argtypes = gives, takes
    return library
