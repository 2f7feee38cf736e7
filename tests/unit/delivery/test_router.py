"""What a router knows between its rounds, how it waits, and how it goes on after a failure."""

# Covers daemon.delivery.body_writer.

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
from trio.testing import MockClock

from daemon.delivery import body_writer
from daemon.delivery import router as module
from daemon.delivery.body_writer import BodyWriter, EventRules
from daemon.delivery.governor import MIN_ROUND_EVENTS, Governor
from daemon.delivery.router import (
    FEW_DELIVERIES,
    MANY_DELIVERIES,
    MAX_WAIT,
    QUICK,
    URGENT_ROUNDS,
    WAKE_INTERVAL,
    Router,
    RouterState,
)
from daemon.metrics import Metrics
from daemon.progress import Progress
from daemon.schemas import Schemas
from daemon.store.failure import DatabaseUnavailable
from daemon.store.routing import Body, Opened, RawEvent, Round, RoundRequest

FIRST = Governor(lambda: 0.0).round_events
ONE, CUT, NOTHING = Round(1, 1), Round(40, 1, cut=True), Round(more=False)


class TestState:
    def test_a_burst_that_begins_is_the_other_routers(self) -> None:
        state = RouterState(bulk=False)
        assert not state.end_round(ONE, 0.0)
        assert state.end_round(CUT, 0.0)

    def test_a_burst_that_ends_leaves_the_rest_to_the_other_router(self) -> None:
        state = RouterState(bulk=True)
        state.end_round(CUT, 0.0)
        assert state.end_round(ONE, 0.0)
        assert not state.end_round(CUT, 0.1)
        assert state.find_nothing(), "who came into the shard meanwhile was left alone by it"
        assert not state.find_nothing(), "a look in vain wakes nobody"

    def test_beside_a_burst_that_goes_on_the_other_router_looks_now_and_then(self) -> None:
        state = RouterState(bulk=True)
        state.end_round(ONE, 0.0)
        assert not state.end_round(CUT, WAKE_INTERVAL / 2)
        assert state.end_round(CUT, WAKE_INTERVAL * 1.1)
        assert not state.end_round(CUT, WAKE_INTERVAL * 1.2)

    def test_the_router_for_single_events_wakes_nobody_when_nothing_is_left(self) -> None:
        state = RouterState(bulk=False)
        state.end_round(ONE, 0.0)
        assert not state.find_nothing()

    def test_what_was_announced_and_not_found_is_passed_on_once(self) -> None:
        state = RouterState(bulk=False, told=True)
        assert state.end_search()
        assert not state.end_search()
        state.told = True
        state.end_round(ONE, 0.0)
        assert not state.end_search(), "it was for this one"

    def test_urgent_rounds_end_when_who_was_waiting_has_been_served(self) -> None:
        state = RouterState(bulk=True)
        assert not state.begin_round()
        state.serve_single_next()
        for _ in range(URGENT_ROUNDS):  # the first one may be everybody's turn
            assert state.begin_round()
            state.end_round(CUT, 0.0)
        assert not state.begin_round()
        state.serve_single_next()
        state.begin_round()
        state.end_round(ONE, 0.0)
        assert not state.begin_round()


class Event:
    """Stands for an event that is set as often as `news` says, and never waits."""

    def __init__(self) -> None:
        self.news = 0
        self.waits: list[float] = []
        self.set_with: list[bool] = []

    def set(self, *, news: bool = True) -> None:
        self.set_with.append(news)

    async def wait(self, timeout: float) -> bool:
        self.waits.append(timeout)
        await trio.lowlevel.checkpoint()
        self.news, heard = max(0, self.news - 1), self.news > 0
        return heard


