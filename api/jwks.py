"""The issuer's key set (RFC 7517): read over the network, kept, and read again when it is old or lacks a key.

One task makes all fetches, so that a request which is cancelled, or a thousand at once, change nothing about
when the key server is asked: never twice within a minute, whatever tokens come and whatever it answered.
"""

import json
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import trio
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from api.keys import AsymmetricKey, NoSuchKey, fits, is_weak
from api.problems import unavailable

logger = logging.getLogger("hookd.api")

ALGORITHMS = ("RS256", "ES256", "EdDSA")
MIN_INTERVAL = 60.0
"""Seconds between the beginnings of two fetches, at least."""
FETCH_TIMEOUT = 10.0
"""Seconds that a fetch may take, and that a request waits for one."""

_RSA_MAX_BITS = 16_384  # OpenSSL checks no signature by a longer one
_NAMES = {"EdDSA": ("EdDSA", "Ed25519", "Ed448")}  # RFC 9864 names the curve
_READERS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}

Fetch = Callable[[], Awaitable[bytes]]


class NoKeySet(Exception):
    """There is no key set to be had; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The usable keys of a set. `named`: by algorithm and `kid`; `alone`: of algorithms with just one key.

    `count` is of all usable ones; `ignored` counts what was left out, by the reason.
    """

    named: Mapping[tuple[str, str], AsymmetricKey]
    alone: Mapping[str, AsymmetricKey]
    count: int
    ignored: Mapping[str, int]

    def find(self, algorithm: str, kid: str | None) -> AsymmetricKey | None:
        """Return the key for a token's header, if there is one and only one."""
        return self.alone.get(algorithm) if kid is None else self.named.get((algorithm, kid))


