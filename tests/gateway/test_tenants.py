"""Who is let in: headers against keys, without a socket."""

import hashlib
import logging
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.config.fleet import Fleet, Model, Target
from baseload.config.tenancy import Key, Limits, begin_of
from baseload.core.facts import BATCH, DEFAULT, INTERACTIVE
from baseload.gateway.tenants import HEADER_BYTES_MAX, REMEMBERED_MAX, Tenants
from baseload.store.keys import Pass, new_secret
from tests.gateway.harness import fleet_of

SECRET = "bl-" + "s" * 43
NOBODY = fleet_of()


class Clock:
    now = begin_of("2026-11-26")

    def __call__(self) -> float:
        return self.now


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def key(name: str = "a", secret: str = SECRET, **terms) -> Key:
    return Key(name=name, sha256=digest(secret), **terms)


def bearer(secret: str) -> bytes:
    return f"Bearer {secret}".encode()


def fleet_with(*keys: Key, **models: Limits) -> Fleet:
    """Give a fleet with keys, and models of these names and limits."""
    tier = ({"b": Target(backend="b", model="m")},)
    named = {name: Model(name=name, tiers=tier, limits=one) for name, one in models.items()}
    return fleet_of(keys=keys, models=named or {"m": Model(name="m", tiers=tier)})


def test_without_keys_all_are_told_apart_and_let_in():
    """Equal headers are one tenant, others another; all may ask for any class, and any model."""
    tenants = Tenants(NOBODY)
    a, b, nothing = (tenants.find(header) for header in (b"Bearer a", b"Bearer b", b""))

    assert tenants.is_open
    assert a is tenants.find(b"Bearer a")
    assert 3 == len({a.name, b.name, nothing.name})
    assert ("", "", INTERACTIVE, DEFAULT, None) == (
        nothing.name, a.label, a.priority, a.usual, a.models,
    )  # fmt: skip
    assert a.name != Tenants(NOBODY).find(b"Bearer a").name


def test_with_keys_the_holder_alone_is_let_in():
    """The right token after `Bearer` is known, whatever the case of that word; nothing else is."""
    tenants = Tenants(fleet_with(key(priority="batch", models=("m",))))
    found = tenants.find(bearer(SECRET))

    assert ("a", "a", BATCH, BATCH, {"m"}) == (
        found.name, found.label, found.priority, found.usual, found.models,
    )  # fmt: skip
    assert found is tenants.find(bearer(SECRET))
    for header in (f"bearer {SECRET}", f"BEARER   {SECRET}", f"Bearer \t{SECRET}"):
        assert "a" == tenants.find(header.encode()).name


HOSTILE = [
    b"",
    b"Bearer",
    b"Bearer ",
    b"Bearer  ",
    b" ",
    SECRET.encode(),
    b"Basic " + SECRET.encode(),
    b"Bearer" + SECRET.encode(),
    b"Token " + SECRET.encode(),
    bearer(SECRET) + b"x",
    bearer(SECRET)[:-1],
    bearer(SECRET) + b"\x00",
    b"\x00" + bearer(SECRET),
    bearer(SECRET) + b", " + bearer(SECRET),
    bearer(SECRET) + b" " + SECRET.encode(),
    bearer(SECRET.upper()),
    bearer(digest(SECRET)),
    b"Bearer " + hashlib.sha256(SECRET.encode()).digest(),
    "Bearer ключ".encode(),
    b"Bearer \xff\xfe",
    b"Bearer " + b"x" * 100_000,
    b"Bearer None",
]


@pytest.mark.parametrize("header", HOSTILE, ids=range(len(HOSTILE)))
def test_headers_that_open_nothing(header):
    """Other schemes, parts of a key, its hash, two keys, nothing at all: nobody, and no error."""
    tenants = Tenants(fleet_with(key()))

    assert tenants.find(header) is None
    assert tenants.find(header) is None
    assert SECRET not in tenants.why_not(header)


