"""Cross-origin requests (https://fetch.spec.whatwg.org/#http-cors-protocol): which pages may use the API.

Off unless the operator names origins. Cookies have no part in it, so credentials are never allowed: a page
that has a token sends it itself.
"""

from collections.abc import Mapping, Sequence

from werkzeug.datastructures import Headers

ANY = "*"
_SENT = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-Id"
_READ = (
    "Allow, ETag, Link, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id"
)
_MAX_AGE = 600  # seconds for which a browser may remember what a preflight told


def cross_origin_fields(
    origins: Sequence[str], method: str, request: Headers, answer: Headers
) -> Mapping[str, str]:
    """Return the header fields to add to an answer, given those of the request and of the answer.

    A preflight is an OPTIONS request, which needs no token here; its answer's `Allow` has the methods.
    """
    if not origins:
        return {}
    any_origin = ANY in origins
    # Without it, a cache would give one origin what was meant for another.
    varies = {} if any_origin else {"Vary": "Origin"}
    origin = request.get("Origin")
    if origin is None or not (any_origin or origin in origins):
        return varies
    allowed = {**varies, "Access-Control-Allow-Origin": ANY if any_origin else origin}
    if method == "OPTIONS" and "Access-Control-Request-Method" in request and "Allow" in answer:
        return {
            **allowed,
            "Access-Control-Allow-Methods": answer["Allow"],
            "Access-Control-Allow-Headers": _SENT,
            "Access-Control-Max-Age": str(_MAX_AGE),
        }
    return {**allowed, "Access-Control-Expose-Headers": _READ}
