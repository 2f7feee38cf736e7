"""Who may do what: the token of the request at hand."""

from api.asgi import current_request
from api.auth import Caller
from api.services import Services
from daemon.model import Role


async def caller_of(services: Services, role: Role | None = None) -> Caller:
    """Return who calls; raises a 401 `Problem` without a good token and a 403 without `role`."""
    request = current_request()
    caller = await services.authenticator.caller(request.headers.getlist("Authorization"))
    request.organisation = caller.org_id
    if role is not None:
        caller.require(role)
    return caller
