"""The tasks of a delivery: routers and claimer, senders, recorder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from daemon.delivery.body_writer import BodyWriter
from daemon.delivery.bulk_lock import BulkLock
from daemon.delivery.capacity import Capacity
from daemon.delivery.claimer import Claimer
from daemon.delivery.claims import Claims
from daemon.delivery.governor import Governor
from daemon.delivery.leases import Leases
from daemon.delivery.poller import PublishRate
from daemon.delivery.recorder import Recorder
from daemon.delivery.router import Router, RouterState
from daemon.delivery.senders import Senders
from daemon.process.application import Application
from daemon.store.database import Database
from daemon.store.results import Result

RESULTS_AHEAD = 4
"""Results that may wait to be recorded before the senders wait, too, as a multiple of their number."""


@dataclass(frozen=True, slots=True)
class OwnConnections:
    """The database by connections of their own, for those that do the same all the time."""

    results: Database
    claims: Database
    routing: Database
    bulk_routing: Database


@asynccontextmanager
async def own_connections(database: Database) -> AsyncIterator[OwnConnections]:
    """Open them, or raise `DatabaseUnavailable`; for the block."""
    async with (
        database.own_connection() as results,
        database.own_connection() as claims,
        database.own_connection() as routing,
        database.own_connection() as bulk_routing,
    ):
        yield OwnConnections(results, claims, routing, bulk_routing)


async def deliver(
    application: Application,
    own: OwnConnections,
    publish_rate: PublishRate,
    work_scope: trio.CancelScope,
    sending_scope: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Routers and claimer, senders, recorder: each outlives the one before, so that all is written."""
    concurrency = application.config.delivery.concurrency
    give, take = trio.open_memory_channel[Result](RESULTS_AHEAD * concurrency)
    governor = Governor(trio.current_time)
    lock, leases = BulkLock(governor), Leases()
    senders = _senders(application, governor, give.clone())
    wakeups, way, stopping = application.wakeups, application.way, application.stopping
    claims = Claims(
        application.database,
        lock,
        senders,
        application.targets,
        leases,
        lease=lambda: application.lease,
        attendance=application.attendance,
        wake=wakeups.claimable.set,
        metrics=application.metrics,
    )
    recorder = Recorder(
        own.results,
        lock,
        leases,
        disable_after=lambda: application.config.delivery.disable_after,
        wake_claimer=wakeups.claimable.set,
        metrics=application.metrics,
        progress=way.recording,
    )
    claimer = Claimer(own.claims, claims, governor, give, wakeups.claimable, way.claiming)
    way.recording.backends, way.claiming.backends = own.results.backends, own.claims.backends
    way.routing.backends, way.bulk_routing.backends = own.routing.backends, own.bulk_routing.backends

    # They end from within: claiming, which gives the senders work; then these, and with the last of them
    # their end of the channel, so that the recorder writes what is in it and ends, too.
    async with trio.open_nursery() as recording:
        recording.start_soon(recorder.run, take)
        with work_scope:
            async with trio.open_nursery() as work:
                await work.start(senders.serve)
                task_status.started()
                async with trio.open_nursery() as claiming:
                    for router in _routers(application, own, governor, lock, claims, publish_rate):
                        claiming.start_soon(router.run, stopping)
                    await claimer.run(stopping)
                await senders.close()
        sending_scope.cancel()


def _senders(
    application: Application, governor: Governor, results: trio.MemorySendChannel[Result]
) -> Senders:
    delivery = application.config.delivery
    probes = max(1, int(delivery.concurrency * delivery.unanswered_share))
    senders = Senders(
        application.sender,
        results,
        Capacity(delivery.concurrency, probes, governor, trio.current_time),
        governor,
        poll_sockets=application.database.poll_sockets,
        now=application.clock.now,
    )
    application.metrics.in_flight = lambda: senders.busy
    return senders


def _routers(
    application: Application,
    own: OwnConnections,
    governor: Governor,
    lock: BulkLock,
    claims: Claims,
    publish_rate: PublishRate,
) -> list[Router]:
    """Return one for bursts and wide fan-outs, and one for all who must not wait for those."""
    bodies = BodyWriter(application.event_rules, application.metrics)
    urgent, way = application.database.auto_reset_event(), application.way
    single, bulk = application.wakeups.published, application.wakeups.bulk
    return [
        Router(state, database, wake, other, urgent, governor, lock, claims, bodies, publish_rate, progress)
        for state, database, wake, other, progress in (
            (RouterState(bulk=False), own.routing, single, bulk, way.routing),
            (RouterState(bulk=True), own.bulk_routing, bulk, single, way.bulk_routing),
        )
    ]
