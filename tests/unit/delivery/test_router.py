"""When one of the two routers wakes the other, and how it goes on after a failure."""

# Covers daemon.delivery.work_pieces.

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import trio
from trio.testing import MockClock

from daemon.delivery import router
from daemon.delivery.arrival import LOOK_EVERY, REST
from daemon.delivery.round_size import RoundSize
from daemon.metrics import Metrics
from daemon.progress import Progress
from daemon.store.database import DatabaseUnavailable
from daemon.store.routing import NO_CLAIM, Round

Script = Callable[[Callable[[bool], Awaitable[None]], Callable[[bool], Awaitable[bool]]], Awaitable[None]]


class Scene:
    """A router whose every unit of work is a script: it gets `heard(cut)` and `go_on(more)`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, crowds: bool, scripts: list[Script]) -> None:
        self.woken = self.looks = 0
        self.rung = self.awake = False
        self.waits: list[float] = []
        self.hurries = 0
        self.precedence: list[str] = []
        self.given = self.rings_meanwhile = False
        self.turns = 0
        self.begun: list[float] = []
        self._scripts = scripts
        self._crowds = crowds
        self._stopping = trio.Event()
        self.claimable = lambda: None
        monkeypatch.setattr(router, "route", self._route)

    async def follow(self, *_: object) -> None:
        pass

    def asking(self, crowds: bool) -> None:
        raise AssertionError("nothing is routed here")

    def sql(self, name: str) -> str:
        return name

    async def fetch(self, statement: str, many: int) -> list[Any]:
        """Say that many came, at each look."""
        assert statement == "newest_of_crowds"
        self.looks += 1
        return [(3, 10 * self.looks, 10 * self.looks - 1)]

    async def wait(self, timeout: float) -> bool:
        """Never wait for a bell, and hear what rang for this one."""
        self.waits.append(timeout)
        rung, self.rung = self.rung, False
        return rung

    @asynccontextmanager
    async def take_turn(self) -> AsyncIterator[None]:
        self.turns += 1
        self.rung = self.rung or self.rings_meanwhile
        yield

    async def waits_for_turn(self) -> bool:
        """Tell whether the next round waits for its turn."""
        before = self.turns
        async with self.turn():
            return self.turns > before

    async def run(self) -> None:
        nothing: Any = self
        with trio.fail_after(10):
            await router.serve_router(
                nothing,
                crowds=self._crowds,
                turn=self.take_turn,
                precedence=nothing,
                hurry=nothing,
                wake_other=self._wake_other,
                size=RoundSize(),
                bell=nothing,
                awake=lambda: self.awake,
                routed=lambda _: None,
                claims=nothing,
                stopping=self._stopping,
                max_depth=lambda: 10,
                max_values=lambda: 1000,
                schemas=nothing,
                metrics=Metrics(),
                progress=Progress("routing", trio.current_time),
            )

    def _wake_other(self) -> None:
        self.woken += 1

    def give(self) -> None:
        self.precedence.append("given")

    def end(self) -> None:
        self.precedence.append("over")

    def set(self) -> None:
        """Count what one router passes on to the other."""
        self.hurries += 1

    async def _route(
        self,
        database: object,
        canonicalise: object,
        *,
        routed: Any,
        go_on: Any,
        events: Any,
        turn: Any,
        **_: object,
    ) -> None:
        self.events, self.turn = events, turn

        async def heard(cut: bool, slices: bool = False) -> None:
            await routed(self, Round(1, 1, cut, slices=slices), NO_CLAIM)

        self.begun.append(trio.current_time())
        script = self._scripts.pop(0)
        if not self._scripts:
            self._stopping.set()
        await script(heard, go_on)


async def test_a_crowd_that_begins_wakes_the_router_for_crowds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(heard: Any, go_on: Any) -> None:
        await heard(False)
        assert scene.woken == 0
        await heard(True)
        assert scene.woken == 1
        await go_on(False)
        assert scene.woken == 1

    scene = Scene(monkeypatch, crowds=False, scripts=[script])
    await scene.run()


async def test_a_crowd_that_ends_wakes_the_other_router(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Who came into the shard meanwhile was left alone by it."""

    async def script(heard: Any, go_on: Any) -> None:
        await heard(True)
        assert scene.woken == 0
        await heard(False)
        assert scene.woken == 1
        await heard(True)
        assert scene.woken == 1
        await trio.sleep(2 * router.RING_AT_LEAST)
        await heard(True)
        assert scene.woken == 2, "beside another crowd, too"
        await go_on(True)
        assert scene.woken == 2
        await heard(True)
        await go_on(False)
        assert scene.woken == 3
        await go_on(False)
        assert scene.woken == 3, "a look in vain wakes nobody"

    scene = Scene(monkeypatch, crowds=True, scripts=[script])
    await scene.run()


async def test_who_was_rung_for_beside_a_crowd_is_served_in_a_small_round_out_of_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(heard: Any, go_on: Any) -> None:
        await go_on(True)
        assert not await scene.waits_for_turn(), "nobody else publishes"
        await heard(False)
        assert await scene.waits_for_turn()
        assert scene.events() > router.FEW_EVENTS
        scene.rung = True
        for _ in range(2):  # the first one may be everybody's turn
            await go_on(True)
            assert not await scene.waits_for_turn()
            assert scene.events() == router.FEW_EVENTS
            await heard(True)
        await go_on(True)
        assert await scene.waits_for_turn()
        scene.rung = True
        await go_on(True)
        await heard(False)
        await go_on(True)
        assert await scene.waits_for_turn(), "who was waiting has been served"

    scene = Scene(monkeypatch, crowds=True, scripts=[script])
    await scene.run()


