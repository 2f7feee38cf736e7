"""Lists: the query they take and the answer they give."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from quart.wrappers import Response

from api.cursors import Cursors
from api.problems import Problem
from api.quart_app import ApiRequest, current_request, json_response


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


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of an organisation's under some filters, and where its pages begin."""

    cursors: Cursors
    name: str
    org_id: UUID
    filters: Mapping[str, str] = field(default_factory=dict)

    def position(self) -> str | None:
        """Return where the page that is asked for begins, None: at the start. Raises a 400 `Problem`."""
        cursor = current_request().args.get("cursor")
        if cursor is None:
            return None
        return self.cursors.read(cursor, org_id=self.org_id, listing=self.name, filters=self.filters)

    def cursor(self, position: str | None) -> str | None:
        """Return the cursor for the page that begins at `position`, None if there is none."""
        if position is None:
            return None
        return self.cursors.write(position, org_id=self.org_id, listing=self.name, filters=self.filters)


class Item(Protocol):
    """What has an id, which later ones have greater."""

    @property
    def id(self) -> UUID: ...


T = TypeVar("T", bound=Item)


class Fetch(Protocol[T]):
    """Returns up to `limit` items with ids below `before`, newest first."""

    def __call__(self, *, limit: int, before: UUID | None) -> Awaitable[list[T]]: ...


async def newest_first(
    listing: Listing, limit: int, fetch: Fetch[T], shown: Callable[[T], Mapping[str, Any]]
) -> Response:
    """Return the answer with the page that is asked for of what `fetch` gives."""
    position = listing.position()
    # One more than asked for tells whether there is another page.
    found = await fetch(limit=limit + 1, before=None if position is None else UUID(position))
    here = found[:limit]
    last = str(here[-1].id) if len(found) > limit else None
    return page(current_request(), [shown(item) for item in here], listing.cursor(last))


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
