"""Who may do what: the token of the request at hand."""

import trio

from api.asgi import ApiRequest, current_request
from api.auth import Caller
from api.services import Services
from daemon.model import Role


async def caller_of(services: Services, role: Role | None = None) -> Caller:
    """Return who calls.

    Raises a `Problem`: 401 without a good token, 429 beyond the organisation's rate, 403 without `role`.
    """
    request = current_request()
    caller = await services.authenticator.caller(request.headers.getlist("Authorization"))
    request.organisation = caller.org_id
    if Role.PLATFORM not in caller.roles:  # the platform publishes for everybody
        _count(services, caller, request)
    if role is not None:
        caller.require(role)
    return caller


def _count(services: Services, caller: Caller, request: ApiRequest) -> None:
    standing = services.rate_limits.take(caller.org_id, services.settings().rate, trio.current_time())
    if standing is None:
        return
    request.answer_headers.update(standing.fields())
    if not standing.allowed:
        raise standing.refusal()
