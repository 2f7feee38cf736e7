"""An event that a unit of work waits for: it ends the wait at once, one wait, and also if set before."""

import trio
import trio.testing

from daemon.store.asyncio_auto_reset_event import AsyncioAutoResetEvent
from daemon.store.database import Connection, Database


class Listener:
    """A unit that waits for an event again and again, and writes down when it went on."""

    def __init__(self, database: Database, timeout: float = 20.0) -> None:
        self.event: AsyncioAutoResetEvent = database.auto_reset_event()
        self.heard = 0
        self.news: list[bool] = []
        self._timeout = timeout
        self._database = database

    async def listen(self, times: int) -> None:
        async def unit(connection: Connection) -> None:
            for _ in range(times):
                self.news.append(await self.event.wait(self._timeout))
                self.heard += 1

        with trio.fail_after(10):
            await self._database.run(unit)


async def test_who_waits_goes_on_before_set_returns(database: Database) -> None:
    one = Listener(database)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.listen, 2)
        await trio.testing.wait_all_tasks_blocked()
        one.event.set()
        assert one.heard == 1
        one.event.set()
        assert one.heard == 2


async def test_an_event_that_was_set_before_ends_one_wait(database: Database) -> None:
    one = Listener(database)
    one.event.set()
    one.event.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.listen, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert one.heard == 1
        one.event.set()


async def test_nobody_waits_for_longer_than_the_timeout(database: Database) -> None:
    one = Listener(database, timeout=0.01)
    await one.listen(3)
    assert one.news == [False, False, False]


async def test_an_event_without_news_wakes_and_tells_of_none(database: Database) -> None:
    one = Listener(database)
    one.event.set(news=False)
    await one.listen(1)
    one.event.set(news=False)
    one.event.set()
    one.event.set(news=False)
    await one.listen(1)
    assert one.news == [False, True]


async def test_whoever_does_not_want_to_wait_learns_of_what_was_set_before(database: Database) -> None:
    one = Listener(database, timeout=0.0)
    one.event.set()
    await one.listen(2)
    assert one.news == [True, False]
