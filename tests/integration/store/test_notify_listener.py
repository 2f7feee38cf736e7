"""NotifyListener from publishers, over a connection that listens: real Postgres, and its loss."""

import trio

from daemon.store.database import Connection, Database
from daemon.store.notify_listener import NotifyListener


async def notify(database: Database) -> None:
    async def unit(connection: Connection) -> None:
        await connection.execute("select pg_notify('hookd.wake', '')")

    await database.run(unit)


class Heard:
    """Counts hints and wakes who waits for one."""

    def __init__(self) -> None:
        self.count = 0
        self._event = trio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._event.set()
        self._event = trio.Event()

    async def until(self, count: int) -> None:
        with trio.fail_after(20):
            while self.count < count:
                await self._event.wait()


async def test_a_hint_is_heard_and_the_first_one_is_our_own(database: Database) -> None:
    heard = Heard()
    hints = NotifyListener(database, heard)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hints.serve)
        await heard.until(1)
        await notify(database)
        await heard.until(2)
        assert hints.working
        nursery.cancel_scope.cancel()


async def test_a_lost_connection_is_made_anew(database: Database) -> None:
    async def cut(connection: Connection) -> None:
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )

    heard = Heard()
    hints = NotifyListener(database, heard)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hints.serve)
        await heard.until(1)
        await database.run(cut)
        await heard.until(2)  # its own, on the new connection
        await notify(database)
        await heard.until(3)
        nursery.cancel_scope.cancel()
