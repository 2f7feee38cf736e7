"""The tree of tasks: who owns whom, the order in which they start, and the order in which they stop."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import trio
import trio_asyncio

from api.listeners import (
    CannotListen,
    Listeners,
    adopted_listeners,
    inherited_listeners,
    open_listeners,
)
from api.quart_app import Api
from api.server import serve_api
from daemon.clock import Clock
from daemon.config.bind import numbered_bind
from daemon.config.model import Config
from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.delivery.leases import RECORDING_TIME
from daemon.delivery.poller import Poller, PublishRate
from daemon.delivery.replayer import Replayer
from daemon.delivery.sweeper import Sweeper
from daemon.delivery.upkeep import Upkeep
from daemon.process.application import Application
from daemon.process.child import serve_channel
from daemon.process.connections import check_connections
from daemon.process.deliver import OwnConnections, deliver, own_connections
from daemon.process.embedded import serve_embedded
from daemon.process.garbage import collect_seldom
from daemon.process.logs import tell_folded
from daemon.process.master_key import cursor_key, settle_master_keys
from daemon.process.master_key_file import MasterKeyError
from daemon.process.open_files import raise_open_files
from daemon.process.reload import serve_reload
from daemon.process.rest_api import RestApi, make_rest_api
from daemon.process.settings import retention, server_limits
from daemon.process.signals import serve_signals
from daemon.process.standstill import serve_standstill
from daemon.process.startup import Prepared
from daemon.process.state import StartError
from daemon.process.systemd import READY, notify, serve_watchdog
from daemon.process.timekeeping import serve_clock
from daemon.progress import Way
from daemon.store.database import (
    Connection,
    Database,
    DatabaseUnavailable,
    RetryTransaction,
    open_database,
)
from daemon.store.database_clock import correct_clock
from daemon.store.floors import meet_cluster
from daemon.store.migrate import MIGRATION_TIMEOUT, MigrationError, upgrade
from daemon.store.notify_listener import NotifyListener
from daemon.store.upkeep import make_partitions

logger = logging.getLogger("hookd")

FLUSH_SHARE = 0.2
"""The part of the stop's time that is kept for writing down what the senders were at."""
FOLDED_EVERY = 5.0
FIRST_ROUNDS = 0.01
"""Seconds between two looks whether each part has done its first round."""


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon that is ready; `addresses` are where its API listens."""

    addresses: list[str]


async def run_daemon(
    prepared: Prepared,
    *,
    ready: Callable[[Running], None],
    stop: trio.Event | None = None,
    signals: bool = True,
) -> None:
    """Run until SIGTERM or SIGINT (with `signals`) or until `stop` is set, and stop in order.

    `ready` is called once everything works. A second signal ends the process at once, with exit status 1.
    Errors: `StartError` before `ready`; what goes wrong unexpectedly later comes out as it is.
    """
    stop = trio.Event() if stop is None else stop
    try:
        async with trio_asyncio.open_loop(), trio.open_nursery() as outer:
            hangup = AutoResetEvent()
            # What must work while everything else starts, or hangs, comes first.
            if signals:
                await outer.start(serve_signals, stop, hangup)
            await outer.start(serve_watchdog)
            outer.start_soon(serve_folded_lines)
            if prepared.child is not None:
                outer.start_soon(serve_channel, prepared.child, stop)
            await _start(prepared, ready, stop, hangup)
            outer.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        start_error = _lone_start_error(group)
        if start_error is None:
            raise
        raise start_error from start_error.__cause__
    finally:
        tell_folded(all_of_them=True)


async def serve_folded_lines() -> None:
    """Have the log say how many lines it left out, soon after that is due."""
    while True:
        await trio.sleep(FOLDED_EVERY)
        tell_folded()


async def _start(
    prepared: Prepared, ready: Callable[[Running], None], stop: trio.Event, hangup: AutoResetEvent
) -> None:
    """Bind, open the database, bring the schema up to date: each may refuse before anything else is done."""
    config = prepared.config
    raise_open_files(config)
    # First: it fails at once where another daemon has the address, and clients may wait in its queue.
    listeners, beside_api = await _listen(prepared)
    try:
        async with open_database(
            prepared.database_url,
            schema=config.database.schema,
            pool_size=config.database.pool_size,
            command_timeout=config.database.command_timeout,
            prepared_statements=config.database.prepared_statements,
        ) as database:
            clock = Clock()
            await _set_up(database, clock, config)
            # With the schema, as the database is what knows which keys it needs.
            keys = await settle_master_keys(database, prepared.master_key_file)
            application = Application(prepared, database, keys, clock)
            rest_api = make_rest_api(application, prepared, cursor_key(keys))
            await application.apply_rules()
            async with own_connections(database) as own, trio.open_nursery() as beside:
                beside.start_soon(serve_standstill, database, application.way)
                beside.start_soon(serve_reload, application, prepared.loaded, hangup)
                beside.start_soon(application.publisher.serve)
                if rest_api.key_set is not None:
                    beside.start_soon(rest_api.key_set.serve)
                if prepared.embedded is not None:
                    beside.start_soon(serve_embedded, prepared.embedded, database)
                await _run(application, rest_api, own, (listeners, beside_api), ready, stop)
                beside.cancel_scope.cancel()
    except (MigrationError, MasterKeyError, DatabaseUnavailable, RetryTransaction) as error:
        raise StartError(str(error)) from error
    finally:
        listeners.close()
        if beside_api is not None:
            beside_api.close()


async def listen(config: Config) -> Listeners:
    """Return the listeners of the API: systemd's, or our own. Error: `StartError`."""
    try:
        return inherited_listeners() or await open_listeners(config.api.bind)
    except CannotListen as error:
        raise StartError(str(error)) from error


