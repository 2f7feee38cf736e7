"""Secrets: which texts are one, and which bytes they stand for."""

import base64
import binascii
import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import assume, given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from daemon.signing.secrets import (
    BadSecretError,
    PrivateKey,
    SharedKey,
    check_new_secret,
    generate_private_key,
    generate_secret,
    parse_secret,
)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=256)


def shared(text: str) -> SharedKey:
    key = parse_secret(text)
    assert isinstance(key, SharedKey)
    return key


def private(text: str) -> PrivateKey:
    key = parse_secret(text)
    assert isinstance(key, PrivateKey)
    return key


def test_a_generated_secret_is_32_fresh_bytes_in_base64() -> None:
    first, second = generate_secret(), generate_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert shared(first).key == base64.b64decode(first.removeprefix("whsec_"), validate=True)
    assert len(shared(first).key) == 32


@given(printable)
def test_every_printable_text_is_a_secret_and_is_kept_as_given(rest: str) -> None:
    key = shared("whsec_" + rest)
    assert key.given == b"whsec_" + rest.encode()
    assert key.key


@given(st.binary(min_size=8, max_size=190))
def test_base64_stands_for_its_bytes_padded_or_not(raw: bytes) -> None:
    text = base64.b64encode(raw).decode()
    assert shared("whsec_" + text).key == raw
    assert shared("whsec_" + text.rstrip("=")).key == raw


@given(st.text(ALPHABET, min_size=1, max_size=254), st.integers(0, 2))
def test_base64_means_what_the_stock_package_takes_it_to_mean(text: str, padding: int) -> None:
    rest = text + "=" * padding
    assume(len(rest) >= 8)
    try:
        expected = base64.b64decode(rest + "==")
    except binascii.Error:
        expected = rest.encode()  # nobody can decode it: its bytes are the key
    else:
        assert Webhook("whsec_" + rest)._whsecret == expected
    assert shared("whsec_" + rest).key == expected


@given(printable)
def test_anything_with_a_foreign_character_is_its_own_bytes(rest: str) -> None:
    assume(re.search(r"[^A-Za-z0-9+/=]", rest))
    assert shared("whsec_" + rest).key == rest.encode()


@pytest.mark.parametrize(
    "rest, key",
    [
        ("abc123...", b"abc123..."),
        ("correct horse battery", b"correct horse battery"),
        ("url-safe_text__-", b"url-safe_text__-"),
        ("========", b"========"),
        ("QUJD=QUJD", b"QUJD=QUJD"),
        ("123456789", b"123456789"),  # nine characters: no number of bytes
        ("QUJDREVGR0g=", b"ABCDEFGH"),
        ("QUJDREVGR0g", b"ABCDEFGH"),
    ],
)
def test_known_secrets(rest: str, key: bytes) -> None:
    assert shared("whsec_" + rest).key == key


@pytest.mark.parametrize(
    "text, remedy",
    [
        ("", "starts with whsec_"),
        ("hunter2hunter2", "starts with whsec_"),
        ("WHSEC_hunter2hunter2", "starts with whsec_"),
        ("whsec_", "8 to 256"),
        ("whsec_1234567", "8 to 256"),
        ("whsec_" + "x" * 257, "8 to 256"),
        ("whsec_12345678\n", "printable"),
        ("whsec_1234567\x7f", "printable"),
        ("whsec_12345678é", "printable"),
        ("whpk_" + "A" * 43 + "=", "whsk_"),
        ("whsk_", "32-byte"),
        ("whsk_" + base64.b64encode(b"x" * 31).decode(), "32-byte"),
        ("whsk_not base64 at all", "32-byte"),
        ("whsk_" + base64.b64encode(b"x" * 64).decode(), "do not belong together"),
    ],
)
def test_a_bad_secret_is_refused_with_a_remedy_and_never_shown(text: str, remedy: str) -> None:
    with pytest.raises(BadSecretError) as caught:
        parse_secret(text)
    assert remedy in str(caught.value)
    rest = text.partition("_")[2]
    assert not rest or rest not in str(caught.value)


def test_secrets_do_not_show_in_a_repr() -> None:
    for text in (generate_secret(), generate_private_key()):
        shown = repr(parse_secret(text))
        assert text.partition("_")[2][:12] not in shown
        assert "key=" not in shown


def test_a_private_key_is_read_with_and_without_its_public_half() -> None:
    text = generate_private_key()
    seed = base64.b64decode(text.removeprefix("whsk_"))
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    both = "whsk_" + base64.b64encode(seed + public.public_bytes_raw()).decode()
    for form in (text, both):
        key = private(form)
        assert key.given == form.encode()
        assert key.public.startswith("whpk_")
        verifier = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.public.removeprefix("whpk_")))
        verifier.verify(base64.b64decode(key.signature(b"content").removeprefix("v1a,")), b"content")


def random_base64(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes(range(251 - size, 251))).decode()


def test_what_the_standard_asks_for_is_taken_without_a_word() -> None:
    for text in (generate_secret(), generate_private_key(), *map(random_base64, (24, 25, 64))):
        assert check_new_secret(text) == check_new_secret(text.rstrip("=")) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("whsec_abc123...", "not base64"),
        ("whsec_correct horse battery staple", "not base64"),
        ("whsec_dont-log-me", "not base64"),
        ("whsec_AAAAAAAAA", "not base64"),  # one character over
        (random_base64(23), "23 bytes"),
        ("whsec_AAAAAAAA", "6 bytes"),
    ],
)
def test_what_receivers_will_have_trouble_with_is_told(text: str, complaint: str) -> None:
    [told] = check_new_secret(text)
    assert complaint in told
    assert text.removeprefix("whsec_") not in told


@pytest.mark.parametrize(
    "text",
    [
        " whsec_abcdefgh",
        "whsec_abcdefgh ",
        "whsec_ abcdefgh",
        "whsec_abcdefgh\n",
        "\twhsk_abcdefgh",
    ],
)
def test_blanks_around_a_new_secret_are_refused(text: str) -> None:
    with pytest.raises(BadSecretError, match="blanks"):
        check_new_secret(text)


@pytest.mark.parametrize("size", [16, 24, 31, 32, 64])
def test_base64url_is_refused_with_the_way_out(size: int) -> None:
    raw = bytes([0xFB, 0xEF, *range(size - 2)])
    text = "whsec_" + base64.urlsafe_b64encode(raw).decode()
    for form in (text, text.rstrip("=")):
        with pytest.raises(BadSecretError, match="base64url"):
            check_new_secret(form)
        assert shared(form).key == form.removeprefix("whsec_").encode()  # as of old, where it is in use
    assert shared(text.replace("-", "+").replace("_", "/").replace("whsec/", "whsec_")).key == raw