def test_the_hash_of_nothing_opens_nothing():
    """Even a key that was made of an unset variable is not opened by an empty token."""
    tenants = Tenants(fleet_with(key(secret="")))

    assert [None] * 3 == [tenants.find(header) for header in (b"", b"Bearer", b"Bearer ")]


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([b"", b"Bearer ", b"bearer ", b"Basic "]))
def test_no_token_but_the_right_one_is_accepted(token, scheme):
    """Whatever is sent, only the key itself is let in, and a refusal remembers nothing."""
    tenants = Tenants(fleet_with(key()))
    found = tenants.find(scheme + token)

    assert (found is not None) == (
        (scheme + token).partition(b" ")[0].lower() == b"bearer"
        and (scheme + token).partition(b" ")[2].strip(b" \t") == SECRET.encode()
    )
    assert not tenants.known


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 42), st.integers(1, 255))
def test_a_token_that_differs_in_one_sign_is_not_accepted(at, flip):
    """Each sign counts."""
    tenants = Tenants(fleet_with(key()))
    token = bytearray(SECRET.encode())
    token[3 + at] ^= flip

    assert tenants.find(b"Bearer " + bytes(token)) is None
    assert "a" == tenants.find(bearer(SECRET)).name


def test_what_strangers_send_is_not_remembered():
    """A flood of wrong tokens takes no memory, and drives out nobody who is known."""
    tenants = Tenants(fleet_with(key()))
    found = tenants.find(bearer(SECRET))
    for number in range(3 * REMEMBERED_MAX):
        tenants.find(b"Bearer %d" % number)

    assert {bearer(SECRET): found} == tenants.known


@pytest.mark.parametrize("fleet", [NOBODY, fleet_with(key())])
def test_what_is_remembered_is_bounded(fleet):
    """One who may come in can write a header in many ways; that fills a bounded place only."""
    tenants = Tenants(fleet)
    for number in range(2 * REMEMBERED_MAX):
        header = b"Bearer" + b" " * (number % 480 + 1) + SECRET.encode()
        assert tenants.find(header.swapcase() if fleet is NOBODY else header) is not None
        tenants.find(b"Bearer %d" % number)
    tenants.find(b"Bearer " + b" " * HEADER_BYTES_MAX + SECRET.encode())

    assert len(tenants.known) <= REMEMBERED_MAX
    assert max(map(len, tenants.known)) <= HEADER_BYTES_MAX


def test_a_key_ends_on_its_day():
    """It is good until that day begins in UTC; a remembered caller is forgotten by a tick."""
    clock = Clock()
    tenants = Tenants(fleet_with(key(expires="2026-11-27")), clock)
    clock.now = begin_of("2026-11-27") - 1
    tenants.tick()

    assert "a" == tenants.find(bearer(SECRET)).name
    clock.now += 1
    tenants.tick()
    assert tenants.find(bearer(SECRET)) is None
    assert "This API key has expired." == tenants.why_not(bearer(SECRET))


def test_a_stored_key_ends_with_its_grace_or_its_day():
    """Whichever comes first; the holder is told which, and strangers are told nothing of it."""
    clock = Clock()
    now = clock.now
    secrets = [new_secret() for _ in range(4)]
    names = [key(str(n), secret) for n, secret in enumerate(secrets)]
    tenants = Tenants(NOBODY, clock)
    tenants.replace(
        [
            Pass(names[0], now + 10),
            Pass(names[1], now - 10, is_revoked=True),
            Pass(key("2", secrets[2], expires="2026-11-25"), now + 10),
            Pass(names[3]),
        ]
    )
    first = [tenants.find(bearer(secret)) for secret in secrets]
    clock.now += 10
    tenants.tick()

    assert ["0", None, None, "3"] == [found and found.name for found in first]
    assert [None, None, None, "3"] == [
        found and found.name for found in map(tenants.find, map(bearer, secrets))
    ]
    assert [
        "This API key was replaced by a newer one.",
        "This API key was revoked.",
        "This API key has expired.",
        "Incorrect API key provided.",
    ] == [tenants.why_not(bearer(secret)) for secret in [*secrets[:3], "x"]]
    assert "did not show an API key" in tenants.why_not(b"")


