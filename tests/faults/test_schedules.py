"""A few random schedules, of fixed seeds; `make faults ARGS="--schedules 300 --seed 1"` runs many."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.schedules.cluster import OLD_COUNTER, Cluster, administer, count_up
from tests.faults.schedules.run import run
from tests.support.postgres import reachable_directory

SEEDS = (23, 123)


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with reachable_directory() as found:
        yield found


@pytest.fixture(scope="module")
def cluster(directory: Path) -> Iterator[Cluster]:
    made = Cluster(directory / "cluster-1")
    administer(made.url, count_up(OLD_COUNTER))
    yield made
    made.close()


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_random_schedule_loses_nothing(seed: int, cluster: Cluster, directory: Path) -> None:
    outcome = await run(seed, cluster, directory / str(seed))
    assert outcome.verdict.good, "\n".join(
        [*outcome.log, *outcome.verdict.problems, f'again: make faults ARGS="--seed {seed}"']
    )
