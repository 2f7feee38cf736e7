from datetime import UTC, datetime

import pytest

from api.timestamps import ADVICE, moment

TEN = datetime(2026, 3, 10, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["2026-03-10T10:00:00Z", "2026-03-10t10:00:00z", "2026-03-10T12:00:00+02:00", "2026-03-10T10:00:00.000Z"],
)
def test_every_spelling_of_a_moment_is_the_same_one(text: str) -> None:
    assert moment(text) == TEN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-10",
        "2026-03-10T10:00:00",
        "2026-03-10 10:00:00Z",
        "2026-02-30T10:00:00Z",
        "2026-03-10T25:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "٢026-03-10T10:00:00Z",
    ],
)
def test_what_names_no_moment_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        moment(text)
    if "02-30" not in text and "T25" not in text:
        assert str(caught.value) == ADVICE
