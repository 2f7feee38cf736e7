"""A bell that a unit of work waits for: heard at once, once, and also if it rang before."""

import trio
import trio.testing

from daemon.store.bell import Bell
from daemon.store.database import Connection, Database


class Listener:
    """A unit that waits for a bell again and again, and writes down when it went on."""

    def __init__(self, database: Database, timeout: float = 20.0) -> None:
        self.bell: Bell = database.bell()
        self.heard = 0
        self.rung: list[bool] = []
        self._timeout = timeout
        self._database = database

    async def listen(self, times: int) -> None:
        async def unit(connection: Connection) -> None:
            for _ in range(times):
                self.rung.append(await self.bell.wait(self._timeout))
                self.heard += 1

        with trio.fail_after(10):
            await self._database.run(unit)


async def test_who_waits_goes_on_before_ring_returns(database: Database) -> None:
    one = Listener(database)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.listen, 2)
        await trio.testing.wait_all_tasks_blocked()
        one.bell.ring()
        assert one.heard == 1
        one.bell.ring()
        assert one.heard == 2


async def test_a_bell_that_rang_before_is_heard_once(database: Database) -> None:
    one = Listener(database)
    one.bell.ring()
    one.bell.ring()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.listen, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert one.heard == 1
        one.bell.ring()


async def test_nobody_waits_for_longer_than_the_timeout(database: Database) -> None:
    one = Listener(database, timeout=0.01)
    await one.listen(3)
    assert one.rung == [False, False, False]


async def test_a_ring_without_news_wakes_and_tells_of_none(database: Database) -> None:
    one = Listener(database)
    one.bell.ring(news=False)
    await one.listen(1)
    one.bell.ring(news=False)
    one.bell.ring()
    one.bell.ring(news=False)
    await one.listen(1)
    assert one.rung == [False, True]


async def test_whoever_does_not_want_to_wait_hears_what_rang_before(database: Database) -> None:
    one = Listener(database, timeout=0.0)
    one.bell.ring()
    await one.listen(2)
    assert one.rung == [True, False]
