import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from standardwebhooks import Webhook

from api.request_replica import RequestReplica
from daemon.signing.vault import VaultError
from daemon.store.history import Attempt, Delivery, SealedSecret
from daemon.uuid7 import uuid7
from tests.support.api_harness import HEADER_SETTINGS

NOW = datetime.now(UTC)
OLD, NEW = "whsec_b2xkLW9sZC1vbGQ=", "whsec_bmV3LW5ldy1uZXc="
HEADERS = json.dumps({"Authorization": "Bearer password", "X-Env": "test"}).encode()


def decrypt(sealed: bytes, subscription: UUID) -> str:
    if sealed == b"damaged":
        raise VaultError("damaged")
    return sealed.decode()


REPLICA = RequestReplica(decrypt=decrypt, settings=lambda: HEADER_SETTINGS)


def attempt(seconds: float, duration: float | None = 12.5) -> Attempt:
    at = NOW + timedelta(seconds=seconds)
    return Attempt(
        uuid7(), uuid4(), uuid4(), "match.proposed", 1, False, 500, "status_5xx", None, duration, at, None
    )


def delivery(*secrets: SealedSecret, **more: object) -> Delivery:
    fields: dict[str, object] = {
        "id": uuid7(),
        "subscription_id": uuid7(),
        "event_id": uuid7(),
        "event_type": "match.proposed",
        "body": '{"data":"é"}',
        "attempts": [],
        "state": None,
        "url": "https://example.com:8443/hook?a=b",
        "headers": None,
        "secrets": list(secrets) or [SealedSecret(OLD.encode(), None, None)],
    }
    return Delivery(**{**fields, **more})  # type: ignore[arg-type]


def headers(one: Delivery, seconds: float = 0) -> dict[str, str]:
    found = REPLICA.headers(one, attempt(seconds))
    assert found is not None
    return dict(found)


def verifies(secret: str, one: Delivery, seconds: float) -> bool:
    """Tell whether one of the signatures shown is that of `secret`, whatever the time is now."""
    shown = headers(one, seconds)
    at = datetime.fromtimestamp(int(shown["webhook-timestamp"]), UTC)
    signature = Webhook(secret).sign(shown["webhook-id"], at, one.body or "")
    return signature in shown["webhook-signature"].split()


def test_the_headers_are_those_of_the_wire() -> None:
    one = delivery(headers=HEADERS)
    found = headers(one)
    assert list(found) == [
        "Host",
        "Accept-Encoding",
        "content-type",
        "user-agent",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "X-Alter-Event",
        "X-Alter-Delivery",
        "X-Alter-Signature",
        "Authorization",
        "X-Env",
        "Content-Length",
    ]
    assert found["Host"] == "example.com:8443"
    assert found["Content-Length"] == str(len('{"data":"é"}'.encode()))
    assert found["X-Alter-Delivery"] == str(one.id)
    assert found["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert (found["Authorization"], found["X-Env"]) == ("***", "***")


def test_each_attempt_shows_the_secrets_of_its_time() -> None:
    rotated = delivery(
        SealedSecret(NEW.encode(), NOW + timedelta(seconds=10), None),
        SealedSecret(OLD.encode(), NOW, NOW + timedelta(seconds=20)),
    )
    times = (-5, 5, 15, 25)  # the clock of a daemon may be behind that of the database
    assert [verifies(OLD, rotated, seconds) for seconds in times] == [True, True, True, False]
    assert [verifies(NEW, rotated, seconds) for seconds in times] == [False, False, True, True]
    assert len(headers(rotated, 15)["webhook-signature"].split()) == 2
    shown = json.dumps(headers(rotated, 15))
    assert "b2xk" not in shown
    assert "bmV3" not in shown


def test_a_url_that_nothing_goes_to_leaves_out_what_the_transport_adds() -> None:
    found = headers(delivery(url="https://[bad"))
    assert "Host" not in found
    assert "webhook-signature" in found


@pytest.mark.parametrize(
    "one",
    [
        delivery(body=None),
        delivery(SealedSecret(b"damaged", None, None)),
        delivery(SealedSecret(OLD.encode(), None, NOW - timedelta(seconds=1))),
        delivery(event_type="a\r\nb: c"),
    ],
)
def test_what_cannot_be_known_is_not_made_up(one: Delivery) -> None:
    assert REPLICA.headers(one, attempt(0)) is None


def test_an_attempt_whose_moment_of_signing_is_unknown_has_no_headers() -> None:
    assert REPLICA.headers(delivery(), attempt(0, duration=None)) is None
