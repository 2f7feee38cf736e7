import pytest

from bench.publishers import Published
from bench.single import FLAT_OUT, STEADY, figures, uses


def test_the_steady_use_lasts_no_longer_than_twenty_seconds() -> None:
    assert uses(10_000)[STEADY][-1] == 19.99
    assert len(uses(10_000)[FLAT_OUT]) == 10_000
    assert len(uses(300)[STEADY]) == 300


def test_flat_out_time_runs_from_the_call_and_else_from_the_plan() -> None:
    flat_out = [Published(0.0, 0.0, 0.1), Published(0.0, 1.0, 1.1)]
    steady = [Published(0.0, 0.0, 0.1), Published(0.5, 1.0, 1.1)]
    assert figures(flat_out, [0.2, 1.2], 0.0)["median_ms"] == pytest.approx(200)
    assert figures(steady, [0.2, 1.2], 0.0)["median_ms"] == pytest.approx(450)


def test_a_figure_is_of_one_event() -> None:
    found = figures([Published(0.0, 0.0, 0.1), Published(1.0, 1.0, 1.1)], [0.5, 2.0], 0.002, 0.004)
    assert found["rate_per_s"] == pytest.approx(1)
    assert (found["cpu_us"], found["postgres_us"], found["all_us"]) == pytest.approx((1000, 2000, 3000))
