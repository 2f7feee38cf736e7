"""One request, from Hypercorn to Quart and back."""

import json
import logging
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

import quart
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart.globals import request_ctx
from quart.utils import encode_headers
from quart.wrappers import Response
from quart.wrappers.response import DataBody
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest, TrioResponse
from werkzeug.wrappers import Response as WerkzeugResponse

from api.bodies import IncomingBody
from api.problems import CONTENT_TYPE, Problem
from api.request_ids import HEADER, request_id

_CLOSING = (408, 413)  # with these, the rest of the body is not waited for

logger = logging.getLogger("hookd.api")


class ApiRequest(TrioRequest):
    """A request with what the API adds: its identifier, its body as it arrives, and later whose it is."""

    request_id: str
    incoming: IncomingBody
    organisation: UUID | None = None

    async def get_data(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: nothing feeds Quart's own body, which would be buffered whole."""
        raise RuntimeError("read request bodies with api.bodies, which bounds them")


class ApiConnection(TrioASGIHTTPConnection):
    """Handles one request.

    Quart's own class reads the body into memory whole and cancels the handler when the client goes, or when
    Hypercorn says that the answer is out, in the middle of Hypercorn's closing code. Here nobody listens for
    that: a handler reads the body itself and runs to its end, and so does the answer.
    """

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Handle the request and log it in one line."""
        began = trio.current_time()
        # /webhooks and /webhooks/ are the same; Werkzeug's own way to say so forgets the 405s.
        self.scope["path"] = self.scope["path"].removesuffix("/") or "/"
        request = cast(ApiRequest, self._create_request_from_scope(send))
        request.request_id = request_id(request.headers.get(HEADER))
        request.incoming = IncomingBody(receive)
        response = await self.app.handle_request(request)
        response.headers[HEADER] = request.request_id
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if not request.incoming.complete and response.status_code not in _CLOSING:
            await request.incoming.discard()
        await self._send_response(send, response)
        _log(request, response.status_code, trio.current_time() - began)

    async def _send_response(self, send: ASGISendCallable, response: Response | WerkzeugResponse) -> None:
        if not isinstance(response, Response) or not isinstance(response.response, DataBody):
            await super()._send_response(send, response)
            return
        headers = encode_headers(response.headers)
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.response.data, "more_body": False})


class Api(QuartTrio):
    """Quart with the API's requests, answers and manners."""

    asgi_http_class = ApiConnection
    request_class = ApiRequest

    async def make_default_options_response(self) -> Response:
        """Answer OPTIONS with what the path allows (RFC 9110 section 9.3.7)."""
        adapter = request_ctx.url_adapter
        methods = [] if adapter is None else adapter.allowed_methods()
        response = TrioResponse(None, 204, {"Allow": ", ".join(sorted(methods))})
        del response.headers["Content-Type"]
        return response


def current_request() -> ApiRequest:
    """Return the request that the running handler answers."""
    return cast(ApiRequest, quart.request)


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer with `value` as its JSON body."""
    text = json.dumps(value, separators=(",", ":"))
    return TrioResponse(text.encode(), status, dict(headers or {}), content_type="application/json")


def problem_response(problem: Problem, identifier: str) -> Response:
    """Return an answer that tells a problem."""
    return TrioResponse(
        problem.body(identifier), problem.status, dict(problem.headers), content_type=CONTENT_TYPE
    )


def _log(request: ApiRequest, status: int, seconds: float) -> None:
    # Probes ask every few seconds, and a good answer to them is no news.
    quiet = request.path.startswith("/health/") and status < 400
    logger.log(
        logging.DEBUG if quiet else logging.INFO,
        "%s %s %d",
        request.method,
        request.path[:200],
        status,
        extra={
            "method": request.method,
            "route": request.url_rule.rule if request.url_rule is not None else None,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
            "request_id": request.request_id,
            "org": None if request.organisation is None else str(request.organisation),
        },
    )
