"""Lists: the query they take and the answer they give."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from quart.wrappers import Response

from api.problems import Problem
from api.quart_app import ApiRequest, json_response


def query(request: ApiRequest, known: Collection[str]) -> Mapping[str, str]:
    """Return the parameters of the query; raises a 400 `Problem` for one not in `known` or given twice."""
    given = request.args
    for name, values in given.lists():
        if name not in known:
            raise Problem(
                400,
                "bad-query",
                f"The query has a parameter that is not known here; leave it out. Known: {', '.join(known)}.",
            )
        if len(values) > 1:
            raise Problem(400, "bad-query", f"The query has `{name}` more than once; give it once.")
    return {name: given[name] for name in given}


def page(request: ApiRequest, data: Sequence[Mapping[str, Any]], next_cursor: str | None) -> Response:
    """Return the answer with one page of a list and the way to the next one.

    The cursor that leads there stands in the body and in a `Link` (RFC 8288 section 3), which keeps the
    request's other parameters.
    """
    headers = {}
    if next_cursor is not None:
        following = {**request.args.to_dict(), "cursor": next_cursor}
        headers["Link"] = f'<{request.path}?{urlencode(following)}>; rel="next"'
    return json_response({"data": data, "next_cursor": next_cursor}, headers=headers)
