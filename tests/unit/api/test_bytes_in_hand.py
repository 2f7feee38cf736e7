"""What is in hand is bounded in all and by organisation, and given back."""

from uuid import UUID

import pytest

from api.bytes_in_hand import BytesInHand
from api.problems import Problem

A, B = UUID(int=1), UUID(int=2)


def refused(status: int, grow: object, size: int, **how: bool) -> Problem:
    with pytest.raises(Problem) as caught:
        grow.grow_to(size, **how)  # type: ignore[attr-defined]
    assert caught.value.status == status
    assert int(caught.value.headers["Retry-After"]) > 0
    return caught.value


def test_one_organisation_has_its_share_and_others_theirs() -> None:
    in_hand = BytesInHand(limit=100, share=30)
    with in_hand.hold(A) as first, in_hand.hold(A) as second, in_hand.hold(B) as other:
        first.grow_to(20)
        assert "30 bytes" in refused(429, second, 11).detail
        second.grow_to(10)
        other.grow_to(30)
        assert len(in_hand) == 60
        first.shrink_to(5)
        second.grow_to(25)
    assert len(in_hand) == 0


def test_all_together_have_the_limit() -> None:
    in_hand = BytesInHand(limit=100, share=30)
    with in_hand.hold(A, shared=False) as platform, in_hand.hold(B) as other:
        platform.grow_to(90)
        refused(503, other, 11)
        other.grow_to(10)
        refused(503, platform, 91)
        assert len(in_hand) == 100
    assert len(in_hand) == 0


def test_what_was_let_in_may_outgrow_the_share_but_not_the_limit() -> None:
    in_hand = BytesInHand(limit=100, share=30)
    with in_hand.hold(A) as one:
        one.grow_to(30)
        one.grow_to(80, beyond_share=True)
        refused(503, one, 101, beyond_share=True)
        with in_hand.hold(A) as another:
            refused(429, another, 1)


def test_a_refusal_changes_nothing() -> None:
    in_hand = BytesInHand(limit=100, share=30)
    with in_hand.hold(A) as one:
        refused(429, one, 31)
        assert (one.size, len(in_hand)) == (0, 0)
        one.grow_to(10)
        one.grow_to(5)
        one.shrink_to(20)
        assert (one.size, len(in_hand)) == (10, 10)
