"""Claims: what is leased is handed to the senders at once, and what was leased unheard is remembered."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

import trio
from asyncpg import PostgresConnectionError, PostgresError

from daemon.delivery.recorder import Leases
from daemon.delivery.senders import Senders
from daemon.delivery.targets import Targets
from daemon.metrics import Metrics
from daemon.store.database import Connection, Database
from daemon.store.queue import Claim, claim
from daemon.store.routing import Round

PATIENCE = 0.05
"""Seconds for which the router may take all room; then half is left to hosts that have been due longer."""

BESIDE_SLICES = 0.1
"""Seconds from one of the claimer's claims to the next while the router is amid a wide fan-out."""
LATELY = 0.25
"""Seconds after a round for which what it told of slices counts."""


class Claims:
    """The claims of one daemon: the claimer's, and the router's for what it routed just now.

    `lease` gives the seconds for which a claimed delivery is ours: longer than a request and its recording
    take. `claimable` wakes the claimer; `next_look` is when it wakes by itself. `lost`: tokens of claims
    whose answer did not come. Such a claim may have been committed: the claimer gives back what it leased.
    """

    def __init__(
        self,
        database: Database,
        *,
        senders: Senders,
        targets: Targets,
        leases: Leases,
        lease: Callable[[], float],
        claimable: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._senders = senders
        self._targets = targets
        self._leases = leases
        self._lease = lease
        self.claimable = claimable
        self._metrics = metrics
        self.lost: list[UUID] = []
        self.next_look = math.inf
        self._claimed_at = -math.inf
        self._slices_until = -math.inf
        self._followed_since = math.inf  # the router has claimed, and the claimer has not

    async def claim(self, connection: Connection, room: int, among: Sequence[int] | None = None) -> Claim:
        """Lease up to `room` deliveries, in a unit of work, and hand them to the senders in the same turn.

        `among`: only of these hosts.
        """
        tokens = (uuid4(), uuid4())
        began = trio.current_time()
        room = min(room, self._senders.room())
        if not room:
            return Claim([], [], 0.0)  # another claim was quicker
        probe_room = min(room, self._senders.probe_room)
        with self._senders.promised(room, probe_room):
            try:
                claimed = await claim(
                    self._database,
                    connection,
                    tokens,
                    room=room,
                    probe_room=probe_room,
                    lease=self._lease(),
                    known=self._targets.known,
                    among=among,
                )
            except BaseException as error:
                if not refused(error):
                    self.lost.extend(tokens)
                raise
        if among is None:
            self._claimed_at = began
            self._followed_since = math.inf
        elif claimed.deliveries:
            self._followed_since = min(self._followed_since, trio.current_time())
        self._targets.learn(claimed.targets)
        for token, count in Counter(one.token for one in claimed.deliveries).items():
            self._leases.add(token, count)
        self._senders.start((one, one.token == tokens[1]) for one in claimed.deliveries)
        self._metrics.claim_seconds.observe(trio.current_time() - began)
        return claimed

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

    async def follow(self, connection: Connection, routed: Round) -> None:
        """Claim what was routed just now, on the same connection; wake the claimer if something is left.

        So an event does not wait for its host's turn among those with a backlog. What is a part of much
        (`cut`) does: it is left to the claimer, and the router goes on.
        """
        self._senders.make_way()
        self._slices_until = trio.current_time() + LATELY if routed.slices else -math.inf
        room = 0 if routed.cut or not routed.hosts else self._senders.room()
        if self.others_wait():
            room //= 2
        if not room:
            self.claimable()
            return
        beside = self._senders.claiming  # it may have all room for probes, and not know of what was routed
        try:
            claimed = await self.claim(connection, room, routed.hosts)
        except PostgresError as error:
            if not refused(error):
                raise
            self.claimable()  # the claimer meets the same error, and has the words and the pause for it
            return
        due = claimed.next_due
        if beside or (due is not None and trio.current_time() + due < self.next_look):
            self.claimable()


def refused(error: BaseException) -> bool:
    """Tell whether Postgres says itself that nothing was done."""
    return isinstance(error, PostgresError) and not isinstance(error, PostgresConnectionError)