def test_changes_hold_at_once():
    """What was remembered of a caller is forgotten when the store's keys change."""
    tenants = Tenants(NOBODY)
    tenants.replace([Pass(key(priority="batch"))])
    before = tenants.find(bearer(SECRET))
    tenants.replace([Pass(key(models=("m",)))])
    after = tenants.find(bearer(SECRET))
    tenants.replace([])

    assert (BATCH, None) == (before.priority, before.models)
    assert (DEFAULT, {"m"}) == (after.priority, after.models)
    assert tenants.find(bearer(SECRET)) is None


def test_a_closed_door_does_not_open_by_itself():
    """When the last key is taken away, nobody comes in; revoked keys alone never closed it."""
    tenants = Tenants(NOBODY)
    tenants.replace([Pass(key(), 1.0, is_revoked=True)])
    assert tenants.is_open
    tenants.replace([Pass(key())])
    assert not tenants.is_open
    for stored in ([Pass(key(), 1.0, is_revoked=True)], []):
        tenants.replace(stored)

        assert not tenants.is_open
        assert tenants.find(b"") is tenants.find(bearer(SECRET)) is None
    tenants.reload(NOBODY)
    assert not tenants.is_open


def test_an_expired_key_closes_the_door_too():
    """Forgetting to renew it locks its holder out, and lets nobody in."""
    assert not Tenants(fleet_with(key(expires="2020-01-01"))).is_open


def test_a_name_in_the_file_is_the_files_alone(caplog: pytest.LogCaptureFixture):
    """The store's key of that name lets nobody in, which the log says; names never share limits."""
    other = new_secret()
    tenants = Tenants(fleet_with(key("a")))
    with caplog.at_level(logging.WARNING):
        tenants.replace([Pass(key("a", other)), Pass(key("b", new_secret()))])

    assert tenants.find(bearer(other)) is None
    assert "a" == tenants.find(bearer(SECRET)).name
    assert "key a: the fleet file has one of this name" in caplog.text
    assert other not in caplog.text


def test_limits_are_gathered_for_each_model():
    """Those of the key, of the key's use of a model, and of the model; models without are absent."""
    one = key("a", rpm=5, per_model={"m": Limits(tpm=7)}, models=("m", "n"))
    two = key("b", "other", models=("n",))
    tenants = Tenants(fleet_with(one, two, m=Limits(), n=Limits(), o=Limits(concurrency=2)))
    a, b = tenants.find(bearer(SECRET)), tenants.find(b"Bearer other")

    assert {"m": 2, "n": 1} == {name: len(scopes) for name, scopes in a.scopes.items()}
    assert {} == b.scopes
    assert 1 == len(Tenants(fleet_with(m=Limits(rpm=1))).find(b"").scopes["m"])


def test_work_that_was_put_off_finds_its_tenant_by_name():
    """As long as that key is good; without keys there is one nameless tenant."""
    clock = Clock()
    tenants = Tenants(fleet_with(key(expires="2026-11-27", rpm=1)), clock)

    assert ("a", ["m"]) == (tenants.named("a").label, list(tenants.named("a").scopes))
    assert tenants.named("b") is tenants.named("") is None
    clock.now += 86400
    assert tenants.named("a") is None
    assert "" == Tenants(NOBODY).named("").label


def test_another_fleet_file_brings_other_keys():
    """A reload takes its keys and models, and keeps the store's."""
    stored, other = new_secret(), new_secret()
    tenants = Tenants(fleet_with(key()))
    tenants.replace([Pass(key("s", stored))])
    tenants.reload(fleet_with(key("b", other)))

    assert [None, "b", "s"] == [
        found and found.name for found in map(tenants.find, map(bearer, (SECRET, other, stored)))
    ]
    assert inf == tenants._next_end
