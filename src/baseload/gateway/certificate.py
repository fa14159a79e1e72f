"""When does the certificate end that callers are shown?

The standard library says so only of certificates of authorities, and of a peer's, so the few bytes
that tell are found here: a certificate is nested pieces (DER), each with a kind, a length and what
is in it, and its time stands at a fixed place.

Not here: whether a certificate is any good. TLS has loaded it before anybody asks.
"""

import re
import ssl
from calendar import timegm
from collections.abc import Callable, Iterator
from pathlib import Path
from time import strptime

from prometheus_client.core import GaugeMetricFamily, Metric

_FIRST = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION = 0xA0
_UTC_TIME = 0x17
_VALIDITY = 3
"""Its place, after the serial number, the kind of signature and the issuer."""


class CertificateMetrics:
    """A collector for `prometheus_client` registries; it shows nothing where there is no TLS."""

    def __init__(self, ends_at: Callable[[], float | None]) -> None:
        """`ends_at` gives when the certificate ends that new connections are shown."""
        self._ends_at = ends_at

    def collect(self) -> Iterator[Metric]:
        """Give the end, in seconds since 1970."""
        if (ends_at := self._ends_at()) is not None:
            yield GaugeMetricFamily(
                "baseload_certificate_expires_seconds",
                "When the certificate ends that callers are shown, in seconds since 1970.",
                value=ends_at,
            )


def end_of(path: str) -> float | None:
    """Give when the first certificate of a PEM file ends; None if that cannot be read."""
    try:
        found = _FIRST.search(Path(path).read_text(encoding="ascii", errors="replace"))
        return None if found is None else end_of_der(ssl.PEM_cert_to_DER_cert(found[0]))
    except (OSError, ValueError, IndexError):
        return None


def end_of_der(der: bytes) -> float:
    """Give when a certificate ends, in seconds since 1970; ValueError or IndexError: it is none."""
    (_, certificate), *_ = _pieces(der)
    (_, signed), *_ = _pieces(certificate)
    fields = [piece for kind, piece in _pieces(signed) if kind != _VERSION]
    _, (kind, text) = _pieces(fields[_VALIDITY])
    shown = text.decode("ascii")
    if kind == _UTC_TIME:  # With two digits of the year, which stand for 1950 to 2049.
        shown = ("20" if shown < "50" else "19") + shown
    return float(timegm(strptime(shown, "%Y%m%d%H%M%SZ")))


def _pieces(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Give what stands side by side: the kind of each piece, and what is in it."""
    at = 0
    while at < len(der):
        kind, size, at = der[at], der[at + 1], at + 2
        if size >= 0x80:  # So many bytes tell the length.
            digits = size - 0x80
            size, at = int.from_bytes(der[at : at + digits]), at + digits
        if at + size > len(der):
            raise ValueError("cut off")
        yield kind, der[at : at + size]
        at += size
