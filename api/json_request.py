"""The body of the request at hand, as what it should be."""

from typing import TypeVar

from pydantic import TypeAdapter

from api.bodies import read_json, read_optional_json, validated
from api.quart_app import current_request

T = TypeVar("T")


async def json_request(adapter: TypeAdapter[T], *, limit: int, max_depth: int, optional: bool = False) -> T:
    """Return the body as what `adapter` describes; `optional`: where there is none, an empty object as that.

    Raises a `Problem`, as `read_json` and `validated` do.
    """
    request = current_request()
    read = read_optional_json if optional else read_json
    value = await read(request.incoming, request.headers, limit=limit, max_depth=max_depth)
    return validated(adapter, value)
