"""The REST API, put together from the parts of the daemon."""

from dataclasses import dataclass

from api.app import create_app, create_metrics_app
from api.auth import Authenticator
from api.bytes_in_hand import BytesInHand
from api.cursors import Cursors
from api.jwks import KeySet
from api.keys import KeySource
from api.quart_app import Api
from api.request_replica import RequestReplica
from api.services import Services
from daemon.config.secret_file import SecretFileError
from daemon.process.application import Application
from daemon.process.readiness import Readiness
from daemon.process.settings import OfConfig, api_settings, token_rules
from daemon.process.startup import Prepared
from daemon.process.state import StartError
from daemon.process.token_keys import key_source
from daemon.store.history import History
from daemon.store.observation import Observer
from daemon.store.replays import Replays
from daemon.store.subscriptions import Subscriptions
from daemon.uuid7 import NewIds


@dataclass(frozen=True, slots=True)
class RestApi:
    """The app; that of the metrics where they have an address of their own; and what fetches keys, if any."""

    app: Api
    metrics_app: Api | None
    key_set: KeySet | None


def make_rest_api(application: Application, prepared: Prepared, cursor_key: bytes) -> RestApi:
    """Put the API together. Error: `StartError`."""
    config = prepared.config
    try:
        keys = key_source(config, prepared.token_key)
    except (ValueError, SecretFileError) as error:
        raise StartError(str(error)) from error
    key_set = keys if isinstance(keys, KeySet) else None
    services = _services(application, keys, key_set, cursor_key)
    separate = bool(config.metrics.bind)
    metrics_app = create_metrics_app(services) if separate else None
    return RestApi(create_app(services, with_metrics=not separate), metrics_app, key_set)


def _services(
    application: Application, keys: KeySource, key_set: KeySet | None, cursor_key: bytes
) -> Services:
    config, database, clock = application.config, application.database, application.clock
    vault, wakeups = application.vault, application.wakeups
    readiness = Readiness(
        database,
        application.way,
        stopping=application.stopping.is_set,
        key_set=key_set,
        clock=clock,
        proxy=application.proxy_health if config.egress.proxy else None,
    )
    subscriptions = Subscriptions(
        database,
        encrypt=vault.encrypt,
        decrypt=vault.decrypt,
        host_limits=application.host_limits,
        most=config.api.subscriptions_per_organisation,
    )
    return Services(
        authenticator=Authenticator(token_rules(config), keys, now=clock.now),
        cursors=Cursors(cursor_key),
        subscriptions=subscriptions,
        events=application.publisher,
        deliveries=History(database),
        replays=Replays(database, changed=wakeups.replays.set),
        endpoint_tests=application.endpoint_tests,
        replica=RequestReplica(
            decrypt=vault.decrypt, settings=lambda: application.delivery_settings().headers
        ),
        settings=OfConfig(lambda: application.config, lambda now: api_settings(now, application.schemas)),
        check_url=application.url_rules.check,
        ready=readiness.checks,
        published=wakeups.published.set,
        claimable=wakeups.claimable.set,
        now=clock.now,
        new_id=NewIds(clock.now),
        bytes_in_hand=BytesInHand(config.api.max_in_hand, config.api.max_in_hand_per_organisation),
        metrics=application.metrics,
        observe=Observer(database).look,
    )
