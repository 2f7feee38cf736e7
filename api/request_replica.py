"""Requests as they were sent. They are not kept: their parts are, and make the same request again."""

import json
import logging
from collections.abc import Callable, Sequence
from uuid import UUID

from daemon.egress.connection import encode_request
from daemon.egress.errors import EgressError
from daemon.egress.url import UrlRefused, parse_url
from daemon.signing.secrets import SigningKey, parse_secret
from daemon.signing.standard import HeaderSettings, Message, attempt_headers, stamp
from daemon.signing.vault import VaultError
from daemon.store.history import Attempt, Delivery

METHOD = "POST"
HIDDEN = b"***"

logger = logging.getLogger("hookd.api")

Headers = Sequence[tuple[str, str]]


class RequestReplica:
    """Makes the headers of attempts anew. `decrypt` opens what is encrypted for a subscription.

    Signatures are made with the secrets that were valid at the time. The rest is of today: the URL, the
    subscription's own headers (whose values are hidden) and the settings.
    """

    def __init__(
        self, *, decrypt: Callable[[bytes, UUID], str], settings: Callable[[], HeaderSettings]
    ) -> None:
        self._decrypt = decrypt
        self._settings = settings

    def headers(self, delivery: Delivery, attempt: Attempt) -> Headers | None:
        """Return the headers of an attempt in the order of the wire.

        None where they cannot be known: no request was made, the moment of signing is not recorded, the event
        has expired, or its secret cannot be opened any more.
        """
        if attempt.duration_ms is None or delivery.body is None:
            return None
        body = delivery.body.encode()
        # the sender takes both from one reading of the clock
        timestamp = int(attempt.attempted_at.timestamp())
        message = Message(delivery.event_id, delivery.id, delivery.event_type, timestamp, body)
        try:
            own = [(name.encode(), HIDDEN) for name in self._own_names(delivery)]
            headers = attempt_headers(stamp(self._keys(delivery, attempt), message), self._settings(), own)
        except (VaultError, ValueError) as error:
            repeats = {"repeats_as": "deliveries whose headers cannot be shown"}
            logger.error("the headers of delivery %s cannot be shown: %s", delivery.id, error, extra=repeats)
            return None
        return _on_the_wire(delivery.url, headers, body)

    def _keys(self, delivery: Delivery, attempt: Attempt) -> list[SigningKey]:
        """Return the keys that signed then, newest first.

        The first secret ever made signed from the beginning, whatever two clocks say of the beginning.
        """
        at, first = attempt.attempted_at, delivery.secrets[-1:]
        return [
            parse_secret(self._decrypt(one.sealed, delivery.subscription_id))
            for one in delivery.secrets
            if (one.since is None or one.since <= at or [one] == first)
            and (one.until is None or one.until > at)
        ]

    def _own_names(self, delivery: Delivery) -> list[str]:
        if delivery.headers is None:
            return []
        return list(json.loads(self._decrypt(delivery.headers, delivery.subscription_id)))


def _on_the_wire(url: str, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Headers:
    """Return the headers with those that the transport adds, unless the URL is one that nothing goes to."""
    try:
        request = encode_request(METHOD, parse_url(url, https_only=False), headers, body)
    except (UrlRefused, EgressError):
        return [(name.decode("ascii"), value.decode("ascii")) for name, value in headers]
    lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    fields = [line.partition(b": ") for line in lines]
    return [(name.decode("ascii"), value.decode("latin-1")) for name, _, value in fields]
