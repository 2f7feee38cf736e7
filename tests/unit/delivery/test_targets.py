"""Targets that take the place of others."""

import gc
import time
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from daemon.delivery.targets import TIDY_AFTER, Targets
from daemon.store.queue import TargetRow


def refuse(*_: object) -> object:
    raise AssertionError("a target is read when it is first sent to")


def targets(most: int) -> Targets:
    return Targets(parse_url=refuse, decrypt=refuse, write=refuse, now=time.time, most=most)  # type: ignore[arg-type]


def rows(count: int) -> list[TargetRow]:
    return [
        TargetRow(uuid4(), uuid4(), 1, "https://example.com/", None, None, (b"sealed",), None)
        for _ in range(count)
    ]


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """The garbage collector's stops, each as the generation that it looked at. It makes none by itself."""
    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            seen.append(info["generation"])

    gc.disable()
    gc.callbacks.append(note)
    try:
        yield seen
    finally:
        gc.callbacks.remove(note)
        gc.enable()


def test_the_least_recently_learned_are_forgotten() -> None:
    kept = targets(most=3)
    learned = rows(5)
    kept.learn(learned)
    known = [kept.known(row.subscription_id, 1) for row in learned]
    assert known == [False, False, True, True, True]
    assert not kept.known(UUID(int=0), 1)


def test_the_collector_does_not_wait_for_as_many_as_there_may_be(collections: list[int]) -> None:
    kept = targets(most=10)
    kept.learn(rows(10))
    kept.learn(rows(TIDY_AFTER - 1))
    assert collections == []
    for _ in range(3):
        kept.learn(rows(TIDY_AFTER))
    assert collections == [0, 0, 0]


def test_nothing_is_collected_while_there_is_room(collections: list[int]) -> None:
    targets(most=3 * TIDY_AFTER).learn(rows(3 * TIDY_AFTER))
    assert collections == []
