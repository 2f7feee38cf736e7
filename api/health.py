"""Whether the daemon lives and whether it can work."""

import logging
from collections.abc import Sequence

import trio
from quart import Blueprint
from quart.wrappers import Response

from api.quart_app import json_response
from api.services import Check, Services

logger = logging.getLogger("hookd.api")

_READY_TIMEOUT = 2.0  # seconds


def blueprint(services: Services) -> Blueprint:
    """Return the routes under /health; they need no token and tell nothing of any organisation."""
    routes = Blueprint("health", __name__, url_prefix="/health")

    @routes.get("/live")
    async def live() -> Response:
        return json_response({"status": "ok"})

    @routes.get("/ready")
    async def ready() -> Response:
        checks = await _checks(services)
        good = all(check.ok for check in checks)
        listed = [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks]
        document = {"status": "ok" if good else "unavailable", "checks": listed}
        return json_response(document, 200 if good else 503)

    return routes


async def _checks(services: Services) -> Sequence[Check]:
    with trio.move_on_after(_READY_TIMEOUT):
        try:
            return await services.ready()
        except Exception:
            logger.exception("the readiness check failed unexpectedly")
            return [Check("ready", False, "The check itself failed; the daemon's log says why.")]
    return [
        Check("ready", False, f"The checks took more than {_READY_TIMEOUT:g} s; look at the database first.")
    ]
