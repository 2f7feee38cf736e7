"""The examples of the platform's page, sent through the generated client; run by the contract's driver."""

import os
from uuid import UUID, uuid4

from hookd_client import AuthenticatedClient
from hookd_client.api.deliveries import list_deliveries
from hookd_client.api.subscriptions import (
    delete_webhook,
    get_webhook,
    list_event_types,
    list_webhooks,
    register_webhook,
    test_webhook,
    update_webhook,
)
from hookd_client.models import (
    AttemptPage,
    EventTypes,
    OwedPage,
    ProblemDocument,
    Registered,
    Registration,
    RegistrationEventsItem,
    Subscription,
    SubscriptionPage,
    TestOutcome,
    Update,
    UpdateEventsItem,
)


def main() -> None:
    client = AuthenticatedClient(base_url=os.environ["HOOKD"], token=os.environ["TOKEN"], timeout=30)
    wanted = Registration.from_dict(
        {"url": "https://example.com/webhooks", "events": ["match.proposed"], "secret": "whsec_abc123..."}
    )
    assert wanted.events == [RegistrationEventsItem.MATCH_PROPOSED]
    made = register_webhook.sync(client=client, body=wanted)
    assert isinstance(made, Registered), made
    assert isinstance(made.id, UUID)
    assert (made.url, made.events) == (wanted.url, ["match.proposed"])
    assert (made.is_active, made.failure_count) == (True, 0)
    assert made.created_at.tzinfo is not None

    page = list_webhooks.sync(client=client, limit=20)
    assert isinstance(page, SubscriptionPage), page
    assert [one.id for one in page.data] == [made.id]
    assert page.next_cursor is None

    types = list_event_types.sync(client=client)
    assert isinstance(types, EventTypes), types
    assert "match.proposed" in types.events

    found = get_webhook.sync_detailed(made.id, client=client)
    assert isinstance(found.parsed, Subscription), found
    etag = found.headers["etag"]

    changed = update_webhook.sync(
        made.id,
        client=client,
        body=Update(events=[UpdateEventsItem.MATCH_ACCEPTED], is_active=True),
        if_match=etag,
    )
    assert isinstance(changed, Subscription), changed
    assert changed.events == ["match.accepted"]
    stale = update_webhook.sync(made.id, client=client, body=Update(is_active=False), if_match=etag)
    assert isinstance(stale, ProblemDocument), stale
    assert stale.status == 412

    tested = test_webhook.sync(made.id, client=client)
    assert isinstance(tested, TestOutcome), tested
    assert str(tested.error).startswith("dns_"), tested  # it is to reach nobody

    attempts = list_deliveries.sync(made.id, client=client, limit=100)
    assert isinstance(attempts, AttemptPage | OwedPage), attempts
    assert attempts.next_cursor is None

    gone = delete_webhook.sync_detailed(made.id, client=client)
    assert gone.status_code == 204, gone
    missing = get_webhook.sync(made.id, client=client)
    assert isinstance(missing, ProblemDocument), missing
    assert missing.status == 404
    unknown = get_webhook.sync(uuid4(), client=client)
    assert isinstance(unknown, ProblemDocument), unknown
    print("generated client: the page's examples work")


if __name__ == "__main__":
    main()
