"""The API put together: its parts, and what every answer has in common."""

import logging

from quart.wrappers import Response
from werkzeug.exceptions import HTTPException

from api import (
    deliveries,
    docs,
    endpoint_tests,
    events,
    health,
    metrics,
    openapi,
    replays,
    signing_secrets,
    webhooks,
)
from api.cors import cross_origin_fields
from api.etags import changed_meanwhile
from api.problems import Problem, http_problem, no_database, unavailable
from api.quart_app import Api, current_request, problem_response
from api.services import Services
from daemon.store.database import DatabaseUnavailable, RetryTransaction
from daemon.store.subscriptions import ChangedMeanwhile

logger = logging.getLogger("hookd.api")


def create_app(services: Services, *, with_metrics: bool = True) -> Api:
    """Return the application; it keeps no state of its own. Metrics may have an address of their own."""
    app = _bare_app("api", services)
    app.register_blueprint(webhooks.blueprint(services))
    app.register_blueprint(signing_secrets.blueprint(services))
    app.register_blueprint(deliveries.blueprint(services))
    app.register_blueprint(replays.blueprint(services))
    app.register_blueprint(endpoint_tests.blueprint(services))
    app.register_blueprint(events.blueprint(services))
    app.register_blueprint(health.blueprint(services))
    app.register_blueprint(openapi.blueprint(services))
    app.register_blueprint(docs.blueprint(services))
    if with_metrics:
        app.register_blueprint(metrics.blueprint(services))

    @app.after_request
    async def cross_origin(response: Response) -> Response:
        request = current_request()
        origins = services.settings().cors_origins
        response.headers.extend(
            cross_origin_fields(origins, request.method, request.headers, response.headers)
        )
        return response

    return app


def create_metrics_app(services: Services) -> Api:
    """Return an application that has the metrics and nothing else."""
    app = _bare_app("metrics", services)
    app.register_blueprint(metrics.blueprint(services))
    return app


def _bare_app(name: str, services: Services) -> Api:
    app = Api(name, static_folder=None)
    app.metrics = services.metrics
    app.bytes_in_hand = services.bytes_in_hand
    app.access_log = lambda: services.settings().access_log
    app.url_map.merge_slashes = False  # it would answer with redirects, which clients follow with a GET
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(DatabaseUnavailable, _no_database)
    app.register_error_handler(RetryTransaction, _lost_race)
    app.register_error_handler(ChangedMeanwhile, _changed_meanwhile)
    app.register_error_handler(Exception, _unexpected)
    return app


async def _problem(error: Problem) -> Response:
    return problem_response(error, current_request().request_id)


async def _http_error(error: HTTPException) -> Response:
    headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Retry-After"}}
    return await _problem(http_problem(error.code or 500, headers))


async def _no_database(error: DatabaseUnavailable) -> Response:
    identifier = current_request().request_id
    extra = {"request_id": identifier, "repeats_as": "requests that had no database"}
    logger.warning("request %s had no database: %s", identifier, error, extra=extra)
    return await _problem(no_database(error))


async def _lost_race(error: RetryTransaction) -> Response:
    return await _problem(unavailable("The request met another one and was undone; send it again.", 1))


async def _changed_meanwhile(error: ChangedMeanwhile) -> Response:
    return await _problem(changed_meanwhile())


async def _unexpected(error: Exception) -> Response:
    identifier = current_request().request_id
    repeats_as = f"requests that failed unexpectedly: {type(error).__name__}"
    extra = {"request_id": identifier, "repeats_as": repeats_as}
    logger.error("request %s failed unexpectedly", identifier, exc_info=error, extra=extra)
    return await _problem(http_problem(500))
