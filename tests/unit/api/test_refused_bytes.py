"""Bodies that came to nothing are held against their organisation for a while."""

from uuid import UUID

import pytest

from api.problems import Problem
from api.refused_bytes import BURST, MAX_OWED, RATE, RefusedBytes

A, B = UUID(int=1), UUID(int=2)


def wait(refused: RefusedBytes, org: UUID, now: float) -> int:
    """Return the seconds in Retry-After, 0 where a large body may come."""
    try:
        refused.check(org, now)
    except Problem as problem:
        return int(problem.headers["Retry-After"])
    return 0


def test_beyond_the_burst_its_organisation_waits_and_no_other() -> None:
    refused = RefusedBytes()
    refused.count(A, BURST, 0.0)
    assert wait(refused, A, 0.0) == 0
    refused.count(A, 3 * RATE, 0.0)
    assert wait(refused, A, 0.0) == 3
    assert wait(refused, B, 0.0) == 0
    assert wait(refused, A, 2.5) == 1
    assert wait(refused, A, 3.0) == 0


def test_what_is_not_repeated_is_forgotten() -> None:
    refused = RefusedBytes()
    for second in range(0, 1000, 10):
        refused.count(A, 9 * RATE, float(second))
        assert wait(refused, A, float(second)) == 0


def test_nobody_waits_longer_than_for_the_most() -> None:
    refused = RefusedBytes()
    refused.count(A, 1000 * BURST, 0.0)
    assert wait(refused, A, 0.0) == (MAX_OWED - BURST) / RATE


def test_organisations_of_which_nothing_is_left_cost_no_memory() -> None:
    refused = RefusedBytes()
    for number in range(5000):
        refused.count(UUID(int=number), RATE, number * 1.0)
    assert len(refused) < 2100


@pytest.mark.parametrize("size", [0, 1])
def test_at_first_there_is_nothing(size: int) -> None:
    refused = RefusedBytes()
    refused.count(A, size, 0.0)
    assert wait(refused, A, 0.0) == 0
