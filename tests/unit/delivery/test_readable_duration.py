import pytest

from daemon.delivery.readable_duration import readable


@pytest.mark.parametrize(
    "seconds, text",
    [(0.04, "0.0s"), (59.9, "59.9s"), (303, "5m 3s"), (7200, "2h 0m"), (3 * 86400 + 4 * 3600, "3d 4h")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert readable(seconds) == text
