from bench.command import RESULTS
from bench.report import Report
from bench.summary import README, markdown, read, rows, text, within


def reported() -> Report:
    report = Report("drain", {"runs": 5, "size": 100_000, "files": "/dev/shm"}, versions={}, commit="0123abc")
    report.claim("rate, part of the floor's", 0.23, must=0.2, aim=0.3)
    report.claim("CPU of one, times the floor's", 5.5, must=5, aim=3, most=True)
    return report


def test_a_row_says_what_was_asked_and_found_of_which_code_and_how_to_find_it_again() -> None:
    *_, second = rows([reported().document()])
    assert second == [
        "rate, part of the floor's",
        "0.23",
        "≥ 0.20",
        "≥ 0.30",
        "must",
        "0123abc",
        "drain, 5, 100,000, in memory",
    ]
    assert markdown([["head"] * 7, second]).splitlines()[2].startswith("| rate, part of the floor's | 0.23 |")


def test_what_was_missed_stands_first() -> None:
    first, _ = rows([reported().document()])
    assert first[:5] == ["CPU of one, times the floor's", "5.50", "≤ 5.00", "≤ 3.00", "**missed**"]


def test_the_page_has_the_figures_of_the_results() -> None:
    page = README.read_text()
    assert page == within(page, text([one for one in read(RESULTS) if one["claims"]])), (
        "run `.venv/bin/python -m bench summary --write`"
    )
