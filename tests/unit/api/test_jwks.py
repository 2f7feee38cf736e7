"""Key sets: what is taken from them, when they are read, and what becomes of tokens when they cannot be."""

import json
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from api.jwks import ALGORITHMS, FETCH_TIMEOUT, MIN_INTERVAL, Keys, KeySet, NoKeySet, read_keys
from api.keys import NoSuchKey
from api.problems import Problem
from tests.support.issuer import EC, ED, RSA, jwk, key_set

REFRESH = 600.0
OTHER = ec.generate_private_key(ec.SECP256R1())
DAY = 86_400.0


def read(*keys: object, algorithms: tuple[str, ...] = ALGORITHMS) -> Keys:
    return read_keys(key_set(*keys), algorithms)


class Server:
    """A key server; `answer` is what it gives, raises or waits for."""

    def __init__(self, *keys: object) -> None:
        self.answer: bytes | Exception | Callable[[], Awaitable[bytes]] = key_set(*keys)
        self.fetches: list[float] = []

    async def fetch(self) -> bytes:
        self.fetches.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if isinstance(self.answer, bytes) else await self.answer()


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[KeySet]:
    """Give a key set that has made its first fetch."""
    keys = KeySet(server.fetch, algorithms=ALGORITHMS, refresh=REFRESH)
    async with trio.open_nursery() as nursery:
        await nursery.start(keys.serve)
        await trio.testing.wait_all_tasks_blocked()
        yield keys
        nursery.cancel_scope.cancel()


async def refused(keys: KeySet, kid: str | None = "unknown") -> bool:
    with pytest.raises(NoSuchKey):
        await keys.key("ES256", kid)
    return True


# What is in a set.


def test_keys_of_each_kind_are_found_by_algorithm_and_name() -> None:
    keys = read(jwk(RSA, "a"), jwk(EC, "b", alg="ES256"), jwk(ED, "c", alg="EdDSA", use=None))
    assert keys.find("RS256", "a") == RSA.public_key()
    assert keys.find("ES256", "b") == EC.public_key()
    assert keys.find("EdDSA", "c") == ED.public_key()
    assert keys.find("ES256", "a") is None
    assert keys.find("RS256", "") is None
    assert (keys.count, keys.ignored) == (3, {})


@pytest.mark.parametrize("alg", [None, "EdDSA", "Ed25519", "Ed448"])
def test_edwards_curves_have_several_names(alg: str | None) -> None:
    key = ed448.Ed448PrivateKey.generate() if alg == "Ed448" else ed25519.Ed25519PrivateKey.generate()
    assert read(jwk(key, "k", alg=alg)).find("EdDSA", "k") == key.public_key()


def test_a_token_without_a_name_needs_a_key_that_is_alone() -> None:
    assert read(jwk(RSA, "a"), jwk(EC)).find("ES256", None) == EC.public_key()
    assert read(jwk(EC, "a"), jwk(OTHER)).find("ES256", None) is None
    assert read(jwk(EC, "a"), jwk(OTHER, "a")).find("ES256", None) is None
    assert read(jwk(EC)).find("ES256", "a") is None


