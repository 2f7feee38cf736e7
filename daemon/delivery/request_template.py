"""A subscription's requests: written once, with placeholders for what differs between attempts."""

import os
from collections.abc import Sequence

from daemon.egress.connection import encode_request
from daemon.egress.errors import EgressError
from daemon.egress.url import Url
from daemon.signing.secrets import SigningKey
from daemon.signing.standard import HeaderSettings, Message, Stamp, attempt_headers, stamp

_NO_BODY = b"Content-Length: 0\r\n\r\n"


class RequestTemplate:
    """What `encode_request` would make of each attempt's headers and body, whatever is in them.

    `headers` are the subscription's own; `keys`, newest first, sign. Raises `EgressError` (header_invalid)
    where one of the headers cannot be sent.
    """

    __slots__ = ("_keys", "_text", "url")

    def __init__(
        self,
        url: Url,
        keys: Sequence[SigningKey],
        headers: Sequence[tuple[bytes, bytes]],
        settings: HeaderSettings,
    ) -> None:
        placeholders = Stamp(*(os.urandom(16).hex().encode() for _ in Stamp._fields))
        try:
            fields = attempt_headers(placeholders, settings, headers)
        except ValueError as error:
            raise EgressError("header_invalid", str(error)) from error
        text = encode_request("POST", url, fields, b"").replace(b"%", b"%%")
        for placeholder in placeholders:
            text = text.replace(placeholder, b"%b")
        self._text = text.removesuffix(_NO_BODY) + b"Content-Length: %d\r\n\r\n%b"
        self._keys = keys
        self.url = url

    def render(self, message: Message) -> bytes:
        """Return the request of one attempt as it goes over the wire.

        Raises `EgressError` (header_invalid) where the type cannot stand in a header.
        """
        try:
            values = stamp(self._keys, message)
        except ValueError as error:
            raise EgressError("header_invalid", str(error)) from error
        return self._text % (*values, len(message.body), message.body)
