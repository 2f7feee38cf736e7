import pytest

from daemon.process.connections import shortage


def test_enough_connections_are_not_complained_of() -> None:
    assert shortage(15, "X", processes=1, pool_size=10) == ""


@pytest.mark.parametrize(
    "allowed, processes, need, remedy",
    [
        (14, 1, "15 connections (pool_size", "lower pool_size in [database] to 9, or allow 15"),
        (5, 1, "15 connections (pool_size", "X allows 5: allow 15"),
        (59, 4, "60 connections (4 processes with pool_size", "to 9, or allow 60"),
    ],
)
def test_too_few_are_told_with_what_fits(allowed: int, processes: int, need: str, remedy: str) -> None:
    said = shortage(allowed, "X", processes=processes, pool_size=10)
    assert said.startswith(f"hookd may need {need} = 10 and 5 for the queue), and X allows {allowed}: ")
    assert said.endswith(remedy)
