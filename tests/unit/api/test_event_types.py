import pytest

from api.event_types import pattern_refusal, refusal

KNOWN = ["placement.created", "placement.updated", "match.proposed", "ping"]


@pytest.mark.parametrize("pattern", ["*", "placement.*", "match.*", "ping", "match.proposed"])
def test_known_types_and_groups_are_patterns(pattern: str) -> None:
    assert pattern_refusal(pattern, KNOWN) is None


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("placment.*", '"placement.*"'),
        ("match.propose", '"match.proposed"'),
        ("place*", "GET /webhooks/events"),
        (".*", "GET /webhooks/events"),
        ("**", "GET /webhooks/events"),
        ("", "GET /webhooks/events"),
        ("x" * 100_000, "GET /webhooks/events"),
    ],
)
def test_other_patterns_are_refused_with_a_hint(pattern: str, hint: str) -> None:
    assert hint in (pattern_refusal(pattern, KNOWN) or "")


def test_a_pattern_is_no_type_of_an_event() -> None:
    assert refusal("placement.*", KNOWN)
    assert refusal("*", KNOWN)
    assert refusal("ping", KNOWN) is None