def test_of_two_keys_with_one_name_the_first_counts() -> None:
    assert read(jwk(EC, "a"), jwk(OTHER, "a")).find("ES256", "a") == EC.public_key()


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"kty": "oct", "k": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IQ"}, "symmetric"),
        ({"kty": "oct", "k": "AAAA", "alg": "RS256", "kid": "a"}, "symmetric"),
        (jwk(RSA, use="enc"), "not for signatures"),
        (jwk(RSA, use=["sig"]), "not for signatures"),
        (jwk(RSA, key_ops=["encrypt", "sign"]), "not for signatures"),
        (jwk(RSA, key_ops="verify"), "not for signatures"),
        (jwk(RSA, alg="RSA-OAEP"), "for another algorithm"),
        (jwk(RSA, alg="PS256"), "for another algorithm"),
        (jwk(RSA, alg="HS256"), "for another algorithm"),
        (jwk(RSA, alg="none"), "for another algorithm"),
        (jwk(EC, alg="RS256"), "for another algorithm"),
        (jwk(EC, alg=["ES256"]), "for another algorithm"),
        (jwk(EC, alg=5), "for another algorithm"),
        (jwk(RSA) | {"n": "g" + "A" * 169 + "AB"}, "weak RSA"),
        (jwk(RSA) | {"n": "_" * 22_000}, "of an unknown kind"),
        (jwk(ec.generate_private_key(ec.SECP384R1())), "of an unknown kind"),
        ({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}, "of an unknown kind"),
        ({"kty": ["RSA"]}, "of an unknown kind"),
        ({"kty": {}}, "of an unknown kind"),
        ({}, "of an unknown kind"),
        ("RSA", "malformed"),
        (None, "malformed"),
        (jwk(RSA) | {"kid": 5}, "malformed"),
        (jwk(RSA) | {"kid": ["a"]}, "malformed"),
        (jwk(RSA) | {"n": 5}, "malformed"),
        (jwk(RSA) | {"n": ""}, "malformed"),
        (jwk(RSA) | {"n": "é"}, "malformed"),
        (jwk(RSA) | {"e": "AA"}, "malformed"),
        (jwk(EC) | {"x": "AAAA"}, "malformed"),
        (jwk(EC) | {"x": jwk(OTHER)["x"]}, "malformed"),
        (jwk(EC) | {"crv": "P-1"}, "malformed"),
        (jwk(ED) | {"x": "AAAA"}, "malformed"),
        ({"kty": "OKP", "crv": "X25519", "x": jwk(ED)["x"]}, "malformed"),
        ({"kty": "EC", "crv": "P-256"}, "malformed"),
        (jwk(RSA, private=True), "with its private part published (let the issuer replace it)"),
        (jwk(EC, private=True), "with its private part published (let the issuer replace it)"),
    ],
)
def test_keys_that_prove_nothing_are_left_out(entry: object, reason: str) -> None:
    keys = read(entry, jwk(ED, "good"))
    assert (keys.count, keys.ignored) == (1, {reason: 1})
    assert keys.find("EdDSA", "good") == ED.public_key()
    with pytest.raises(NoKeySet, match="let the issuer publish one"):
        read(entry)


def test_keys_for_algorithms_that_are_not_accepted_are_left_out() -> None:
    keys = read(jwk(RSA, "a"), jwk(EC, "b"), algorithms=("RS256",))
    assert keys.find("ES256", "b") is None
    assert keys.ignored == {"for another algorithm": 1}
    with pytest.raises(NoKeySet, match=r"no key for EdDSA \(1 for another algorithm\).*auth\.algorithms"):
        read(jwk(RSA, "a"), algorithms=("EdDSA",))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>not here</html>",
        b"[]",
        b"null",
        b"5",
        b'"keys"',
        b"{}",
        b'{"keys": {}}',
        b'{"keys": null}',
        b'{"keys": [' + b"[" * 100_000,
        b'{"keys": ' + b"9" * 5_000 + b"}",
        b'{"keys": "\xff"}',
        b'{"keys": []',
        b"\x00",
        json.dumps(jwk(RSA)).encode(),
        b'{"keys": []}',
        b'{"keys": [[], 1, "a"]}',
    ],
)
def test_what_is_no_key_set_is_said_to_be_none(document: bytes) -> None:
    with pytest.raises(NoKeySet, match=r"set auth\.jwks_url to|let the issuer publish"):
        read_keys(document, ALGORITHMS)


MEMBERS = ["kty", "kid", "use", "key_ops", "alg", "n", "e", "crv", "x", "y", "d"]
TEXTS = ["RSA", "EC", "OKP", "P-256", "Ed25519", "sig", "verify", "RS256", "AQAB", jwk(EC)["x"], jwk(EC)["y"]]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(TEXTS) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=9),
)


