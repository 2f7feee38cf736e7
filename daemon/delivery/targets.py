"""Where deliveries go and with which keys they are signed, kept in memory by subscription and revision."""

import gc
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from daemon.delivery.request_template import RequestTemplate
from daemon.egress.errors import EgressError
from daemon.egress.url import Url, UrlRefused
from daemon.signing.secrets import SigningKey, parse_secret
from daemon.signing.vault import VaultError
from daemon.store.queue import TargetRow

logger = logging.getLogger("hookd.delivery")

MAX_TARGETS = 20_000
TIDY_AFTER = 1_000
"""Targets that took the place of others. Python's garbage collector comes when there are so many objects more
than the last time; where as many go as come that is seldom, and then it stops the process for 126 ms to look
at all that came."""


@dataclass(frozen=True, slots=True)
class Target:
    """An organisation's endpoint. `refused` says why its URL may not be sent to; then `url` is None.

    `template` is its request, None where nothing can be sent: see `unsendable`.

    `headers` are its own, sent after those of every delivery. `timeout` and the waits of `retry_schedule` are
    in seconds, None: the usual ones.
    """

    org_id: UUID
    revision: int
    url: Url | None
    refused: UrlRefused | None
    keys: tuple[SigningKey, ...]
    until: datetime | None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    timeout: float | None = None
    template: RequestTemplate | None = None
    retry_schedule: tuple[float, ...] | None = None


WriteTemplate = Callable[[Url, tuple[SigningKey, ...], tuple[tuple[bytes, bytes], ...]], RequestTemplate]
"""From URL, keys and own headers to the template, or `EgressError`."""


class Targets:
    """The least recently used beyond `most` are forgotten; so is one whose overlapping secret has expired."""

    def __init__(
        self,
        *,
        parse_url: Callable[[str], Url],
        decrypt: Callable[[bytes, UUID], str],
        write: WriteTemplate,
        now: Callable[[], float],
        most: int = MAX_TARGETS,
    ) -> None:
        self._parse_url = parse_url
        self._decrypt = decrypt
        self._write = write
        self._now = now
        self._most = most
        self._kept: OrderedDict[UUID, Target | TargetRow] = OrderedDict()
        self._replaced = 0

    def known(self, subscription_id: UUID, revision: int) -> bool:
        """Tell whether the target of this revision is at hand."""
        target = self._kept.get(subscription_id)
        if target is None or target.revision != revision:
            return False
        until = target.secrets_until if isinstance(target, TargetRow) else target.until
        return until is None or until.timestamp() > self._now()

    def learn(self, rows: Iterable[TargetRow]) -> None:
        """Keep what came from the store. Each is read when it is first sent to: many may come at once."""
        for row in rows:
            self._kept[row.subscription_id] = row
            self._kept.move_to_end(row.subscription_id)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
            self._replaced += 1
        if self._replaced >= TIDY_AFTER:
            self._replaced = 0
            gc.collect(0)

    def read(self, row: TargetRow) -> Target:
        """Return the target of a row by the rules of the moment; it is not kept.

        Where no master key opens a secret or the headers, the target has no keys.
        """
        url, refused = None, None
        try:
            url = self._parse_url(row.url)
        except UrlRefused as error:
            refused = error
        keys: tuple[SigningKey, ...] = ()
        headers: tuple[tuple[bytes, bytes], ...] = ()
        try:
            if row.headers is not None:
                headers = _fields(self._decrypt(row.headers, row.subscription_id))
            keys = tuple(parse_secret(self._decrypt(one, row.subscription_id)) for one in row.secrets)
        except (VaultError, ValueError) as error:
            repeats = {"repeats_as": "deliveries that cannot be signed for"}
            logger.error(
                "subscription %s cannot be signed for: %s", row.subscription_id, error, extra=repeats
            )
        template = None
        if url is not None and keys:
            with suppress(EgressError):
                template = self._write(url, keys, headers)
        return Target(
            row.org_id,
            row.revision,
            url,
            refused,
            keys,
            row.secrets_until,
            headers,
            row.timeout,
            template,
            row.retry_schedule,
        )

    def forget(self) -> None:
        """Forget all, so that each URL is judged again by the rules of the moment."""
        self._kept.clear()

    def get(self, subscription_id: UUID) -> Target | None:
        """Return the target, or None if the subscription is gone.

        One without keys is read anew each time, so that the log goes on to say why.
        """
        kept = self._kept.get(subscription_id)
        if not isinstance(kept, TargetRow):
            return kept
        target = self.read(kept)
        if target.keys:
            self._kept[subscription_id] = target
        return target


def unsendable(target: Target) -> EgressError:
    """Return why nothing can be sent to a target without a template.

    The codes: `url_invalid`, `scheme_forbidden`, `port_forbidden`, `key_missing`, `header_invalid`.
    """
    if target.url is None:
        refused = target.refused
        return EgressError("url_invalid" if refused is None else refused.code, str(refused))
    if not target.keys:
        return EgressError("key_missing", "No secret could be opened to sign with; rotate the secret.")
    return EgressError("header_invalid", "One of the subscription's headers cannot be sent; change it.")


def _fields(text: str) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in json.loads(text).items())
