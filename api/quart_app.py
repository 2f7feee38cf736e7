"""One request, from Hypercorn to Quart and back."""

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import unquote
from uuid import UUID

import quart
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart.ctx import RequestContext
from quart.globals import request_ctx
from quart.routing import QuartRule
from quart.utils import encode_headers
from quart.wrappers import Request, Response
from quart.wrappers.base import BaseRequestWebsocket
from quart.wrappers.response import DataBody
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest, TrioResponse
from werkzeug.routing import MapAdapter
from werkzeug.wrappers import Response as WerkzeugResponse

from api.bodies import IncomingBody
from api.bytes_in_hand import NOBODY, BytesInHand
from api.problems import CONTENT_TYPE, Problem
from api.request_ids import HEADER, request_id
from daemon.metrics import Metrics

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SLASH = re.compile("%2F", re.IGNORECASE)
_TWO_SLASHES = re.compile("^//")  # Werkzeug would take them for one
_CLOSING = (408, 413)  # with these, the rest of the body is not waited for

_to_json = json.JSONEncoder(separators=(",", ":")).encode

logger = logging.getLogger("hookd.api")


class ApiRequest(TrioRequest):
    """A request with what the API adds: its identifier, its body as it arrives, and later whose it is.

    `answer_headers` go with the answer, whichever it will be.
    """

    request_id: str
    incoming: IncomingBody
    organisation: UUID | None = None
    answer_headers: dict[str, str]

    @property
    def content_length(self) -> None:
        """Not read: that is for Quart's own body, which nothing feeds."""

    @property
    def blueprints(self) -> list[str]:
        """The blueprint of the request's route, of which none is in another one."""
        name = (self.endpoint or "").rpartition(".")[0]
        return [name] if name else []

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
        api = cast(Api, self.app)
        self.scope["path"] = _path(self.scope["raw_path"])
        request = cast(ApiRequest, self._create_request_from_scope(send))
        request.request_id = request_id(request.headers.get(HEADER))
        request.incoming = IncomingBody(receive, _declared(request))
        request.incoming.withheld = request.headers.get("Expect", "").lower() == "100-continue"
        request.incoming.holding = api.bytes_in_hand.hold(NOBODY)
        request.answer_headers = {}
        try:
            response = await self._answer(request)
            await self._finish(request, response, send)
        finally:
            request.incoming.hold_nothing()
        seconds = trio.current_time() - began
        _log(request, response.status_code, seconds, all_lines=api.access_log())
        _count(api.metrics, request, response.status_code, seconds)

    async def _answer(self, request: ApiRequest) -> Response | WerkzeugResponse:
        """Return the answer, or the refusal of one that does not fit beside what others hold."""
        response = await self.app.handle_request(request)
        if 400 <= response.status_code < 500:
            request.incoming.came_to_nothing()
        try:
            request.incoming.hold_instead(_size(response))
        except Problem as problem:
            return problem_response(problem, request.request_id)
        return response

    async def _finish(
        self, request: ApiRequest, response: Response | WerkzeugResponse, send: ASGISendCallable
    ) -> None:
        response.headers.update(request.answer_headers)
        response.headers[HEADER] = request.request_id
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        if not request.incoming.complete and response.status_code not in _CLOSING:
            await request.incoming.discard()
        await self._send_response(send, response)

    async def _send_response(self, send: ASGISendCallable, response: Response | WerkzeugResponse) -> None:
        if not isinstance(response, Response) or not isinstance(response.response, DataBody):
            await super()._send_response(send, response)
            return
        headers = encode_headers(response.headers)
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.response.data, "more_body": False})


class ApiContext(RequestContext):
    """What Quart keeps of a request, which here has no session.

    Werkzeug leaves a cycle of objects behind wherever it looks for a route, and the garbage collector stops
    the process for as long as there are many. So a path that stands for itself is looked up once.
    """

    app: "Api"

    def match_request(self) -> None:
        """Find the request's route, and remember it if it is a plain one."""
        super().match_request()
        request = self.request
        if request.url_rule is not None and not request.view_args and request.method != "OPTIONS":
            self.app.plain_routes[request.method, request.path] = request.url_rule


