"""Single events are published together, and each request has its own end."""

from collections.abc import Sequence
from uuid import UUID

import trio
from asyncpg import DataError
from trio.testing import wait_all_tasks_blocked

from daemon.progress import Progress
from daemon.store.database import DatabaseUnavailable
from daemon.store.events import NewEvent, Once
from daemon.store.publisher import MAX_BATCH, MAX_BATCH_BYTES, Publisher
from daemon.uuid7 import uuid7

ORG = uuid7()


def event(body: str = "{}", key: str | None = None) -> NewEvent:
    return NewEvent(uuid7(), ORG, "match.proposed", body, key)


class Store:
    """Stands for the store: keeps what it is given once `go` is set, and refuses bodies that say so."""

    def __init__(self) -> None:
        self.go = trio.Event()
        self.batches: list[list[str]] = []
        self.error: Exception | None = None
        self.plans_made = 0

    async def publish(self, events: Sequence[NewEvent], once: Once | None = None) -> list[UUID]:
        if not events:
            self.plans_made += 1
            raise DatabaseUnavailable("the server is only just starting")
        self.batches.append([one.body for one in events])
        await self.go.wait()
        if self.error is not None:
            raise self.error
        if any(one.body == "bad" for one in events):
            raise DataError("no such text")
        return [one.id for one in events]


class Stage:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.store = Store()
        self.publisher = Publisher(self.store, Progress("publishing", trio.current_time))  # type: ignore[arg-type]
        self.ends: dict[str, object] = {}
        self.serving = trio.CancelScope()
        nursery.start_soon(self._serve)

    async def _serve(self) -> None:
        with self.serving:
            await self.publisher.serve()

    async def ask(self, one: NewEvent, once: Once | None = None) -> None:
        try:
            self.ends[one.body] = await self.publisher.publish([one], once)
        except (DataError, DatabaseUnavailable) as error:
            self.ends[one.body] = type(error)

    async def ask_all(self, *bodies: str) -> None:
        for body in bodies:
            self.nursery.start_soon(self.ask, event(body))
            await wait_all_tasks_blocked()


async def test_plans_are_made_before_the_first_event_comes_if_that_can_be() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        await wait_all_tasks_blocked()
        assert stage.store.plans_made == 1
        stage.store.go.set()
        await stage.ask_all("1")
        assert (stage.store.batches, list(stage.ends)) == ([["1"]], ["1"])
        nursery.cancel_scope.cancel()


async def test_what_comes_while_one_transaction_runs_goes_into_the_next() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        await stage.ask_all("1", "2", "3")
        assert (stage.store.batches, stage.ends) == ([["1"]], {})
        stage.store.go.set()
        await wait_all_tasks_blocked()
        assert stage.store.batches == [["1"], ["2", "3"]]
        assert sorted(stage.ends) == ["1", "2", "3"]
        nursery.cancel_scope.cancel()


async def test_large_events_do_not_make_a_transaction_long() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        large = [str(number) + "x" * (MAX_BATCH_BYTES // 2) for number in range(3)]
        await stage.ask_all("1", *large, "2")
        stage.store.go.set()
        await wait_all_tasks_blocked()
        assert stage.store.batches == [["1"], large[:2], [large[2], "2"]]
        nursery.cancel_scope.cancel()


async def test_one_bad_event_does_not_harm_the_others() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        await stage.ask_all("1", "2", "bad", "3")
        stage.store.go.set()
        await wait_all_tasks_blocked()
        assert stage.store.batches == [["1"], ["2", "bad", "3"], ["2"], ["bad"], ["3"]]
        assert stage.ends["bad"] is DataError
        assert all(isinstance(stage.ends[body], list) for body in ("1", "2", "3"))
        nursery.cancel_scope.cancel()


async def test_an_outage_is_told_to_all_and_the_next_are_tried() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        stage.store.error = DatabaseUnavailable("away")
        await stage.ask_all("1", "2")
        stage.store.go.set()
        await wait_all_tasks_blocked()
        assert stage.ends == {"1": DatabaseUnavailable, "2": DatabaseUnavailable}
        stage.store.error = None
        await stage.ask_all("3")
        assert isinstance(stage.ends["3"], list)
        nursery.cancel_scope.cancel()


async def test_a_request_that_is_given_up_takes_nothing_with_it() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        with trio.move_on_after(0):
            await stage.publisher.publish([event("gone")])
        async with trio.open_nursery() as leaving:
            leaving.start_soon(stage.ask, event("left"))
            await wait_all_tasks_blocked()
            leaving.cancel_scope.cancel()
        await stage.ask_all("stays")
        stage.store.go.set()
        await wait_all_tasks_blocked()
        assert stage.store.batches == [["left"], ["stays"]]
        assert list(stage.ends) == ["stays"]
        nursery.cancel_scope.cancel()


async def test_what_may_meet_others_is_published_by_itself() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        stage.store.go.set()
        await stage.ask(event("key", key="k"))
        await stage.ask(event("once"), Once(ORG, "k", b""))
        made = [event("a"), event("b")]
        assert await stage.publisher.publish(made) == [one.id for one in made]
        assert stage.store.batches == [["key"], ["once"], ["a", "b"]]
        nursery.cancel_scope.cancel()


async def test_those_who_wait_when_it_ends_hear_of_it() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        await stage.ask_all("1")
        stage.serving.cancel()
        await wait_all_tasks_blocked()
        assert stage.ends == {"1": DatabaseUnavailable}


async def test_a_transaction_has_a_bound() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        await stage.ask_all("first")
        for number in range(MAX_BATCH + 1):
            nursery.start_soon(stage.ask, event(str(number)))
        await wait_all_tasks_blocked()
        stage.store.go.set()
        await wait_all_tasks_blocked()
        assert [len(batch) for batch in stage.store.batches] == [1, MAX_BATCH, 1]
        nursery.cancel_scope.cancel()