@given(st.lists(st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=9) | VALUES, max_size=4))
def test_no_key_set_breaks_it(keys: list[Any]) -> None:
    with suppress(NoKeySet):
        read(*keys)


@given(st.binary(max_size=100))
def test_no_bytes_break_it(document: bytes) -> None:
    with pytest.raises(NoKeySet):
        read_keys(document, ALGORITHMS)


# When it is read.


async def test_the_set_is_read_at_the_start_and_kept(autojump_clock: MockClock) -> None:
    server = Server(jwk(EC, "a"), jwk(RSA, "b"))
    async with serving(server) as keys:
        assert len(server.fetches) == 1
        for _ in range(100):
            assert await keys.key("ES256", "a") == EC.public_key()
            assert await keys.key("RS256", None) == RSA.public_key()
        await trio.sleep(REFRESH - 1)
        await keys.key("ES256", "a")
    assert len(server.fetches) == 1
    assert [name for name in (*ALGORITHMS, "HS256", "none") if keys.serves(name)] == list(ALGORITHMS)


async def test_an_old_set_is_read_again_while_nobody_waits_for_it(mock_clock: MockClock) -> None:
    server = Server(jwk(EC, "a"))
    async with serving(server) as keys:
        mock_clock.jump(REFRESH)
        gate = trio.Event()

        async def slow() -> bytes:
            await gate.wait()
            return key_set(jwk(OTHER, "a"))

        server.answer = slow
        # The clock stands still, so that this would hang if it waited.
        assert await keys.key("ES256", "a") == EC.public_key()
        await trio.testing.wait_all_tasks_blocked()
        assert len(server.fetches) == 2
        assert await keys.key("ES256", "a") == EC.public_key()
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await keys.key("ES256", "a") == OTHER.public_key()
    assert len(server.fetches) == 2


async def test_a_key_that_is_withdrawn_is_gone_with_the_next_reading(autojump_clock: MockClock) -> None:
    server = Server(jwk(EC, "a"))
    async with serving(server) as keys:
        server.answer = key_set(jwk(OTHER, "b"))
        await trio.sleep(REFRESH)
        await keys.key("ES256", "a")
        await trio.testing.wait_all_tasks_blocked()
        assert await refused(keys, "a")


async def test_requests_with_an_unknown_key_share_one_fetch(autojump_clock: MockClock) -> None:
    server = Server(jwk(EC, "a"))
    found = []

    async def slow() -> bytes:
        await trio.sleep(3)
        return key_set(jwk(EC, "a"), jwk(OTHER, "b"))

    async with serving(server) as keys:
        await trio.sleep(MIN_INTERVAL)
        server.answer = slow

        async def ask() -> None:
            found.append(await keys.key("ES256", "b"))

        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert found == []
            assert await keys.key("ES256", "a") == EC.public_key()  # needs no fetch, so waits for none
            assert found == []
    assert found == [OTHER.public_key()] * 1000
    assert len(server.fetches) == 2


async def test_a_flood_of_unknown_keys_makes_one_fetch_a_minute(autojump_clock: MockClock) -> None:
    server = Server(jwk(EC, "a"))
    async with serving(server) as keys:
        for number in range(1000):
            assert await refused(keys, f"made up {number}")
            await trio.sleep(1)
    gaps = [later - earlier for earlier, later in zip(server.fetches, server.fetches[1:], strict=False)]
    assert len(gaps) == 16
    assert min(gaps) >= MIN_INTERVAL


@pytest.mark.parametrize(
    "answer", [NoKeySet("away; wait"), b"<html>", b'{"keys": []}'], ids=["down", "garbage", "empty"]
)
async def test_an_outage_lasts_as_long_as_it_likes(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, answer: bytes | Exception
) -> None:
    server = Server(jwk(EC, "a"))
    async with serving(server) as keys:
        server.answer = answer
        for _ in range(30):
            await trio.sleep(DAY)
            for _ in range(20):
                assert await keys.key("ES256", "a") == EC.public_key()
                assert await refused(keys)  # does not fetch again: what failed counts
        assert len(server.fetches) == 31
        warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warned) == 30
        assert all("auth.jwks_url" in line and ";" in line and "stay in use" in line for line in warned)

        server.answer = key_set(jwk(OTHER, "b"))
        await trio.sleep(MIN_INTERVAL)
        assert await keys.key("ES256", "b") == OTHER.public_key()


