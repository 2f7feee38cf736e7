"""Who may do what: the token of the request at hand."""

import trio

from api.auth import Caller
from api.quart_app import ApiRequest, current_request
from api.services import Services
from daemon.model import Role

ANY_ROLE = tuple(Role)


async def caller_of(services: Services, *roles: Role) -> Caller:
    """Return who calls; from here on the request's bytes count as the organisation's.

    Raises a `Problem`: 401 without a good token, 429 beyond the organisation's rate, 403 without one of
    `roles`, if any are named.
    """
    request = current_request()
    caller = await services.authenticator.caller(request.headers.getlist("Authorization"))
    request.organisation = caller.org_id
    is_platform = Role.PLATFORM in caller.roles  # which publishes for everybody
    request.incoming.holding = services.bytes_in_hand.hold(caller.org_id, shared=not is_platform)
    if not is_platform:
        _count(services, caller, request)
    if roles:
        caller.require(*roles)
    return caller


def _count(services: Services, caller: Caller, request: ApiRequest) -> None:
    state = services.rate_limits.take(caller.org_id, services.settings().rate, trio.current_time())
    if state is None:
        return
    request.answer_headers.update(state.fields())
    if not state.allowed:
        raise state.refusal()
