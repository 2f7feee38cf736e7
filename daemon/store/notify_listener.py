"""NotifyListener: publish() in SQL wakes daemons that are at rest, over a connection that listens.

A hint may be lost (a transaction pooler passes none on), so polling goes on beside it, only slower.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress

import trio
import trio_asyncio

from daemon.store.database import FAILURES, Database

logger = logging.getLogger("hookd.store")

PROOF = 5.0
"""Seconds within which a notification to ourselves must come back."""
PROVE_EVERY = 60.0
PAUSE = (1.0, 60.0)
"""Seconds between tries, doubling."""


class NotifyListener:
    """`heard` is called for each hint. `working` tells whether they arrive."""

    def __init__(self, database: Database, heard: Callable[[], None]) -> None:
        self._database = database
        self._channel = f"{database.schema}.wake"
        self._heard = heard
        self._arrived = asyncio.Event()
        self.working = False

    async def serve(self) -> None:
        """Listen until cancelled, anew whenever the connection is lost or hints do not come through.

        Not through a pooler that gives each transaction another session: it would leave one of them
        listening, for whoever comes next.
        """
        if self._database.sessions.pooled:
            logger.info(
                "a pooler makes transactions of sessions: hookd looks for what SQL publishes by itself"
            )
            return
        tries = 0
        while True:
            try:
                await trio_asyncio.aio_as_trio(self._listen)()
            except (*FAILURES, TimeoutError) as error:
                logger.debug("hints do not arrive; listening again later: %r", error)
            tries = 0 if self.working else tries + 1
            self.working = False
            await trio.sleep(min(PAUSE[1], PAUSE[0] * 2.0 ** min(tries, 6)) * random.uniform(0.5, 1.0))

    async def _listen(self) -> None:
        connection = await self._database.sessions.open()
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            # Whatever the callback raised would end the whole loop: it only sets events.
            await connection.add_listener(self._channel, self._hear)
            while not lost.is_set():
                self._arrived.clear()
                await connection.execute(self._database.sql("notify"), self._channel)
                async with asyncio.timeout(PROOF):
                    await self._arrived.wait()
                self.working = True
                with suppress(TimeoutError):
                    async with asyncio.timeout(PROVE_EVERY):
                        await lost.wait()
        finally:
            connection.terminate()

    def _hear(self, *_: object) -> None:
        self._arrived.set()
        self._heard()
