"""Writes that end whatever happens to the request: a commit must not be cancelled half-way."""

from collections.abc import Awaitable
from typing import TypeVar

import trio

from api.problems import unavailable
from api.services import Services

T = TypeVar("T")


async def finish(services: Services, work: Awaitable[T]) -> T:
    """Return what `work` gives, shielded from cancellation for as long as a commit may take.

    Raises a 503 `Problem` when that is not enough; the work may then have been done or not.
    """
    with trio.move_on_after(services.settings().commit_timeout, shield=True):
        return await work
    raise unavailable(
        "The database took too long and the outcome is not known; send the request again, "
        "and publish with a key so that nothing is published twice."
    )