class Scene:
    """A router whose rounds are a script: what each answers, or what it raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, bulk: bool, *script: Any) -> None:
        self.requests: list[RoundRequest] = []
        self.written: list[tuple[Opened, list[Body]]] = []
        self.taken: list[Round] = []
        self.pieces = self.claimer_woken = 0
        self.begun: list[float] = []
        self.awake = False
        self.before_piece: Callable[[], None] = lambda: None
        self.stopping = trio.Event()
        self.governor = Governor(trio.current_time)
        self.own, self.other, self.urgent = Event(), Event(), Event()
        self._script = list(script)
        nothing: Any = self
        own: Any = self.own
        other: Any = self.other
        urgent: Any = self.urgent
        self.router = Router(
            RouterState(bulk),
            nothing,
            own,
            other,
            urgent,
            self.governor,
            nothing,
            nothing,
            nothing,
            nothing,
            Progress("routing", trio.current_time),
        )
        monkeypatch.setattr(module, "make_plans", self._make_plans)
        monkeypatch.setattr(module, "next_round", self._next_round)
        monkeypatch.setattr(module, "write_round", self._write_round)
        monkeypatch.setattr("asyncio.sleep", trio.sleep)  # rounds are done in Trio here

    async def run(self) -> None:
        with trio.fail_after(60):
            await self.router.run(self.stopping)

    # Stands for the database, the lock, the claims, the bodies and the rate of publishing.

    async def run_unit(self, unit: Callable[[object], Awaitable[None]]) -> None:
        self.begun.append(trio.current_time())
        await unit(None)

    def __getattr__(self, name: str) -> Any:
        if name == "note":
            return lambda transactions: None
        raise AttributeError(name)

    @asynccontextmanager
    async def piece(self) -> AsyncIterator[None]:
        self.pieces += 1
        self.before_piece()
        yield

    @contextmanager
    def with_round(self, bulk: bool) -> Any:
        yield self

    @property
    def request(self) -> None:
        return None

    async def take_routed(self, connection: object, done: Round, reserved: object) -> None:
        self.taken.append(done)

    def wake(self) -> None:
        self.claimer_woken += 1

    async def write(self, events: tuple[RawEvent, ...]) -> list[Body]:
        return [Body(one, "{}", None) for one in events]

    async def _make_plans(self, database: object, connection: object) -> None:
        await trio.lowlevel.checkpoint()

    async def _next_round(self, database: object, connection: object, request: RoundRequest) -> Any:
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        if not self._script:
            self.stopping.set()
            return NOTHING
        what = self._script.pop(0)
        if callable(what):
            what = what()
        if isinstance(what, Exception):
            raise what
        return what

    async def _write_round(
        self, database: object, connection: object, opened: Opened, bodies: list[Body]
    ) -> Round:
        self.written.append((opened, bodies))
        return ONE


def scene(monkeypatch: pytest.MonkeyPatch, bulk: bool, *script: Any) -> Scene:
    made = Scene(monkeypatch, bulk, *script)
    made.router.database = _Runs(made)  # type: ignore[assignment]
    made.router.publish_rate = _Rate(made)  # type: ignore[assignment]
    return made


class _Runs:
    def __init__(self, scene: Scene) -> None:
        self.run = scene.run_unit


class _Rate:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.noted: list[int] = []

    def awake(self) -> bool:
        return self._scene.awake

    def note(self, transactions: int) -> None:
        self.noted.append(transactions)


async def test_rounds_follow_each_other_while_there_may_be_more(monkeypatch: pytest.MonkeyPatch) -> None:
    one = scene(monkeypatch, False, ONE, ONE, NOTHING)
    await one.run()
    assert len(one.own.waits) == 2, "after nothing was found, and again at the end"
    assert one.taken[:2] == [ONE, ONE]
    assert {request.events for request in one.requests} == {MIN_ROUND_EVENTS}
    assert {request.deliveries for request in one.requests} == {FEW_DELIVERIES}
    assert one.pieces == 0, "single events wait for nobody"
    assert one.governor.single_events_come


async def test_events_from_sql_get_their_bodies_between_two_statements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = RawEvent(3, uuid4(), uuid4(), "t", "{}")
    opened = Opened(RoundRequest(False, 1, 1, None), (3,), (raw,))  # type: ignore[arg-type]
    one = scene(monkeypatch, False, opened)
    await one.run()
    assert one.written == [(opened, [Body(raw, "{}", None)])]
    assert one.taken[0] == ONE


async def test_what_was_announced_is_waited_for_until_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[bool] = []

    def look() -> Round:
        found.append(one.governor.event_on_its_way)
        return NOTHING

    one = scene(monkeypatch, False, look, look, look)
    one.own.news = 1
    await one.run()
    assert found == [False, True, False]
    assert one.urgent.set_with == [True], "it may be in a burst's shard"


async def test_where_many_publish_the_router_looks_by_itself_and_announces_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[bool] = []

    def look() -> Round:
        found.append(one.governor.event_on_its_way)
        return NOTHING

    one = scene(monkeypatch, False, look, look)
    one.awake = True
    one.own.news = 2
    await one.run()
    assert found == [False, False]
    assert set(one.own.waits) == {QUICK}


async def test_rounds_of_a_burst_are_bulk_work(monkeypatch: pytest.MonkeyPatch) -> None:
    one = scene(monkeypatch, True, CUT, CUT)
    await one.run()
    assert one.pieces == 3
    assert [request.events for request in one.requests] == [FIRST] * 3
    assert [request.deliveries for request in one.requests] == [MANY_DELIVERIES] * 3
    assert one.own.waits == [MAX_WAIT]
    assert not one.governor.single_events_come
    assert one.router.publish_rate.noted == [0, 0]  # type: ignore[attr-defined]  # its one transaction goes on


async def test_beside_single_events_they_are_small_and_a_rest_is_heard_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def piece() -> Round:
        one.governor.note_single()
        now = trio.current_time()
        one.governor.note_round(1, now - 0.01, now)
        return CUT

    one = scene(monkeypatch, True, piece, CUT)
    await one.run()
    assert [request.events for request in one.requests[:2]] == [FIRST, FIRST]
    assert one.urgent.waits[2] > 0.0


async def test_who_comes_into_a_bursts_shard_is_served_by_small_rounds_out_of_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def somebody_comes() -> Round:
        one.urgent.news = 1
        return CUT

    one = scene(monkeypatch, True, somebody_comes, CUT, CUT, CUT)
    await one.run()
    assert [request.events for request in one.requests] == [
        FIRST,
        *[MIN_ROUND_EVENTS] * URGENT_ROUNDS,
        *[FIRST] * 2,
    ]
    assert one.pieces == 3


async def test_who_comes_while_a_burst_waits_for_its_turn_is_served_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def somebody_comes() -> None:
        one.urgent.news = 1
        one.before_piece = lambda: None

    one = scene(monkeypatch, True, CUT, CUT, CUT)
    one.before_piece = somebody_comes
    await one.run()
    assert [request.events for request in one.requests] == [
        *[MIN_ROUND_EVENTS] * URGENT_ROUNDS,
        *[FIRST] * 2,
    ]


async def test_a_failed_round_wakes_the_claimer_and_the_other_router_after_the_pause(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    woken: list[int] = []

    def fail() -> Exception:
        woken.append(one.claimer_woken)
        return DatabaseUnavailable()

    one = scene(monkeypatch, False, fail, fail)
    await one.run()
    assert woken == [0, 1], "a claim that nobody heard of may still be under way before"
    assert one.claimer_woken == 2
    assert one.other.set_with == [False, False]
    first, second, *_ = one.begun
    assert second - first >= module.PAUSES.outage / 2


async def test_a_connection_that_was_lost_while_idle_is_replaced_without_a_pause(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    one = scene(monkeypatch, False, NOTHING, DatabaseUnavailable())
    await one.run()
    first, second = one.begun
    assert second == first


def writer(**rules: Any) -> tuple[BodyWriter, Metrics]:
    metrics = Metrics()
    given = {"max_depth": 3, "max_values": 10, "schemas": Schemas({}), **rules}
    return BodyWriter(lambda: EventRules(**given), metrics), metrics


def raw(data: str) -> RawEvent:
    return RawEvent(1, UUID(int=7), UUID(int=1), "t.t", data)


async def test_bodies_are_canonical_and_what_can_have_none_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncio.sleep", trio.sleep)
    bodies, metrics = writer()
    good, deep = await bodies.write([raw('{"b": 1, "a": 2.50}'), raw("[[[[[]]]]]")])
    assert good.text is not None
    assert '"data":{"a":2.5,"b":1}' in good.text
    assert (deep.text, bool(deep.problem)) == (None, True)
    assert metrics.unrepresentable.values[()] == 1


async def test_long_work_is_done_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr("asyncio.sleep", rest)
    monkeypatch.setattr(body_writer, "MAX_PIECE", 0.0)
    bodies, _ = writer()
    await bodies.write([raw("1"), raw("2")])
    assert rests == [body_writer.REST] * 4
