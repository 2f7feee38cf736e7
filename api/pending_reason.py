"""Why a delivery is not being sent now, and until when. Pure: it looks only at what it is given."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil

from daemon.store.history import DeliveryState

COUNTED = 1000
"""So far the deliveries ahead are counted."""
_MAX_WAIT = timedelta(days=3650)


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


def waiting(state: DeliveryState) -> Waiting:
    """Return what holds the delivery.

    One that catches up does not wait for its own time. Of several things that end at a known time, it is the
    one that ends last. After those comes what ends with an answer, and then the rate of the subscription, as
    far as those ahead use it up.
    """
    if state.leased:
        return _sending(state)
    if not state.is_active:
        return Waiting(Reason.PAUSED, None, _PAUSED.get(state.disabled_reason or "", _PAUSED_BY_HAND))
    if state.ordered and state.due <= state.now and (state.ahead or state.lane_in_flight):
        return Waiting(
            Reason.ORDER,
            _future(state.hold_until, state.now),
            "The subscription is in strict order: an earlier event must succeed or be given up first.",
        )
    found = max(_timed(state), key=lambda one: one.until or state.now)
    if _future(found.until, state.now) is not None:
        return found
    if answer := _answer(state):
        return answer
    return Waiting(Reason.CATCHING_UP, None, _CATCHING_UP) if state.catching_up else _behind(state)


def _sending(state: DeliveryState) -> Waiting:
    until = _future(state.leased_until, state.now)
    if until is None:
        detail = "It was sent, and no outcome was recorded in time; it is going to be sent again."
    else:
        detail = f"Attempt {state.attempt} is being sent; without an outcome by then, it is sent again."
    return Waiting(Reason.SENDING, until, detail)


def _timed(state: DeliveryState) -> Iterator[Waiting]:
    """Give what ends at a known time, whether that is past or not; of two equal ones the first counts."""
    if state.ordered and state.failures:
        detail = "The last attempt failed; the subscription is in strict order and waits for the next one."
        yield Waiting(Reason.RETRY, state.hold_until, detail)
    else:  # before the retry: one that the receiver put off is due as the pause ends
        detail = (
            "The receiver asked for a pause with Retry-After, or gives no answer and is tried now and then,"
            " or hookd cannot send for now: its proxy does not work, or no secret can be opened to sign with."
        )
        yield Waiting(Reason.RETRY_AFTER, state.hold_until, detail)
    if state.catching_up:
        yield Waiting(Reason.CATCHING_UP, None, _CATCHING_UP)
    elif state.attempt:
        yield Waiting(Reason.RETRY, state.due, _RETRY)
    else:
        yield Waiting(Reason.DELIVER_AFTER, state.due, "Its publisher set deliver_after.")
    if state.circuit_open:
        detail = f"{state.host_key} could not be connected to, several times in a row."
        yield Waiting(Reason.CIRCUIT, state.blocked_until, detail)
    if state.lane_rate is not None and state.paced_until is not None:
        until = _paced(state.paced_until, state.lane_rate, 0)
        yield Waiting(Reason.RATE, until, "The subscription's rate_limit is used up.")
    if state.host_tokens < 1:
        until = _after(state.now, (1 - state.host_tokens) / state.host_rate)
        detail = f"The rate of {state.host_key}, which all its subscriptions share, is used up."
        yield Waiting(Reason.RATE, until, detail)


def _answer(state: DeliveryState) -> Waiting | None:
    """Return what ends with the answer to a request that is under way."""
    name = state.host_key
    if state.circuit_open:
        detail = f"{name} could not be connected to; one request tries it, and the rest follow if it can."
        return Waiting(Reason.CIRCUIT, None, detail)
    if state.lane_in_flight >= state.lane_window:
        detail = (
            f"As many requests as the receiver copes with are under way ({state.lane_in_flight});"
            " it waits for one of them."
        )
        return Waiting(Reason.IN_FLIGHT, None, detail)
    if state.host_in_flight >= state.host_max_in_flight:
        detail = (
            f"As many requests as {name} may get at once are under way ({state.host_in_flight});"
            " it waits for one of them."
        )
        return Waiting(Reason.IN_FLIGHT, None, detail)
    own, free = state.share_in_flight, state.host_max_in_flight - state.host_in_flight
    if own is not None and own >= free:
        detail = (
            f"Your organisation has {own} requests under way at {name}; the {free} more that may go there are"
            " kept for others who use it. It waits for one of its own."
        )
        return Waiting(Reason.ORGANISATION_SHARE, None, detail)
    return None


def _behind(state: DeliveryState) -> Waiting:
    """Return the wait for deliveries that go first, and for a sender."""
    ahead = state.ahead
    if state.lane_rate is not None:
        base = max(state.now, state.paced_until or state.now)
        until = _future(_paced(base, state.lane_rate, ahead), state.now)
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
    span = timedelta(seconds=min(seconds, _MAX_WAIT.total_seconds()))
    return moment + span


def _future(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if moment is not None and moment > now else None


def _count(ahead: int) -> str:
    return (
        f"At least {COUNTED} deliveries"
        if ahead >= COUNTED
        else f"{ahead} deliver{'y' if ahead == 1 else 'ies'}"
    )