class KeySet:
    """Keys from a key set that `fetch` reads, which raises `NoKeySet`; `serve` must run for it.

    `algorithms`: those of tokens that are accepted. `refresh`: seconds after which a token makes the set be
    read again, without waiting for it. What cannot be read changes nothing: the keys from before stay in use
    for as long as that lasts.
    """

    def __init__(self, fetch: Fetch, *, algorithms: Collection[str], refresh: float) -> None:
        self._fetch = fetch
        self._algorithms = algorithms
        self._refresh = refresh
        self._keys: Keys | None = None
        self._began = -math.inf  # when the last fetch did
        self._read = -math.inf  # when the keys in use were asked for
        self._wanted = trio.Event()
        self._ended: trio.Event | None = None  # is there while a fetch is wanted or under way

    @property
    def is_known(self) -> bool:
        """Whether there has ever been a key set."""
        return self._keys is not None

    def serves(self, algorithm: str) -> bool:
        """Tell whether a key set may have keys for `algorithm`: public ones, never a secret."""
        return algorithm in ALGORITHMS

    def in_use(self) -> object:
        """Return the set in use, and have it read again if it is time."""
        if self._keys is not None and trio.current_time() - self._read >= self._refresh:
            self._ask()
        return self._keys

    async def key(self, algorithm: str, kid: str | None) -> AsymmetricKey:
        """Return the key named `kid`, or without a name the only one for `algorithm`.

        A key that is not there is waited for, `FETCH_TIMEOUT` at most, if the set is being read or may be
        now. Raises `NoSuchKey`, or a 503 `Problem` for as long as there has never been a set.
        """
        self.in_use()
        found = None if self._keys is None else self._keys.find(algorithm, kid)
        if found is None:
            ended = self._ask()
            if ended is not None:
                with trio.move_on_after(FETCH_TIMEOUT):
                    await ended.wait()
            if self._keys is None:
                raise unavailable(
                    "The issuer's keys could not be read yet, so that no token can be checked; send the "
                    "request again after the seconds in Retry-After.",
                    max(1, math.ceil(self._too_early())),
                )
            found = self._keys.find(algorithm, kid)
        if found is None:
            raise NoSuchKey
        return found

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read the key set now, and again whenever that is asked for, until cancelled."""
        self._ask()
        task_status.started()
        while True:
            # Without any keys the daemon is not ready, and requests that ask may be kept from it.
            with trio.move_on_after(math.inf if self.is_known else max(0.0, self._too_early())):
                await self._wanted.wait()
            if self._ask() is None:
                continue
            self._wanted = trio.Event()
            try:
                await self._read_again()
            finally:
                if self._ended is not None:
                    self._ended.set()
                self._ended = None

    def _ask(self) -> trio.Event | None:
        """Have the set read if that may be; return what is set when the fetch that is under way has ended."""
        if self._ended is None and self._too_early() <= 0:
            self._began = trio.current_time()
            self._ended = trio.Event()
            self._wanted.set()
        return self._ended

    def _too_early(self) -> float:
        """Return the seconds until another fetch may begin; below zero where it may now."""
        return self._began + MIN_INTERVAL - trio.current_time()

    async def _read_again(self) -> None:
        try:
            with trio.fail_after(FETCH_TIMEOUT):
                document = await self._fetch()
            keys = read_keys(document, self._algorithms)
        except trio.TooSlowError:
            self._warn("the key server did not answer in time; see that it runs and can be reached")
        except NoKeySet as error:
            self._warn(str(error))
        else:
            if keys != self._keys:
                logger.info("keys for tokens: %d; ignored: %s", keys.count, _listed(keys.ignored) or "none")
            self._keys = keys
            self._read = self._began

    def _warn(self, reason: str) -> None:
        kept = "those from before stay in use" if self.is_known else "until there are some, calls get a 503"
        logger.warning("no keys for tokens from auth.jwks_url: %s; %s", reason, kept)


def read_keys(document: bytes, algorithms: Collection[str]) -> Keys:
    """Return the keys of a key set that `algorithms` can use. Error: `NoKeySet`, also where there are none.

    A set without a usable key is taken for a mistake: to withdraw every key, publish another one.
    """
    try:
        content = json.loads(document)
    except (ValueError, RecursionError):
        content = None
    entries = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise NoKeySet(
            'the answer is no key set, which is JSON with a list "keys"; set auth.jwks_url to what the'
            " issuer's metadata calls jwks_uri"
        )
    named: dict[tuple[str, str], AsymmetricKey] = {}
    fitting: dict[str, list[AsymmetricKey]] = {}
    ignored: Counter[str] = Counter()
    for entry in entries:
        try:
            algorithm, kid, key = _read_key(entry, algorithms)
        except _Ignored as error:
            ignored[str(error)] += 1
            continue
        fitting.setdefault(algorithm, []).append(key)
        if kid is not None:
            named.setdefault((algorithm, kid), key)
    if not fitting:
        raise NoKeySet(
            f"the key set has no key for {' or '.join(algorithms)} ({_listed(ignored) or 'it is empty'}); let"
            " the issuer publish one, or correct auth.algorithms"
        )
    alone = {algorithm: keys[0] for algorithm, keys in fitting.items() if len(keys) == 1}
    return Keys(named, alone, sum(map(len, fitting.values())), ignored)


def _listed(ignored: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in ignored.items())


class _Ignored(Exception):
    """A key that is left out; the text says why, so that it can follow a number."""


def _read_key(entry: object, algorithms: Collection[str]) -> tuple[str, str | None, AsymmetricKey]:
    """Return a public key with its algorithm and name. Error: `_Ignored`."""
    if not isinstance(entry, dict):
        raise _Ignored("malformed")
    kty, kid = entry.get("kty"), entry.get("kid")
    if kty == "oct":
        raise _Ignored("symmetric")
    if not isinstance(kty, str) or kty not in _PUBLIC:
        raise _Ignored("of an unknown kind")
    if not isinstance(kid, str | None):
        raise _Ignored("malformed")
    operations = entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise _Ignored("not for signatures")
    if "d" in entry:
        # Whoever can read the set can sign with it.
        raise _Ignored("with its private part published (let the issuer replace it)")
    key = _public_key({"kty": kty, **{name: entry.get(name) for name in _PUBLIC[kty]}})
    if is_weak(key):
        raise _Ignored("weak RSA")
    algorithm = next((name for name in ALGORITHMS if fits(key, name)), None)
    if algorithm is None:
        raise _Ignored("of an unknown kind")
    names = _NAMES.get(algorithm, (algorithm,))
    if algorithm not in algorithms or entry.get("alg", algorithm) not in names:
        raise _Ignored("for another algorithm")
    return algorithm, kid, key


def _public_key(jwk: dict[str, Any]) -> AsymmetricKey:
    if not all(isinstance(value, str) for value in jwk.values()):
        raise _Ignored("malformed")
    try:
        key = _READERS[jwk["kty"]](jwk)
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
        raise _Ignored("malformed") from None
    if not isinstance(key, AsymmetricKey) or (isinstance(key, RSAPublicKey) and key.key_size > _RSA_MAX_BITS):
        raise _Ignored("of an unknown kind")
    return key