async def test_the_router_for_all_others_waits_for_no_turn_and_passes_on_what_was_not_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(heard: Any, go_on: Any) -> None:
        await go_on(False)
        await go_on(False)
        assert scene.hurries == 0
        scene.rung = True
        await go_on(False)
        await go_on(False)
        assert scene.hurries == 1
        await go_on(False)
        assert scene.hurries == 1
        scene.rung = True
        await go_on(False)
        await heard(True)
        await go_on(True)
        assert scene.hurries == 1, "it was for this one"
        assert not await scene.waits_for_turn()

    scene = Scene(monkeypatch, crowds=False, scripts=[script])
    await scene.run()


async def test_what_it_was_rung_for_has_precedence_until_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(heard: Any, go_on: Any) -> None:
        await go_on(False)
        assert scene.precedence == ["over"], "it looks by itself"
        scene.rung = True
        await go_on(False)
        assert scene.precedence == ["over", "over", "given"]
        await go_on(True)
        assert scene.precedence[3:] == ["over"]
        scene.rung = scene.awake = True
        await go_on(False)
        assert scene.precedence[4:] == ["over"], "many come, and most of them without being announced"

    scene = Scene(monkeypatch, crowds=False, scripts=[script])
    await scene.run()


async def test_who_rings_while_a_crowd_waits_for_its_turn_is_served_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(heard: Any, go_on: Any) -> None:
        await heard(False)
        await go_on(True)
        scene.rings_meanwhile = True
        async with scene.turn():
            assert scene.events() == router.FEW_EVENTS
        await heard(True)
        scene.rings_meanwhile = False
        await go_on(True)
        assert scene.events() == router.FEW_EVENTS, "the first one may be everybody's turn"
        await heard(True)
        await go_on(True)
        assert scene.events() > router.FEW_EVENTS
        assert scene.precedence == [], "it is another router's to give"

    scene = Scene(monkeypatch, crowds=True, scripts=[script])
    await scene.run()


async def test_what_has_precedence_stops_a_crowd_though_nobody_has_published_of_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(heard: Any, go_on: Any) -> None:
        await go_on(True)
        assert not await scene.waits_for_turn()
        scene.given = True
        assert await scene.waits_for_turn()

    scene = Scene(monkeypatch, crowds=True, scripts=[script])
    await scene.run()


async def test_a_burst_that_is_being_published_beside_others_is_routed_slowly(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def rest_after(heard: Any, go_on: Any) -> float:
        await trio.sleep(LOOK_EVERY)
        await heard(True)
        await go_on(True)
        return scene.waits[-1]

    async def script(heard: Any, go_on: Any) -> None:
        assert await rest_after(heard, go_on) == 0.0
        assert await rest_after(heard, go_on) == 0.0, "nobody else publishes"
        await heard(False)
        assert await rest_after(heard, go_on) == router.BREATHER, "it may all have been there before"
        assert await rest_after(heard, go_on) == REST
        scene.awake = True
        assert await rest_after(heard, go_on) == 0.0, "nothing would ring for others in its shard"

    scene = Scene(monkeypatch, crowds=True, scripts=[script])
    await scene.run()


async def test_a_fan_out_beside_others_is_queued_with_a_rest_after_each_slice(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def rest_after_slice(heard: Any, go_on: Any) -> float:
        await trio.sleep(LOOK_EVERY)
        await heard(True, slices=True)
        await go_on(True)
        return scene.waits[-1]

    async def script(heard: Any, go_on: Any) -> None:
        assert await rest_after_slice(heard, go_on) == 0.0, "nobody else publishes"
        await heard(False)
        assert await rest_after_slice(heard, go_on) == router.SLICE_BREATHER
        assert await rest_after_slice(heard, go_on) == router.SLICE_BREATHER, "however much comes"

    scene = Scene(monkeypatch, crowds=True, scripts=[script])
    await scene.run()


async def test_a_failed_round_wakes_the_other_router(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def fail(heard: Any, go_on: Any) -> None:
        raise asyncpg.PostgresError

    async def end(heard: Any, go_on: Any) -> None:
        pass

    scene = Scene(monkeypatch, crowds=False, scripts=[fail, end])
    await scene.run()
    assert scene.woken == 1


async def test_a_connection_that_was_lost_while_idle_is_replaced_without_a_pause(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def idle_and_lose(heard: Any, go_on: Any) -> None:
        await go_on(False)
        raise DatabaseUnavailable

    async def lose(heard: Any, go_on: Any) -> None:
        await go_on(True)
        raise DatabaseUnavailable

    async def end(heard: Any, go_on: Any) -> None:
        pass

    scene = Scene(monkeypatch, crowds=False, scripts=[idle_and_lose, lose, end])
    await scene.run()
    first, second, third = scene.begun
    assert second == first
    assert third - second >= router.OUTAGE_PAUSE / 2
