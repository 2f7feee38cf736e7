import json
from pathlib import Path

import pytest

from bench.figures import Run, grid, medians, number, ratio, table
from bench.report import Claim, Report, Subject


def test_the_median_of_each_figure_that_every_run_has_is_given() -> None:
    assert medians([{"a": 1.0, "b": 5.0}, {"a": 9.0}, {"a": 2.0}]) == {"a": 2.0}
    assert medians([]) == {}


def test_a_ratio_is_that_of_runs_made_one_after_the_other() -> None:
    ours, theirs = (
        [{"rate": 20.0}, {"rate": 4.0}, {"rate": 30.0}],
        [{"rate": 10.0}, {"rate": 2.0}, {"rate": 3.0}],
    )
    assert ratio("rate", ours, theirs) == 2.0


@pytest.mark.parametrize("of, to", [([], []), ([{"rate": 1.0}], [])])
def test_runs_that_have_no_partner_are_not_compared(of: list[Run], to: list[Run]) -> None:
    with pytest.raises(ValueError, match="equally often"):
        ratio("rate", of, to)


@pytest.mark.parametrize(
    "value, shown", [(123456.7, "123,457"), (99.94, "99.9"), (1.234, "1.23"), (0.0, "0.00"), (-250.0, "-250")]
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_table_has_its_first_column_to_the_left_and_the_others_to_the_right() -> None:
    assert table(["what", "n"], [["a", "10"], ["long one", "7"]]).splitlines() == [
        "what       n",
        "--------  --",
        "a         10",
        "long one   7",
    ]


def test_what_a_subject_does_not_have_is_a_dash() -> None:
    lines = grid(
        {"floor": [{"rate_per_s": 9.0}], "hookd": [{"rate_per_s": 3.0, "cpu_us": 80.0}]}
    ).splitlines()
    assert lines[0].split() == ["median", "rate", "per", "s", "cpu", "us"]
    assert lines[2].split() == ["floor", "9.00", "-"]
    assert lines[3].split() == ["hookd", "3.00", "80.0"]


@pytest.mark.parametrize(
    "value, most, verdict",
    [
        (16, False, "aim"),
        (15.9, False, "must"),
        (9.9, False, "missed"),
        (3, True, "aim"),
        (3.1, True, "must"),
        (5.1, True, "missed"),
    ],
)
def test_a_claim_says_what_it_reaches(value: float, most: bool, verdict: str) -> None:
    must, aim = (5, 3) if most else (10, 16)
    assert Claim("it", value, must, aim, most).verdict == verdict


def test_subjects_run_in_turn_and_every_run_is_in_the_file(tmp_path: Path) -> None:
    order: list[str] = []

    def subject(name: str, rate: float) -> Subject:
        def run() -> Run:
            order.append(name)
            return {"rate_per_s": rate * len(order)}

        return run

    report = Report("trial", {"size": 7})
    report.interleave(2, {"a": subject("a", 1.0), "b": subject("b", 10.0)}, lambda text: None)
    report.claim("b against a", report.ratio("rate_per_s", "b", "a"), must=10, aim=20)
    assert order == ["a", "b", "a", "b"]
    document = json.loads(report.write(tmp_path / "results").read_text())
    assert document["subjects"]["a"] == {
        "median": {"rate_per_s": 2.0},
        "runs": [{"rate_per_s": 1.0}, {"rate_per_s": 3.0}],
    }
    assert document["parameters"] == {"size": 7}
    assert document["machine"]["cores"] >= 1
    assert "asyncpg" in document["versions"]
    (claim,) = document["claims"]
    assert claim["reached"] == "must"
    assert claim["value"] == pytest.approx((20 / 1 + 40 / 3) / 2)
