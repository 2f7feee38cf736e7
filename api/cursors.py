"""Cursors: the place in a list where its next page begins, readable and writable by this API only."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from api.problems import Problem

DEFAULT_LIMIT = 50
MAX_LIMIT = 100
_MAC_SIZE = 16
_MAX_LENGTH = 1024
_DOMAIN = b"hookd cursor 1\0"


@dataclass(frozen=True, slots=True)
class Cursors:
    """Makes and reads cursors signed with `key` (32 random bytes that all daemons on a database share)."""

    key: bytes = field(repr=False)

    def write(self, position: str, *, org_id: UUID, listing: str, filters: Mapping[str, str]) -> str:
        """Return the cursor for `position` in this organisation's list `listing` under these filters."""
        payload = position.encode()
        mac = self._mac(payload, org_id, listing, filters)
        return base64.urlsafe_b64encode(mac + payload).rstrip(b"=").decode()

    def read(self, cursor: str, *, org_id: UUID, listing: str, filters: Mapping[str, str]) -> str:
        """Return the position; raises a 400 `Problem` unless `write` made the cursor for the same list."""
        if len(cursor) <= _MAX_LENGTH and cursor.isascii():
            try:
                raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            except binascii.Error:
                raw = b""
            mac, payload = raw[:_MAC_SIZE], raw[_MAC_SIZE:]
            if hmac.compare_digest(mac, self._mac(payload, org_id, listing, filters)):
                return payload.decode()
        raise Problem(
            400,
            "bad-cursor",
            "The cursor does not belong to this list with these filters; "
            "pass next_cursor unchanged with the same filters, or leave it out to begin again.",
        )

    def _mac(self, payload: bytes, org_id: UUID, listing: str, filters: Mapping[str, str]) -> bytes:
        scope = json.dumps([str(org_id), listing, sorted(filters.items())])
        message = _DOMAIN + scope.encode() + b"\0" + payload
        return hmac.digest(self.key, message, hashlib.sha256)[:_MAC_SIZE]


def page_limit(text: str | None) -> int:
    """Return the page size that `?limit=` asks for; raises a 400 `Problem` outside 1 to 100."""
    if text is None:
        return DEFAULT_LIMIT
    if text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    raise Problem(400, "bad-query", f"Give `limit` as a whole number from 1 to {MAX_LIMIT}, or leave it out.")
