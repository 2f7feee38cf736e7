"""Why a delivery is not being sent now, and until when. Pure: it looks only at what it is given."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil

from daemon.store.history import Standing

COUNTED = 1000
"""So far the deliveries ahead are counted."""
_LONGEST = timedelta(days=3650)


class Reason(StrEnum):
    """What holds a delivery."""

    SENDING = "sending"
    PAUSED = "paused"
    DELIVER_AFTER = "deliver_after"
    RETRY = "retry"
    ORDER = "order"
    RETRY_AFTER = "retry_after"
    CIRCUIT = "circuit"
    IN_FLIGHT = "in_flight"
    ORGANISATION_SHARE = "organisation_share"
    RATE = "rate"
    CATCHING_UP = "catching_up"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class Waiting:
    """`until`: the moment before which nothing changes; None where no time is set. `detail`: a sentence."""

    reason: Reason
    until: datetime | None
    detail: str


_PAUSED = {
    "gone": "The subscription is off because its receiver answered 410; set is_active to go on.",
    "failing": "The subscription is off because it has only failed for days; set is_active to go on.",
}
_RETRY = (
    "The last attempt did not succeed; the next one follows the retry schedule, or comes earlier if its"
    " receiver was away and is back."
)
_CATCHING_UP = "The receiver is back: what failed while it was away goes now, behind what is due."
_PAUSED_BY_HAND = "The subscription is off; set is_active to go on."


def waiting(standing: Standing) -> Waiting:
    """Return what holds the delivery.

    One that catches up does not wait for its own time. Of several things that end at a known time, it is the
    one that ends last. After those comes what ends with an answer, and then the rate of the subscription, as
    far as those ahead use it up.
    """
    if standing.leased:
        return _sending(standing)
    if not standing.is_active:
        return Waiting(Reason.PAUSED, None, _PAUSED.get(standing.disabled_reason or "", _PAUSED_BY_HAND))
    if standing.ordered and standing.due <= standing.now and (standing.ahead or standing.lane_in_flight):
        return Waiting(
            Reason.ORDER,
            _future(standing.hold_until, standing.now),
            "The subscription is in strict order: an earlier event must succeed or be given up first.",
        )
    found = max(_timed(standing), key=lambda one: one.until or standing.now)
    if _future(found.until, standing.now) is not None:
        return found
    if answer := _answer(standing):
        return answer
    return Waiting(Reason.CATCHING_UP, None, _CATCHING_UP) if standing.catching_up else _behind(standing)


def _sending(standing: Standing) -> Waiting:
    until = _future(standing.leased_until, standing.now)
    if until is None:
        detail = "It was sent, and no outcome was recorded in time; it is going to be sent again."
    else:
        detail = f"Attempt {standing.attempt} is being sent; without an outcome by then, it is sent again."
    return Waiting(Reason.SENDING, until, detail)


def _timed(standing: Standing) -> Iterator[Waiting]:
    """Give what ends at a known time, whether that is past or not; of two equal ones the first counts."""
    if standing.ordered and standing.failures:
        detail = "The last attempt failed; the subscription is in strict order and waits for the next one."
        yield Waiting(Reason.RETRY, standing.hold_until, detail)
    else:  # before the retry: one that the receiver put off is due as the pause ends
        detail = (
            "The receiver asked for a pause with Retry-After, or hookd cannot send for now: its proxy does"
            " not work, or no secret can be opened to sign with."
        )
        yield Waiting(Reason.RETRY_AFTER, standing.hold_until, detail)
    if standing.catching_up:
        yield Waiting(Reason.CATCHING_UP, None, _CATCHING_UP)
    elif standing.attempt:
        yield Waiting(Reason.RETRY, standing.due, _RETRY)
    else:
        yield Waiting(Reason.DELIVER_AFTER, standing.due, "Its publisher set deliver_after.")
    if standing.circuit_open:
        detail = f"{standing.host_name} could not be connected to, several times in a row."
        yield Waiting(Reason.CIRCUIT, standing.blocked_until, detail)
    if standing.lane_rate is not None and standing.paced_until is not None:
        until = _paced(standing.paced_until, standing.lane_rate, 0)
        yield Waiting(Reason.RATE, until, "The subscription's rate_limit is used up.")
    if standing.host_tokens < 1:
        until = _after(standing.now, (1 - standing.host_tokens) / standing.host_rate)
        detail = f"The rate of {standing.host_name}, which all its subscriptions share, is used up."
        yield Waiting(Reason.RATE, until, detail)


def _answer(standing: Standing) -> Waiting | None:
    """Return what ends with the answer to a request that is under way."""
    name = standing.host_name
    if standing.circuit_open:
        detail = f"{name} could not be connected to; one request tries it, and the rest follow if it can."
        return Waiting(Reason.CIRCUIT, None, detail)
    if standing.lane_in_flight >= standing.lane_window:
        detail = (
            f"As many requests as the receiver copes with are under way ({standing.lane_in_flight});"
            " it waits for one of them."
        )
        return Waiting(Reason.IN_FLIGHT, None, detail)
    if standing.host_in_flight >= standing.host_cap:
        detail = (
            f"As many requests as {name} may get at once are under way ({standing.host_in_flight});"
            " it waits for one of them."
        )
        return Waiting(Reason.IN_FLIGHT, None, detail)
    own, free = standing.share_in_flight, standing.host_cap - standing.host_in_flight
    if own is not None and own >= free:
        detail = (
            f"Your organisation has {own} requests under way at {name}; the {free} more that may go there are"
            " kept for others who use it. It waits for one of its own."
        )
        return Waiting(Reason.ORGANISATION_SHARE, None, detail)
    return None


def _behind(standing: Standing) -> Waiting:
    """Return the wait for deliveries that go first, and for a sender."""
    ahead = standing.ahead
    if standing.lane_rate is not None:
        base = max(standing.now, standing.paced_until or standing.now)
        until = _future(_paced(base, standing.lane_rate, ahead), standing.now)
        if until is not None:
            detail = f"{_count(ahead)} of the subscription go before it, at its rate_limit."
            return Waiting(Reason.RATE, until, detail)
    if ahead:
        return Waiting(Reason.QUEUE, None, f"{_count(ahead)} of the subscription go before it.")
    return Waiting(Reason.QUEUE, None, "It is due, and goes as soon as a sender takes it.")


def _paced(base: datetime, rate: float, ahead: int) -> datetime:
    """Return from when the rate lets it go: one second's worth may be ahead of `base` (see `hookd.pace`)."""
    return _after(base, (ahead - (max(1, ceil(rate)) - 1)) / rate)


def _after(moment: datetime, seconds: float) -> datetime:
    span = timedelta(seconds=min(seconds, _LONGEST.total_seconds()))
    return moment + span


def _future(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if moment is not None and moment > now else None


def _count(ahead: int) -> str:
    return (
        f"At least {COUNTED} deliveries"
        if ahead >= COUNTED
        else f"{ahead} deliver{'y' if ahead == 1 else 'ies'}"
    )
