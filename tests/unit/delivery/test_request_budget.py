from uuid import uuid4

import pytest

from daemon.delivery.request_budget import RequestBudget

ORG, OTHER = uuid4(), uuid4()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_may_be_had_at_once_and_then_the_rate() -> None:
    clock = Clock()
    budget = RequestBudget(rate=2.0, burst=10.0, now=clock)
    assert [budget.take(ORG, 5) for _ in range(3)] == [0, 0, 2.5]
    assert budget.take(ORG, 1) == 0.5, "what was refused has cost nothing"
    assert budget.take(OTHER, 10) == 0
    clock.now += 2.5
    assert budget.take(ORG, 5) == 0
    assert budget.take(ORG, 1) == pytest.approx(0.5)
    clock.now += 100
    assert budget.take(ORG, 10) == 0
    assert budget.take(ORG, 1) > 0


def test_the_quiet_are_forgotten() -> None:
    clock = Clock()
    budget = RequestBudget(rate=2.0, burst=10.0, now=clock)
    for _ in range(1023):
        budget.take(uuid4(), 1)
    clock.now += 1
    budget.take(ORG, 10)
    budget.take(OTHER, 1)
    assert set(budget._full_at) == {ORG, OTHER}
    assert budget.take(ORG, 1) > 0