async def _listen(prepared: Prepared) -> tuple[Listeners, Listeners | None]:
    """Return the listeners of the API and, where they have an address of their own, of the metrics."""
    bind, child = prepared.config.metrics.bind, prepared.child
    try:
        listeners = await listen(prepared.config) if child is None else adopted_listeners(child.sockets)
        try:
            if bind and child is not None:
                bind = numbered_bind(bind, child.number)
            return listeners, await open_listeners(bind, "metrics.bind") if bind else None
        except BaseException:
            listeners.close()
            raise
    except CannotListen as error:
        raise StartError(str(error)) from error


async def _set_up(database: Database, clock: Clock, config: Config) -> None:
    """Bring schema and partitions to what this code needs."""

    async def unit(connection: Connection) -> None:
        encoding = await connection.fetchval(database.sql("server_encoding"))
        if encoding != "UTF8":
            raise StartError(
                f"the database is encoded in {encoding}, which cannot hold what receivers answer: use one"
                " made with encoding 'UTF8'"
            )
        await check_connections(connection, database, config)
        report, filters = await upgrade(connection, database.statements)
        for name in report.applied:
            logger.info("applied the migration %s", name)
        if filters.count:
            logger.warning("%s", filters)
        await correct_clock(connection, database, clock)
        await make_partitions(connection, database)
        await meet_cluster(connection, database)

    await database.run(unit, MIGRATION_TIMEOUT)