async def test_without_any_set_ever_requests_are_told_when_to_come_again(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    server.answer = NoKeySet("the key server is away; start it")
    async with serving(server) as keys:
        known_before = keys.is_known
        await trio.sleep(20.5)
        with pytest.raises(Problem) as caught:
            await keys.key("ES256", "a")
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "40"})
        assert "start it; until there are some" in caplog.text
        server.answer = key_set(jwk(EC, "a"))
        # No request asks, as the daemon is not ready: it finds out by itself.
        await trio.sleep(40)
        assert (known_before, keys.is_known) == (False, True)
        assert await keys.key("ES256", "a") == EC.public_key()
    assert len(server.fetches) == 2


async def test_the_first_requests_wait_for_the_first_set(autojump_clock: MockClock) -> None:
    server = Server()

    async def slow() -> bytes:
        await trio.sleep(5)
        return key_set(jwk(EC, "a"))

    server.answer = slow
    async with serving(server) as keys:
        assert await keys.key("ES256", "a") == EC.public_key()
    assert len(server.fetches) == 1


async def test_a_key_server_that_hangs_holds_nobody_for_longer_than_the_timeout(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()

    async def hang() -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    server.answer = hang
    async with serving(server) as keys:
        start = trio.current_time()
        with pytest.raises(Problem) as caught:
            await keys.key("ES256", "a")
        assert trio.current_time() - start <= FETCH_TIMEOUT
        assert caught.value.headers == {"Retry-After": str(math.ceil(MIN_INTERVAL - FETCH_TIMEOUT))}
        await trio.testing.wait_all_tasks_blocked()
        assert "did not answer in time" in caplog.text
        server.answer = key_set(jwk(EC, "a"))
        await trio.sleep(MIN_INTERVAL)
        assert await keys.key("ES256", "a") == EC.public_key()

        server.answer = hang
        start = trio.current_time()
        await trio.sleep(MIN_INTERVAL)
        assert await refused(keys)
        assert trio.current_time() - start <= MIN_INTERVAL + FETCH_TIMEOUT
        assert await keys.key("ES256", "a") == EC.public_key()


async def test_nothing_that_serves_holds_nobody_either(autojump_clock: MockClock) -> None:
    keys = KeySet(Server(jwk(EC, "a")).fetch, algorithms=ALGORITHMS, refresh=REFRESH)
    with pytest.raises(Problem):
        await keys.key("ES256", "a")
    assert trio.current_time() >= FETCH_TIMEOUT


async def test_a_request_that_leaves_does_not_take_the_fetch_with_it(mock_clock: MockClock) -> None:
    server = Server(jwk(EC, "a"))
    async with serving(server) as keys:
        mock_clock.jump(MIN_INTERVAL)
        gate = trio.Event()

        async def slow() -> bytes:
            await gate.wait()
            return key_set(jwk(OTHER, "b"))

        server.answer = slow
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keys.key, "ES256", "b")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await keys.key("ES256", "b") == OTHER.public_key()
    assert len(server.fetches) == 2


async def test_changes_of_the_set_are_logged_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookd.api")
    server = Server(jwk(EC, "a"), jwk(RSA, "x", use="enc"))
    async with serving(server) as keys:
        for _ in range(3):
            await trio.sleep(MIN_INTERVAL)
            assert await refused(keys)
        server.answer = key_set(jwk(OTHER, "a"))
        await trio.sleep(MIN_INTERVAL)
        assert await refused(keys)
    assert len(server.fetches) == 5
    assert [record.getMessage() for record in caplog.records] == [
        "keys for tokens: 1; ignored: 1 not for signatures",
        "keys for tokens: 1; ignored: none",
    ]
