from bench.report import Report
from bench.summary import HEAD, markdown, rows


def test_a_row_says_what_was_asked_what_was_found_and_how_to_find_it_again() -> None:
    report = Report("drain", {"runs": 5, "size": 100_000}, versions={})
    report.claim("rate, part of the floor's", 0.23, must=0.2, aim=0.3)
    report.claim("CPU of one, times the floor's", 5.5, must=5, aim=3, most=True)
    found = rows([report.document()])
    assert found == [
        [
            "rate, part of the floor's",
            "0.23",
            "≥ 0.20",
            "≥ 0.30",
            "must",
            "`python -m bench drain`",
            "5, 100,000",
        ],
        [
            "CPU of one, times the floor's",
            "5.50",
            "≤ 5.00",
            "≤ 3.00",
            "missed",
            "`python -m bench drain`",
            "5, 100,000",
        ],
    ]
    assert markdown([HEAD, *found]).splitlines()[2].startswith("| rate, part of the floor's | 0.23 |")
