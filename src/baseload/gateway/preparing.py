"""What is made of the fleet file before anything runs by it: a setup for deciding, TLS for callers.

Whatever here can fail, fails before a gateway has changed: a reload makes these things first.
"""

import ssl
from math import ceil

from msgspec import structs

from baseload.config.fleet import Fleet
from baseload.config.serving import Batch
from baseload.core.setup import Setup
from baseload.errors import BaseloadError
from baseload.gateway.certificate import end_of

URL_CONCURRENCY = 256
"""Calls at once to a URL whose `concurrency` is not given, to begin with."""
URL_CONCURRENCY_MAX = 4096
"""What the limit of such a URL may grow to, if it bears it."""


def setup_of(
    fleet: Fleet,
    known: dict[str, int],
    seed: int,
    epochs: dict[str, int] | None = None,
    workers: int = 1,
) -> Setup:
    """Reduce a fleet to what decisions need; `known` are limits that are known better.

    Of so many `workers` it is one, whose part the limits in `known` are already.
    """
    batches = {name: _part(batch, workers) for name, batch in batches_of(fleet).items()}
    concurrency = {
        name: known.get(name) or backend.concurrency or URL_CONCURRENCY
        for name, backend in fleet.backends.items()
    }
    return Setup(
        models=fleet.models,
        concurrency={
            name: min(number, batches[name].max) if name in batches else number
            for name, number in concurrency.items()
        },
        ceilings={
            name: URL_CONCURRENCY_MAX
            for name, backend in fleet.backends.items()
            if backend.url is not None and backend.concurrency is None and name not in batches
        },
        batches=batches,
        workers=workers,
        accounts={
            name: backend.account for name, backend in fleet.backends.items() if backend.account
        },
        cold_starts={
            name: backend.cold_start_s
            for name, backend in fleet.backends.items()
            if backend.cold_start_s
        },
        queue=fleet.queue,
        overload=fleet.overload,
        down=tuple(name for name, item in fleet.backends.items() if item.engine is not None),
        epochs=epochs or {},
        seed=seed,
    )


def batches_of(fleet: Fleet) -> dict[str, Batch]:
    """Give who learns how much it is given at once: whoever says so, and engines of our own."""
    return {
        name: backend.batch or Batch()
        for name, backend in fleet.backends.items()
        if backend.batch is not None or (backend.engine is not None and backend.url is None)
    }


def _part(batch: Batch, workers: int) -> Batch:
    """Give the part of a batch that one of so many workers has; one of anything is the least."""
    prefill, kv = batch.prefill_tokens, batch.kv_tokens
    return structs.replace(
        batch,
        min=ceil(batch.min / workers),
        max=ceil(batch.max / workers),
        prefill_tokens=None if prefill is None else ceil(prefill / workers),
        kv_tokens=None if kv is None else max(kv // workers, 1),
    )


def tls_of(fleet: Fleet) -> ssl.SSLContext | None:
    """Give what the callers' port shows, or None for plain HTTP; raises BaseloadError."""
    if fleet.tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    show(context, fleet)
    return context


def show(context: ssl.SSLContext, fleet: Fleet) -> None:
    """Have new connections shown the fleet's certificate; raises BaseloadError."""
    assert fleet.tls is not None
    cert, key = fleet.tls.cert, fleet.tls.key
    try:
        context.load_cert_chain(cert, key, password="")  # Never ask on the terminal.
    except OSError as error:
        reason = error.strerror or error
        raise BaseloadError(f"tls: {cert} and {key} cannot be used: {reason}") from error


def certificate_end_of(fleet: Fleet) -> float | None:
    """Give when the certificate ends that callers are shown; None: there is none to see."""
    return None if fleet.tls is None else end_of(fleet.tls.cert)
