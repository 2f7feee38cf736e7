"""The tasks of a delivery: routers and claimer, senders, recorder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio

from daemon.delivery.claimer import serve_claimer
from daemon.delivery.claims import Claims
from daemon.delivery.leases import Leases
from daemon.delivery.poller import PublishRate
from daemon.delivery.recorder import Recorder
from daemon.delivery.round_size import RoundSize
from daemon.delivery.router import serve_router
from daemon.delivery.senders import Senders
from daemon.process.application import Application
from daemon.store.database import Database
from daemon.store.precedence import Precedence
from daemon.store.results import Result
from daemon.store.turn import Turn

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
    parts: Application,
    own: OwnConnections,
    publish_rate: PublishRate,
    work_scope: trio.CancelScope,
    sending_scope: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Routers and claimer, senders, recorder: each outlives the one before, so that all is written."""
    concurrency = parts.config.delivery.concurrency
    give, take = trio.open_memory_channel[Result](RESULTS_AHEAD * concurrency)
    leases = Leases()
    precedence = Precedence()
    turn = Turn(precedence)
    senders = Senders(
        parts.sender,
        give.clone(),
        count=concurrency,
        share=parts.config.delivery.unanswered_share,
        poll_sockets=parts.database.poll_sockets,
        precedence=precedence,
        now=parts.clock.now,
    )

    claims = Claims(
        parts.database,
        turn=turn.take,
        senders=senders,
        targets=parts.targets,
        leases=leases,
        lease=lambda: parts.lease,
        place=lambda: parts.place,
        claimable=parts.wakeups.claimable.set,
        metrics=parts.metrics,
    )
    parts.metrics.in_flight = lambda: senders.busy

    way = parts.way
    way.recording.backends, way.claiming.backends = own.results.backends, own.claims.backends
    way.routing.backends, way.bulk_routing.backends = own.routing.backends, own.bulk_routing.backends

    recorder = Recorder(
        own.results,
        leases=leases,
        turn=turn.take,
        disable_after=lambda: parts.config.delivery.disable_after,
        claimable=parts.wakeups.claimable.set,
        metrics=parts.metrics,
        progress=way.recording,
    )
    async with trio.open_nursery() as recording:
        recording.start_soon(recorder.serve, take)
        with work_scope:
            async with trio.open_nursery() as work:
                await work.start(senders.serve)
                task_status.started()
                async with trio.open_nursery() as claiming:
                    _route(parts, own, publish_rate, claims, turn, precedence, claiming)
                    await serve_claimer(
                        own.claims,
                        claims=claims,
                        senders=senders,
                        leases=leases,
                        results=give,
                        wake=parts.wakeups.claimable,
                        stopping=parts.stopping,
                        progress=way.claiming,
                    )
                await senders.close()
        sending_scope.cancel()


def _route(
    parts: Application,
    own: OwnConnections,
    publish_rate: PublishRate,
    claims: Claims,
    turn: Turn,
    precedence: Precedence,
    nursery: trio.Nursery,
) -> None:
    """Start two routers: one serves bursts and wide fan-outs, the other all who must not wait for those."""
    routing = partial(
        serve_router,
        size=RoundSize(),
        turn=turn.take,
        precedence=precedence,
        hurry=parts.database.auto_reset_event(),
        awake=publish_rate.awake,
        routed=publish_rate.note,
        claims=claims,
        stopping=parts.stopping,
        max_depth=lambda: parts.config.events.max_depth,
        max_values=lambda: parts.config.events.max_values,
        schemas=lambda: parts.schemas,
        metrics=parts.metrics,
    )
    published, crowded = parts.wakeups.published, parts.wakeups.bulk
    for_rest = partial(routing, own.routing, bell=published, wake_other=crowded.set)
    nursery.start_soon(partial(for_rest, crowds=False, progress=parts.way.routing))
    wake_other = partial(published.set, news=False)
    for_bursts = partial(routing, own.bulk_routing, bell=crowded, wake_other=wake_other)
    nursery.start_soon(partial(for_bursts, crowds=True, progress=parts.way.bulk_routing))
