"""What receivers are tested with, and how their answers are judged."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from standardwebhooks import Webhook

from daemon.delivery.conformance import (
    REPEATED_ID,
    STALE_TIMESTAMP,
    UNKNOWN_EVENT_TYPE,
    WRONG_SIGNATURE,
    Check,
    advice,
    message,
    status_detail,
    variants,
)
from daemon.egress.errors import printable
from daemon.signing.secrets import (
    PrivateKey,
    generate_private_key,
    generate_secret,
    parse_secret,
)
from daemon.signing.standard import sign

NOW = 1_760_000_000.5
CHECKS = (WRONG_SIGNATURE, STALE_TIMESTAMP, REPEATED_ID, UNKNOWN_EVENT_TYPE)
SUBSCRIPTION = uuid4()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_each_status_passes_or_comes_with_advice(check: Check) -> None:
    for status in range(200, 600):
        passes = 400 <= status < 500 if check in (WRONG_SIGNATURE, STALE_TIMESTAMP) else status < 300
        said = advice(check, status, None)
        assert (said is None) is passes, status
        if said is not None and (status < 300 or 400 <= status < 500):
            assert said == check.advice


def test_advice_names_what_went_wrong() -> None:
    assert "timeout" in (advice(REPEATED_ID, None, "timeout") or "")
    assert "Redirects" in (advice(WRONG_SIGNATURE, 302, None) or "")
    assert "4xx" in (advice(WRONG_SIGNATURE, 500, None) or "")
    assert "2xx" in (advice(UNKNOWN_EVENT_TYPE, 503, None) or "")


def test_every_failed_status_says_what_to_do() -> None:
    for status in range(200, 600):
        detail = status_detail(status)
        assert (detail is None) is (status < 300), status
        if detail is not None:
            assert detail == printable(detail)


def test_the_event_is_canonical_and_carries_its_own_time() -> None:
    made = message(SUBSCRIPTION, NOW)
    event = json.loads(made.body)
    assert json.dumps(event, sort_keys=True, separators=(",", ":")).encode() == made.body
    assert list(event) == ["data", "id", "timestamp", "type"]
    assert (event["type"], event["id"]) == ("webhook.test", str(made.event_id))
    assert event["timestamp"] == "2025-10-09T08:53:20.500Z"
    assert event["data"]["subscription_id"] == str(SUBSCRIPTION)
    assert (made.timestamp, made.delivery_id == made.event_id) == (1_760_000_000, False)


def test_the_variants_differ_from_the_valid_request_in_one_thing_each() -> None:
    keys = (parse_secret(generate_secret()), parse_secret(generate_private_key()))
    valid = message(SUBSCRIPTION, NOW)
    wrong, stale, repeated, unknown = variants(valid, keys, SUBSCRIPTION, NOW + 1)
    assert [one.check for one in (wrong, stale, repeated, unknown)] == list(CHECKS)
    assert [type(key) for key in wrong.keys] == [type(key) for key in keys]
    assert not set(wrong.keys) & set(keys)
    assert stale.keys == repeated.keys == unknown.keys == keys
    assert stale.message.timestamp == int(NOW + 1) - 600
    assert (repeated.message.event_id, repeated.message.body) == (valid.event_id, valid.body)
    assert repeated.message.delivery_id == valid.delivery_id
    assert repeated.message.timestamp == int(NOW + 1)
    assert unknown.message.event_type == json.loads(unknown.message.body)["type"] != valid.event_type
    assert len({one.message.event_id for one in (wrong, stale, repeated, unknown)}) == 4


def test_a_wrong_signature_does_not_verify_and_a_good_one_does() -> None:
    secret = generate_secret()
    key = parse_secret(secret)
    valid = message(SUBSCRIPTION, NOW)
    wrong = variants(valid, [key], SUBSCRIPTION, NOW)[0]
    for keys, good in (((key,), True), (wrong.keys, False)):
        signature = sign(keys, str(valid.event_id), valid.timestamp, valid.body)
        ours = Webhook(secret).sign(
            str(valid.event_id), datetime.fromtimestamp(valid.timestamp, UTC), valid.body.decode()
        )
        assert (signature == ours) is good


def test_an_ed25519_key_is_replaced_by_another_one() -> None:
    key = parse_secret(generate_private_key())
    (stranger,) = variants(message(SUBSCRIPTION, NOW), [key], SUBSCRIPTION, NOW)[0].keys
    assert isinstance(key, PrivateKey)
    assert isinstance(stranger, PrivateKey)
    assert stranger.public != key.public
