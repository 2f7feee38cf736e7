"""Words that every part of hookd shares: roles, and what becomes of an attempt."""

from enum import StrEnum

TEST_TYPE = "webhook.test"
"""The type of synthetic events, which test a receiver."""


class Role(StrEnum):
    """Roles that a token may carry (the `roles` claim)."""

    ORG_ADMIN = "org_admin"
    PUBLISHER = "publisher"
    VIEWER = "viewer"
    PLATFORM = "platform"


class Outcome(StrEnum):
    """What becomes of a delivery with the result of an attempt, or without one."""

    SUCCEEDED = "succeeded"
    RETRY = "retry"
    """Failed; due again after a delay."""
    GIVEN_UP = "given_up"
    """Failed for the last time: `Reason` says why."""
    INTERRUPTED = "interrupted"
    """Sent, but nobody knows what came of it: due again at once, and no failure."""
    UNSENT = "unsent"
    """Never left: as if it had not been claimed."""


class Reason(StrEnum):
    """Why a delivery is given up after an attempt. `GONE` also disables the subscription."""

    EXHAUSTED = "exhausted"
    GONE = "gone"


class LaneEffect(StrEnum):
    """What the attempt says about the lane.

    An answer in time proves the lane, whatever its status: it holds a sender no longer than a good one. A
    good one (or one that blames only the request, as 404 does) widens the lane's room; where most of a window
    say that the receiver is failing or overloaded, or do not come, the room is halved, once a window. One to
    which no answer has come for as long as a request waited for it shrinks to one request at a time and is
    unproven. A failure to connect that is due to the subscription's own settings counts as no answer.
    Neutral: the lane was never reached, nothing changes.
    """

    ANSWERED_WELL = "answered_well"
    ANSWERED_BADLY = "answered_badly"
    UNANSWERED = "unanswered"
    NEUTRAL = "neutral"
