"""A delivery's headers, verified by others: the stock package, openssl, RFC 2104 by hand, cryptography."""

import base64
import hashlib
import json
import subprocess
import time
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from daemon.signing.secrets import PrivateKey, SigningKey, generate_private_key, generate_secret, parse_secret
from daemon.signing.standard import HeaderSettings, Message, attempt_headers, sign, stamp

EVENT = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
DELIVERY = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
BODY = b'{"data":{"a":1},"id":"01890a5d-ac96-774b-bcce-b302099a8057"}'


def headers(
    *keys: SigningKey,
    body: bytes = BODY,
    timestamp: int | None = None,
    event_type: str = "match.proposed",
    prefix: str = "X-Alter-",
) -> dict[str, str]:
    at = int(time.time()) if timestamp is None else timestamp
    values = stamp(keys, Message(EVENT, DELIVERY, event_type, at, body))
    pairs = attempt_headers(values, HeaderSettings(prefix, "hookd/1.0"))
    found = {name.decode(): value.decode() for name, value in pairs}
    assert len(found) == len(pairs)
    return found


def hmac_sha256(key: bytes, content: bytes) -> bytes:
    """RFC 2104 section 2, from the hash alone."""
    if len(key) > 64:
        key = hashlib.sha256(key).digest()
    key = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + content).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).digest()


def test_all_headers_of_an_attempt() -> None:
    key = parse_secret("whsec_abc123...")
    content = f"{EVENT}.1700000000.".encode() + BODY
    assert headers(key, timestamp=1_700_000_000) == {
        "content-type": "application/json",
        "user-agent": "hookd/1.0",
        "webhook-id": str(EVENT),
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1," + base64.b64encode(hmac_sha256(b"abc123...", content)).decode(),
        "X-Alter-Event": "match.proposed",
        "X-Alter-Delivery": str(DELIVERY),
        "X-Alter-Signature": hmac_sha256(b"whsec_abc123...", BODY).hex(),
    }


@given(st.binary(min_size=8, max_size=190), st.text(max_size=200).map(lambda text: json.dumps(text).encode()))
def test_the_stock_package_verifies(raw: bytes, body: bytes) -> None:
    secret = "whsec_" + base64.b64encode(raw).decode()
    sent = headers(parse_secret(secret), body=body)
    assert Webhook(secret).verify(body, sent) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", sent)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=256))
def test_rfc_2104_by_hand_agrees_for_any_secret(rest: str) -> None:
    key = parse_secret("whsec_" + rest)
    assert not isinstance(key, PrivateKey)
    sent = headers(key)
    content = f"{EVENT}.{sent['webhook-timestamp']}.".encode() + BODY
    assert base64.b64decode(sent["webhook-signature"].removeprefix("v1,")) == hmac_sha256(key.key, content)
    assert sent["X-Alter-Signature"] == hmac_sha256(b"whsec_" + rest.encode(), BODY).hex()


def test_openssl_agrees() -> None:
    secret = generate_secret()
    sent = headers(parse_secret(secret))

    def openssl(key: bytes, content: bytes) -> bytes:
        command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}", "-binary"]
        return subprocess.run(command, input=content, capture_output=True, check=True, timeout=30).stdout

    content = f"{EVENT}.{sent['webhook-timestamp']}.".encode() + BODY
    expected = openssl(base64.b64decode(secret.removeprefix("whsec_")), content)
    assert base64.b64decode(sent["webhook-signature"].removeprefix("v1,")) == expected
    assert sent["X-Alter-Signature"] == openssl(secret.encode(), BODY).hex()


def test_both_secrets_verify_while_a_rotated_one_overlaps() -> None:
    new, old = generate_secret(), generate_secret()
    sent = headers(parse_secret(new), parse_secret(old))
    assert len(sent["webhook-signature"].split(" ")) == 2
    for secret in (new, old):
        Webhook(secret).verify(BODY, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(generate_secret()).verify(BODY, sent)


def test_the_platforms_own_signature_stays_with_the_oldest_secret_while_it_overlaps() -> None:
    newest, previous, oldest = (parse_secret(generate_secret()) for _ in range(3))
    for keys in [(newest,), (newest, previous), (newest, previous, oldest)]:
        assert headers(*keys)["X-Alter-Signature"] == hmac_sha256(keys[-1].given, BODY).hex()


def test_ed25519_verifies_beside_a_shared_secret() -> None:
    private, secret = parse_secret(generate_private_key()), generate_secret()
    assert isinstance(private, PrivateKey)
    sent = headers(private, parse_secret(secret))
    asymmetric, shared = sent["webhook-signature"].split(" ")
    assert shared.startswith("v1,")
    verifier = Ed25519PublicKey.from_public_bytes(base64.b64decode(private.public.removeprefix("whpk_")))
    content = f"{EVENT}.{sent['webhook-timestamp']}.".encode() + BODY
    verifier.verify(base64.b64decode(asymmetric.removeprefix("v1a,")), content)
    Webhook(secret).verify(BODY, sent)


def test_the_vector_of_the_standards_own_libraries() -> None:
    key = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = sign([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_prefix_is_the_operators() -> None:
    sent = headers(parse_secret(generate_secret()), prefix="X-Other-")
    assert {"X-Other-Event", "X-Other-Delivery", "X-Other-Signature"} <= sent.keys()


def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(ValueError, match="rotate"):
        headers()


@pytest.mark.parametrize("event_type", ["a\r\nX-Evil: 1", "a\nb", "a\0", "é", "a\x7f"])
def test_an_event_type_cannot_add_headers(event_type: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        headers(parse_secret(generate_secret()), event_type=event_type)
