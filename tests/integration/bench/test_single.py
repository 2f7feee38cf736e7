from pathlib import Path

import pytest

from bench.single import YARDSTICKS, answered


@pytest.mark.parametrize("module", YARDSTICKS.values())
def test_what_is_compared_answers_as_the_api_does(module: str, tmp_path: Path) -> None:
    found = answered(module, tmp_path / "log", [0.0] * 100)
    assert found["rate_per_s"] > 0
    assert found["postgres_us"] == 0
