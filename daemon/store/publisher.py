"""Publishing single events together: what comes while one transaction runs goes into the next one."""

from collections.abc import Sequence
from uuid import UUID

import trio
from asyncpg import PostgresError

from daemon.progress import Progress
from daemon.store.database import DatabaseUnavailable, RetryTransaction, warm_up
from daemon.store.events import Events, NewEvent, Once

MAX_BATCH = 500
"""Events in one transaction."""
MAX_BATCH_BYTES = 1024 * 1024
"""Bytes of their bodies after which no further one goes with them."""
MAX_WAITING = 2000


class _Asked:
    """An event that somebody waits for."""

    __slots__ = ("ended", "error", "event")

    def __init__(self, event: NewEvent) -> None:
        self.event = event
        self.ended = trio.Event()
        self.error: Exception | None = None


class Publisher:
    """Publishes as `Events` does. Run `serve`, or a single event waits for ever.

    Only events that can meet no other are published together: not those with a key, which may have to wait
    for whoever used it first, nor what is to be published once.
    """

    def __init__(self, events: Events, progress: Progress) -> None:
        self._events = events
        self._progress = progress
        self._give, self._take = trio.open_memory_channel[_Asked](MAX_WAITING)

    async def publish(self, events: Sequence[NewEvent], once: Once | None = None) -> list[UUID]:
        """See `Events.publish`. Cancelled, an event may be published all the same."""
        if once is not None or len(events) != 1 or events[0].key is not None:
            return await self._events.publish(events, once)
        asked = _Asked(events[0])
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._give.send_nowait(asked)
        except trio.WouldBlock:
            await self._give.send(asked)
        await asked.ended.wait()
        if asked.error is not None:
            raise asked.error
        return [asked.event.id]

    async def serve(self) -> None:
        """Publish until cancelled."""
        await warm_up(self._events.publish([]))
        async for first in self._take:
            batch = [first]
            size = len(first.event.body)
            while len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
                try:
                    batch.append(self._take.receive_nowait())
                except trio.WouldBlock:
                    break
                size += len(batch[-1].event.body)
            self._progress.begin()
            try:
                await self._publish(batch)
                self._progress.done()
            except BaseException:
                self._end(batch, DatabaseUnavailable("hookd is stopping"))
                raise

    async def _publish(self, batch: Sequence[_Asked]) -> None:
        try:
            await self._events.publish([one.event for one in batch])
        except PostgresError as error:
            if len(batch) == 1:
                self._end(batch, error)
                return
            for one in batch:  # one of them is at fault, and the others are not to suffer for it
                await self._publish([one])
        except (DatabaseUnavailable, RetryTransaction) as error:
            self._end(batch, error)
        else:
            self._end(batch)

    def _end(self, batch: Sequence[_Asked], error: Exception | None = None) -> None:
        for one in batch:
            if not one.ended.is_set():
                one.error = error
                one.ended.set()