async def _run(
    application: Application,
    rest_api: RestApi,
    own: OwnConnections,
    listeners: tuple[Listeners, Listeners | None],
    ready: Callable[[Running], None],
    stop: trio.Event,
) -> None:
    """Run all parts; when `stop` is set, end them in order and before the one deadline."""
    async with trio.open_nursery() as root:
        of_api, of_metrics = listeners
        addresses: list[str] = await root.start(_serve, application, rest_api.app, of_api)
        if rest_api.metrics_app is not None and of_metrics is not None:
            metrics: list[str] = await root.start(_serve, application, rest_api.metrics_app, of_metrics)
            logger.info("metrics are served on %s", ", ".join(metrics))
        sending = trio.CancelScope()
        work = trio.CancelScope()
        # The senders need kept connections looked after until the last of them has ended.
        root.start_soon(_serve_exchange, application, sending)
        publish_rate = PublishRate(trio.current_time)
        root.start_soon(_serve_queue, application, publish_rate)
        await root.start(deliver, application, own, publish_rate, work, sending)
        collect_seldom()  # now that all is made that lives as long as the process
        if await _delivers(application.way, stop):
            notify(READY, f"STATUS=serving on {', '.join(addresses)}")
            ready(Running(addresses))
        await stop.wait()

        notify("STOPPING=1", "STATUS=finishing what is under way")
        timeout = application.config.daemon.stop_timeout
        now = trio.current_time()
        # One deadline for all, and an earlier one for what sends: that must still be written down.
        root.cancel_scope.deadline = now + timeout
        work.deadline = now + timeout * (1 - FLUSH_SHARE)
        application.stopping.set()
        application.wakeups.wake_all()
    if root.cancel_scope.cancelled_caught:
        logger.warning("not everything ended within daemon.stop_timeout; leases give back what is left")


async def _delivers(way: Way, stop: trio.Event) -> bool:
    """Return once each part of the way has done a round, or with false if it is to stop before."""
    while way.unproven() and not stop.is_set():
        with trio.move_on_after(FIRST_ROUNDS):
            await stop.wait()
    return not stop.is_set()


async def _serve(
    application: Application, app: Api, listeners: Listeners, *, task_status: trio.TaskStatus[list[str]]
) -> None:
    limits = server_limits(application.config)
    await serve_api(
        app, listeners=listeners, limits=limits, shutdown=application.stopping, task_status=task_status
    )


async def _serve_exchange(application: Application, scope: trio.CancelScope) -> None:
    with scope:
        await application.exchange.serve()


async def _serve_queue(application: Application, publish_rate: PublishRate) -> None:
    """Poller, attendance, clock, replays, sweeper, partitions: each ends by itself when the daemon stops."""
    database, wakeups, stopping = application.database, application.wakeups, application.stopping
    replayer = Replayer(
        database,
        rate=lambda: application.config.delivery.replay_rate,
        wake=wakeups.replays,
        fed=wakeups.claimable.set,
    )
    sweeper = Sweeper(
        database,
        disable_after=lambda: application.config.delivery.disable_after,
        grace=RECORDING_TIME,
        now=application.clock.now,
        wake_claimer=wakeups.claimable.set,
        wake_routers=wakeups.look_in_inbox,
        metrics=application.metrics,
    )
    upkeep = Upkeep(
        database,
        ages=lambda: retention(application.config),
        wake=wakeups.upkeep,
        wake_claimer=wakeups.claimable.set,
        metrics=application.metrics,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve_poller, application, publish_rate)
        nursery.start_soon(
            lambda: serve_clock(database, application.clock, leapt=wakeups.upkeep.set, stopping=stopping)
        )
        for one in (application.attendance, replayer, sweeper, upkeep):
            nursery.start_soon(one.run, stopping)


async def _serve_poller(application: Application, publish_rate: PublishRate) -> None:
    database, wakeups = application.database, application.wakeups
    listener = NotifyListener(database, wakeups.published.set)
    poller = Poller(
        database,
        publish_rate,
        listener,
        wake_routers=wakeups.look_in_inbox,
        wake_claimer=wakeups.claimable.set,
        progress=application.way.polling,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve)
        await poller.run(application.stopping)
        nursery.cancel_scope.cancel()


def _lone_start_error(group: BaseExceptionGroup[BaseException]) -> StartError | None:
    """Return the error that the group holds if that is a `StartError` and all."""
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner if isinstance(inner, StartError) else None
