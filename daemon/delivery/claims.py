"""Claims: what is leased is handed to the senders at once, and what was leased unheard is remembered."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID, uuid4

import trio
from asyncpg import PostgresConnectionError, PostgresError

from daemon.delivery.leases import Leases
from daemon.delivery.senders import Senders
from daemon.delivery.targets import Targets
from daemon.metrics import Metrics
from daemon.store.database import Connection, Database
from daemon.store.queue import Asked, Claim, Place, claim, claim_of
from daemon.store.routing import Round
from daemon.store.turn import TakeTurn

PATIENCE = 0.05
"""Seconds for which the router may take all room; then half is left to hosts that have been due longer."""

BESIDE_SLICES = 0.1
"""Seconds from one of the claimer's claims to the next while the router is amid a wide fan-out."""
WITH_ROUND, BESIDE_CROWD, PROBES = 40, 16, 8
"""What a round of routing may claim, and one of a router of crowds, of whose rounds few claim; how much of
that from unproven lanes. It is kept from the claimer meanwhile, who for a fan-out to new subscriptions needs
all the room for probes."""
HELD_BACK = 0.1
"""Seconds until the next look where all that is due may be of organisations that have their share."""
LATELY = 0.25
"""Seconds after a round for which what it told of slices counts."""


class Claims:
    """The claims of one daemon: the claimer's, and the router's for what it routed just now.

    The claimer's wait for their `turn`. `lease` gives the seconds for which a claimed delivery is ours:
    longer than a request and its recording take; `place` tells which of the daemons this one is. `claimable`
    wakes the claimer; `next_look` is when it wakes by itself. `lost`: tokens of claims whose answer did not
    come. Such a claim may have been committed: the claimer gives back what it leased.
    """

    def __init__(
        self,
        database: Database,
        *,
        turn: TakeTurn,
        senders: Senders,
        targets: Targets,
        leases: Leases,
        lease: Callable[[], float],
        place: Callable[[], Place],
        claimable: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._turn = turn
        self._senders = senders
        self._targets = targets
        self._leases = leases
        self._lease = lease
        self._place = place
        self.claimable = claimable
        self._metrics = metrics
        self.lost: list[UUID] = []
        self.next_look = math.inf
        self._claimed_at = -math.inf
        self._slices_until = -math.inf
        self._followed_since = math.inf  # the router has claimed, and the claimer has not
        self._beside: set[UUID] = set()  # rounds of routing that began while somebody claimed

    async def claim(self, connection: Connection) -> Claim:
        """Lease deliveries, in a unit of work, and hand them to the senders in the same turn of the loop."""
        async with self._turn():
            return await self._claim(connection)

    async def _claim(self, connection: Connection) -> Claim:
        began = trio.current_time()
        beside = self._senders.claiming
        room = self._senders.room()
        if not room:
            return Claim([], [], 0.0)  # another claim was quicker
        with self._promised(room, self._senders.probe_room) as asked:
            try:
                claimed = await claim(self._database, connection, asked, self._targets.known)
            except BaseException as error:
                if not refused(error):
                    self.lost.extend(asked.tokens)
                raise
        self._claimed_at = began
        self._followed_since = math.inf
        self._take(claimed, asked, lone=False)
        self._metrics.claim_seconds.observe(trio.current_time() - began)
        if beside and not asked.probe_room:  # a router had it all, and may not have used it
            return replace(claimed, next_due=0.0)
        if asked.shares.full and not claimed.deliveries and claimed.next_due is not None:
            return replace(claimed, next_due=max(claimed.next_due, HELD_BACK))
        return claimed

    @contextmanager
    def asking(self, crowds: bool) -> Iterator[Asked]:
        """Keep a little room for a round of routing, which claims what it routed, for as long as it takes.

        A router of `crowds` has one round after the other, and never all the room that there is.
        """
        room, probe_room, beside = self._senders.room(), self._senders.probe_room, self._senders.claiming
        if crowds or self.others_wait():
            room, probe_room = room // 2, probe_room // 2
        room = min(room, BESIDE_CROWD if crowds else WITH_ROUND)
        with self._promised(room, min(probe_room, PROBES)) as asked:
            if beside:
                self._beside.add(asked.tokens[0])
            try:
                yield asked
            except BaseException:
                # Even where Postgres has refused the last statement: the one before may have been committed.
                if room and asked.tokens[0] not in self.lost:
                    self.lost.extend(asked.tokens)
                raise
            finally:
                self._beside.discard(asked.tokens[0])

    @contextmanager
    def _promised(self, room: int, probe_room: int) -> Iterator[Asked]:
        asked = Asked(
            (uuid4(), uuid4()),
            room,
            min(room, probe_room),
            self._lease(),
            self._place(),
            self._senders.shares(),
            self._senders.probe_shares(),
        )
        with self._senders.promised(asked.room, asked.probe_room):
            yield asked

    def _take(self, claimed: Claim, asked: Asked, *, lone: bool) -> None:
        self._targets.learn(claimed.targets)
        for token, count in Counter(one.token for one in claimed.deliveries).items():
            self._leases.add(token, count, lone=lone)
        probes = ((one, one.token == asked.tokens[1]) for one in claimed.deliveries)
        self._senders.start(probes, fresh=lone)

    def others_wait(self) -> bool:
        """Tell whether the router has claimed for so long that the claimer must have its turn."""
        return trio.current_time() - self._followed_since > PATIENCE

    def gives_way(self) -> bool:
        """Tell whether the claimer must leave hosts and processors to the router, amid a wide fan-out.

        Its slices and claims want the same hosts, one after the other, and take as long together as apart. So
        it is queued first, and all others who publish wait less; what is due is claimed ten times a second.
        """
        now = trio.current_time()
        return now < self._slices_until and now < self._claimed_at + BESIDE_SLICES

    async def follow(self, connection: Connection, routed: Round, asked: Asked) -> None:
        """Take what was claimed with a round of routing; wake the claimer if something is left.

        So an event does not wait for its host's turn among those with a backlog. What is a part of much
        (`cut`) does: it is left to the claimer, and the router goes on.
        """
        self._senders.make_way()
        self._slices_until = trio.current_time() + LATELY if routed.slices else -math.inf
        if routed.unheard:
            self.lost.extend(asked.tokens)
        if routed.claimed is None:
            self.claimable()
            return
        # Those who claim beside it may have all room for probes, and not know of what was routed.
        beside = not asked.probe_room and asked.tokens[0] in self._beside
        claimed = await claim_of(self._database, connection, asked, routed.claimed, self._targets.known)
        if claimed.deliveries:
            self._followed_since = min(self._followed_since, trio.current_time())
        self._take(claimed, asked, lone=True)
        due = claimed.next_due
        if beside or (due is not None and trio.current_time() + due < self.next_look):
            self.claimable()


def refused(error: BaseException) -> bool:
    """Tell whether Postgres says itself that nothing was done."""
    return isinstance(error, PostgresError) and not isinstance(error, PostgresConnectionError)
