"""What a user of the generated Python client does: each call once, and every answer read by name."""

import os
import time
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID, uuid4

from hookd_client import AuthenticatedClient
from hookd_client.api.deliveries import get_delivery, list_deliveries, redeliver
from hookd_client.api.events import publish_events
from hookd_client.api.replays import cancel_replay, get_replay, list_replays, replay_events
from hookd_client.api.service import get_docs, get_liveness, get_metrics, get_openapi, get_readiness
from hookd_client.api.subscriptions import (
    delete_webhook,
    end_previous_secret,
    get_webhook,
    list_event_types,
    list_webhooks,
    register_webhook,
    rotate_secret,
    test_webhook,
    update_webhook,
)
from hookd_client.models import (
    Alive,
    Attempt,
    Delivery,
    DeliveryPage,
    EventTypes,
    IncomingEvent,
    IncomingEventType,
    ListDeliveriesStatus,
    OpenapiDocument,
    ProblemDocument,
    Published,
    Readiness,
    Redelivery,
    Registered,
    Registration,
    RegistrationEventsItem,
    Replay,
    ReplayAnswer,
    ReplayPage,
    ReplayRequest,
    Rotated,
    Rotation,
    Subscription,
    SubscriptionPage,
    TestOutcome,
    TestRequest,
    Update,
    UpdateEventsItem,
)

T = TypeVar("T")
CLIENT = AuthenticatedClient(base_url=os.environ["HOOKD"], token=os.environ["TOKEN"], timeout=30)
RECEIVER = os.environ["RECEIVER"]
PROPOSED = IncomingEventType.MATCH_PROPOSED


def read(kind: type[T], answer: object) -> T:
    assert isinstance(answer, kind), answer
    return answer


def subscribe() -> UUID:
    types = read(EventTypes, list_event_types.sync(client=CLIENT))
    assert "match.proposed" in types.events
    body = Registration(url=RECEIVER, events=[RegistrationEventsItem.MATCH_PROPOSED])
    made = read(Registered, register_webhook.sync(client=CLIENT, body=body))
    assert isinstance(made.id, UUID)
    assert isinstance(made.secret, str)
    assert (made.url, made.events, made.failure_count) == (RECEIVER, ["match.proposed"], 0)
    assert made.created_at.tzinfo is not None
    page = read(SubscriptionPage, list_webhooks.sync(client=CLIENT, limit=20))
    assert ([one.id for one in page.data], page.next_cursor) == ([made.id], None)
    return made.id


def change(subscription: UUID) -> None:
    found = get_webhook.sync_detailed(subscription, client=CLIENT)
    etag = found.headers["etag"]
    body = Update(description="changed", events=[UpdateEventsItem.MATCH])
    changed = read(Subscription, update_webhook.sync(subscription, client=CLIENT, body=body, if_match=etag))
    assert (changed.description, changed.events) == ("changed", ["match.*"])
    stale = update_webhook.sync(subscription, client=CLIENT, body=Update(is_active=False), if_match=etag)
    assert read(ProblemDocument, stale).status == 412
    filtered = Registration.from_dict(
        {"url": RECEIVER, "events": ["match.*"], "filter": {"score": {"$gt": 0.5}}, "metadata": {"a": "b"}}
    )
    other = read(Registered, register_webhook.sync(client=CLIENT, body=filtered))
    assert other.to_dict()["filter"] == {"score": {"$gt": 0.5}}
    assert delete_webhook.sync_detailed(other.id, client=CLIENT).status_code == 204
    assert read(ProblemDocument, get_webhook.sync(other.id, client=CLIENT)).status == 404