class Api(QuartTrio):
    """Quart with the API's requests, answers and manners. `metrics` counts the requests, and `access_log`
    tells whether there is a line in the log for each, or only for those that fail.

    `plain_routes` are those without parts that vary, by method and path: as many as there are.
    """

    asgi_http_class = ApiConnection
    request_class = ApiRequest

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.metrics = Metrics()
        self.bytes_in_hand = BytesInHand()
        self.access_log: Callable[[], bool] = lambda: True
        self.plain_routes: dict[tuple[str, str], QuartRule] = {}
        self._no_session = self.session_interface.null_session_class()

    def request_context(self, request: Request) -> RequestContext:
        """Return the context in which a request is handled."""
        return ApiContext(self, request, self._no_session)

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """Return what finds the request's route; None where that is known, and the request has it now.

        The Host field has no part in it: Quart would answer 500 to one that is no name.
        """
        if request is None:
            return super().create_url_adapter(request)
        rule = self.plain_routes.get((request.method, request.path))
        if rule is not None:
            request.url_rule, request.view_args = rule, {}
            return None
        return self.url_map.bind("localhost", path_info=request.path, default_method=request.method)

    async def make_default_options_response(self) -> Response:
        """Answer OPTIONS with what the path allows (RFC 9110 section 9.3.7)."""
        adapter = request_ctx.url_adapter
        methods = [] if adapter is None else adapter.allowed_methods()
        return no_content(headers={"Allow": ", ".join(sorted(methods))})


def current_request() -> ApiRequest:
    """Return the request that the running handler answers."""
    return cast(ApiRequest, cast(Any, quart.request)._get_current_object())


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer with `value` as its JSON body."""
    body = _to_json(value).encode()
    return TrioResponse(body, status, dict(headers or {}), content_type="application/json")


def no_content(status: int = 204, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer without a body."""
    response = TrioResponse(None, status, dict(headers or {}))
    del response.headers["Content-Type"]
    return response


def problem_response(problem: Problem, identifier: str) -> Response:
    """Return an answer that tells a problem."""
    return TrioResponse(
        problem.body(identifier), problem.status, dict(problem.headers), content_type=CONTENT_TYPE
    )


def _path(raw: bytes) -> str:
    """Return the decoded path, without a slash at its end.

    /webhooks and /webhooks/ are the same; Werkzeug's own way to say so forgets the 405s. An encoded slash is
    not one that parts segments (RFC 3986 section 2.2): it stays as it is, so that no path has two spellings.
    """
    path = unquote(_SLASH.sub("%252F", _TWO_SLASHES.sub("/%252F", raw.decode("ascii"))))
    return path.removesuffix("/") or "/"


def _declared(request: ApiRequest) -> int | None:
    """Return how long the body is, where that is told; HTTP/1.1 has seen to it that it is a number."""
    length = request.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _size(response: Response | WerkzeugResponse) -> int:
    """Return the bytes of an answer's body."""
    body = response.response
    return len(body.data) if isinstance(body, DataBody) else 0


def _log(request: ApiRequest, status: int, seconds: float, *, all_lines: bool) -> None:
    # Probes ask every few seconds, and a good answer to them is no news.
    probe = request.path.startswith("/health/") or request.path == "/metrics"
    quiet = status < 400 and (probe or not all_lines)
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


def _count(metrics: Metrics, request: ApiRequest, status: int, seconds: float) -> None:
    # Paths and methods of no route are whatever a client makes up.
    route = request.url_rule.rule if request.url_rule is not None else "unmatched"
    method = request.method if request.method in _METHODS else "other"
    metrics.api_requests.add((method, route, str(status)))
    metrics.api_seconds.observe(seconds, (route,))
