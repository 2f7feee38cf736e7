"""The same guarded exchange behind httpx's interface, for the few requests that want its objects."""

from typing import Any

import httpx

from daemon.egress.connection import METHODS, OWN_HEADERS
from daemon.egress.errors import EgressError
from daemon.egress.exchange import Exchange
from daemon.egress.url import UrlRefused, parse_url

_DEFAULT_DEADLINE = 30.0


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests through an `Exchange`.

    Use it as `httpx.AsyncClient(transport=GuardedTransport(exchange), trust_env=False)`. The whole request
    must be done within `request.extensions["deadline"]` seconds, else within the longest of httpx's own
    timeouts. Responses carry `extensions["phases"]`. A body beyond `max_body` bytes (or the exchange's own
    limit) is refused as response_too_large, and an imperfect answer, or half of one, as protocol_error (as
    timeout where the time was up): half a document is no document.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        https_only: bool = True,
        max_body: int = 64 * 1024,
    ) -> None:
        self._exchange = exchange
        self._https_only = https_only
        self._max_body = max_body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; raise EgressError if there is no whole answer."""
        if request.method not in METHODS:
            raise httpx.UnsupportedProtocol(
                f"{request.method} is not supported; use one of {sorted(METHODS)}"
            )
        try:
            url = parse_url(str(request.url.copy_with(fragment=None)), https_only=self._https_only)
        except UrlRefused as refused:
            raise EgressError(refused.code, refused.detail, rule=refused.rule) from refused
        # httpx sets some of these; the exchange writes its own.
        headers = [item for item in request.headers.raw if item[0].lower() not in OWN_HEADERS]
        answer = await self._exchange.request(
            request.method,
            url,
            headers,
            await request.aread(),
            timeout=_deadline(request.extensions),
            excerpt=self._max_body,
        )
        error: EgressError | None = None
        if answer.late:
            error = EgressError("timeout", "The answer did not end in time.")
        elif answer.note:
            error = EgressError("protocol_error", f"The answer cannot be relied on ({answer.note}).")
        elif answer.truncated:
            error = EgressError(
                "response_too_large", f"The answer's body is longer than {self._max_body} bytes."
            )
        if error is not None:
            error.phases = answer.phases
            raise error
        return httpx.Response(
            answer.status,
            # What is handed on is the body without its transfer coding.
            headers=[item for item in answer.headers if item[0].lower() != b"transfer-encoding"],
            # Not `content`, which httpx would unpack here and now if it came compressed, to whatever size.
            stream=httpx.ByteStream(answer.excerpt),
            extensions={"phases": answer.phases},
        )


def _deadline(extensions: dict[str, Any]) -> float:
    if "deadline" in extensions:
        return float(extensions["deadline"])
    given = [value for value in extensions.get("timeout", {}).values() if value is not None]
    return max(given, default=_DEFAULT_DEADLINE)