def publish() -> None:
    one = IncomingEvent(type_=PROPOSED, data={"candidate": 7})
    key = str(uuid4())
    first = read(Published, publish_events.sync(client=CLIENT, body=one, idempotency_key=key))
    again = read(Published, publish_events.sync(client=CLIENT, body=one, idempotency_key=key))
    assert isinstance(first.id, UUID)
    assert again.id == first.id
    both = [one, IncomingEvent(type_=PROPOSED, data=None, key=str(uuid4()))]
    many = read(Published, publish_events.sync(client=CLIENT, body=both))
    assert isinstance(many.ids, list)
    assert len(many.ids) == 2


def watch(subscription: UUID) -> None:
    end = time.monotonic() + 30
    attempts: list[object] = []
    while len(attempts) < 3:
        assert time.monotonic() < end, attempts
        time.sleep(0.1)
        attempts = list(read(DeliveryPage, list_deliveries.sync(subscription, client=CLIENT)).data)
    last = read(Attempt, attempts[0])
    assert (last.status.value, last.response_status, last.error) == ("succeeded", 204, None)
    pending = list_deliveries.sync(subscription, client=CLIENT, status=ListDeliveriesStatus.PENDING)
    assert read(DeliveryPage, pending).data == []
    delivery = read(Delivery, get_delivery.sync(subscription, last.delivery_id, client=CLIENT))
    assert (delivery.status.value, delivery.waiting, len(delivery.attempts)) == ("succeeded", None, 1)
    again = read(Redelivery, redeliver.sync(subscription, last.delivery_id, client=CLIENT))
    assert again.delivery_id != last.delivery_id


def try_out(subscription: UUID) -> None:
    plain = read(TestOutcome, test_webhook.sync(subscription, client=CLIENT))
    assert (plain.delivered, plain.response_status) == (True, 204)
    whole = test_webhook.sync(subscription, client=CLIENT, body=TestRequest(conformance=True))
    findings = read(TestOutcome, whole).conformance
    assert isinstance(findings, list)
    assert len(findings) == 4


def rotate(subscription: UUID) -> None:
    made = read(Rotated, rotate_secret.sync(subscription, client=CLIENT))
    assert made.secret.startswith("whsec_")
    assert made.previous_expires_at > datetime.now(UTC)
    own = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    brought = rotate_secret.sync(subscription, client=CLIENT, body=Rotation(secret=own))
    assert read(Rotated, brought).secret == own
    assert end_previous_secret.sync_detailed(subscription, client=CLIENT).status_code == 204


def replay(subscription: UUID) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    dry = replay_events.sync(subscription, client=CLIENT, body=ReplayRequest(from_=since, dry_run=True))
    counted = read(ReplayAnswer, dry)
    assert (counted.dry_run, counted.count) == (True, 3)
    ids = []
    for _ in range(2):
        started = replay_events.sync(subscription, client=CLIENT, body=ReplayRequest(from_=since))
        answer = read(ReplayAnswer, started)
        assert (answer.dry_run, answer.total) == (False, answer.count), answer
        assert isinstance(answer.id, UUID)
        ids.append(answer.id)
    page = read(ReplayPage, list_replays.sync(subscription, client=CLIENT))
    assert [one.id for one in page.data] == ids[::-1]
    assert read(Replay, get_replay.sync(subscription, ids[0], client=CLIENT)).total == 3
    assert read(Replay, cancel_replay.sync(subscription, ids[1], client=CLIENT)).ended_at is not None


def look() -> None:
    assert read(Alive, get_liveness.sync(client=CLIENT)).status.value == "ok"
    assert read(Readiness, get_readiness.sync(client=CLIENT)).checks
    assert "hookd_attempts_total" in read(str, get_metrics.sync(client=CLIENT))
    assert read(OpenapiDocument, get_openapi.sync(client=CLIENT)).openapi.startswith("3.1")
    assert "<html" in read(str, get_docs.sync(client=CLIENT))


def main() -> None:
    subscription = subscribe()
    change(subscription)
    publish()
    watch(subscription)
    try_out(subscription)
    rotate(subscription)
    replay(subscription)
    look()


if __name__ == "__main__":
    main()
