"""When a certificate ends, found in real ones and in what is none."""

import shutil
import ssl
import subprocess
from time import time

import pytest

from baseload.gateway.certificate import CertificateMetrics, end_of, end_of_der
from tests.needs import give_up

DAYS = (2, 10_000, 40_000)
"""This century's years have two digits until 2049, and four later; the last is in the next one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make certificates that end after so many days, by openssl."""
    if shutil.which("openssl") is None:
        give_up("openssl, to make certificates with")
    place = tmp_path_factory.mktemp("papers")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x"
    )
    for days in DAYS:
        files = ("-keyout", place / f"{days}.key", "-out", place / f"{days}.pem")
        subprocess.run(
            [*command.split(), "-days", str(days), *files], check=True, capture_output=True
        )
    return place


def told(path):
    """Give what openssl says of it."""
    command = ("openssl", "x509", "-noout", "-enddate", "-in", path)
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(ssl.cert_time_to_seconds(text.strip().removeprefix("notAfter=")))


@pytest.mark.parametrize("days", DAYS)
def test_the_end_is_the_one_that_openssl_tells(folder, days):
    """To the second, in whichever of both forms it is written; and it is so far away."""
    path = folder / f"{days}.pem"

    assert told(path) == end_of(path)
    assert days * 86_400 == pytest.approx(end_of(path) - time(), abs=120)


def test_of_a_chain_the_first_counts(folder, tmp_path):
    """What a server shows as its own comes first, also behind its key and a remark."""
    parts = (folder / name for name in ("10000.key", "10000.pem", "2.pem"))
    (tmp_path / "all.pem").write_text("own:\n" + "".join(part.read_text() for part in parts))

    assert told(folder / "10000.pem") == end_of(tmp_path / "all.pem")


def test_what_is_no_certificate_has_no_end(folder, tmp_path):
    """A file that is not there, a key, and every beginning of a certificate: None, or an error."""
    der = ssl.PEM_cert_to_DER_cert((folder / "2.pem").read_text())
    (tmp_path / "odd.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    )

    assert [None] * 3 == [
        end_of(path) for path in (tmp_path / "none.pem", folder / "2.key", tmp_path / "odd.pem")
    ]
    for size in range(0, len(der), 7):
        with pytest.raises((ValueError, IndexError)):
            end_of_der(der[:size])


def test_without_tls_nothing_is_shown():
    """A gauge of 0 would have ended in 1970."""
    assert [] == list(CertificateMetrics(lambda: None).collect())
    assert [5.0] == [
        sample.value for one in CertificateMetrics(lambda: 5.0).collect() for sample in one.samples
    ]
