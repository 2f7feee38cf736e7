"""The API put together: its parts, and what every answer has in common."""

import logging

from quart.wrappers import Response
from werkzeug.exceptions import HTTPException

from api import events, health, webhooks
from api.asgi import Api, current_request, problem_response
from api.problems import Problem, http_problem, unavailable
from api.services import Services
from daemon.store.database import DatabaseUnavailable, RetryTransaction

logger = logging.getLogger("hookd.api")

_NO_DATABASE = (
    "The database cannot be reached, or went away during the request; send the request again after the "
    "seconds in Retry-After. An event with a key is then not published twice."
)


def create_app(services: Services) -> Api:
    """Return the application; it keeps no state of its own."""
    app = Api("api", static_folder=None)
    app.url_map.merge_slashes = False  # it would answer with redirects, which clients follow with a GET
    app.register_blueprint(webhooks.blueprint(services))
    app.register_blueprint(events.blueprint(services))
    app.register_blueprint(health.blueprint(services))
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(DatabaseUnavailable, _no_database)
    app.register_error_handler(RetryTransaction, _lost_race)
    app.register_error_handler(Exception, _unexpected)
    return app


async def _problem(error: Problem) -> Response:
    return problem_response(error, current_request().request_id)


async def _http_error(error: HTTPException) -> Response:
    headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Retry-After"}}
    return await _problem(http_problem(error.code or 500, headers))


async def _no_database(error: DatabaseUnavailable) -> Response:
    identifier = current_request().request_id
    logger.warning("request %s had no database: %s", identifier, error, extra={"request_id": identifier})
    return await _problem(unavailable(_NO_DATABASE))


async def _lost_race(error: RetryTransaction) -> Response:
    return await _problem(unavailable("The request met another one and was undone; send it again.", 1))


async def _unexpected(error: Exception) -> Response:
    identifier = current_request().request_id
    logger.error(
        "request %s failed unexpectedly", identifier, exc_info=error, extra={"request_id": identifier}
    )
    return await _problem(http_problem(500))
