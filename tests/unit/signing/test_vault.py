"""The vault: only the right key, row and bytes open a sealed secret."""

import base64
import os
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.signing.secrets import generate_secret
from daemon.signing.vault import Vault, VaultError, generate_master_key, key_id, parse_master_keys

OLD, NEW = os.urandom(32), os.urandom(32)
ROW = uuid4()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.uuids())
def test_what_is_sealed_opens_for_its_subscription(secret: str, subscription: UUID) -> None:
    vault = Vault(NEW)
    assert vault.decrypt(vault.encrypt(secret, subscription), subscription) == secret


def test_a_sealed_secret_does_not_show_and_is_never_the_same_twice() -> None:
    vault, secret = Vault(NEW), generate_secret()
    first, second = vault.encrypt(secret, ROW), vault.encrypt(secret, ROW)
    assert first != second
    assert secret.encode() not in first
    assert NEW not in first


def test_another_subscription_cannot_open_it() -> None:
    vault = Vault(NEW)
    with pytest.raises(VaultError, match="another subscription"):
        vault.decrypt(vault.encrypt("whsec_12345678", ROW), uuid4())


@given(st.data())
def test_no_changed_or_shortened_bytes_open(data: st.DataObject) -> None:
    vault = Vault(NEW)
    sealed = vault.encrypt("whsec_12345678", ROW)
    at = data.draw(st.integers(0, len(sealed) - 1))
    flipped = bytes([sealed[at] ^ data.draw(st.integers(1, 255))])
    for damaged in (sealed[:at] + flipped + sealed[at + 1 :], sealed[:at], sealed + flipped):
        with pytest.raises(VaultError, match="rotate the secret"):
            vault.decrypt(damaged, ROW)


def test_master_keys_rotate() -> None:
    before = Vault(OLD).encrypt("whsec_12345678", ROW)
    between = Vault(NEW, OLD)
    assert between.decrypt(before, ROW) == "whsec_12345678"
    assert not between.is_newest(before)
    after = between.encrypt("whsec_12345678", ROW)
    assert between.is_newest(after)
    assert Vault(NEW).decrypt(after, ROW) == "whsec_12345678"
    with pytest.raises(VaultError, match="add that key as a further line") as caught:
        Vault(NEW).decrypt(before, ROW)
    assert before[1:9].hex() in str(caught.value)


@pytest.mark.parametrize("keys", [(), (b"short",), (NEW, b"x" * 33)])
def test_a_vault_takes_only_whole_keys(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(VaultError, match="openssl rand"):
        Vault(*keys)


def test_a_master_key_file_is_read_newest_first() -> None:
    new, old = generate_master_key(), generate_master_key()
    assert new != old
    keys = parse_master_keys(f"# newest first\n{new}\n\n  {old}  \r\n".encode())
    assert keys == (base64.b64decode(new), base64.b64decode(old))
    assert len(keys[0]) == 32


@pytest.mark.parametrize(
    "line", ["hunter2", "é" * 44, "QUJD", "A" * 44, base64.b64encode(b"x" * 33).decode()]
)
def test_a_bad_line_of_a_master_key_file_is_named_and_not_shown(line: str) -> None:
    with pytest.raises(VaultError, match="line 2 ") as caught:
        parse_master_keys(f"{generate_master_key()}\n{line}\n".encode())
    assert line not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_an_empty_master_key_file_is_refused(text: str) -> None:
    with pytest.raises(VaultError, match="no master key"):
        parse_master_keys(text.encode())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff" * 32, "holds raw bytes, not the base64"),
        (b"\xff" * 31 + b"\n", "openssl base64 -in FILE"),
        (b"k" * 32, "base64 of 24"),
        (b"\0" * 32, "line 1 is not a master key"),
        (b"0f" * 32 + b"\n", "line 1 is hexadecimal"),
        (base64.b64encode(b"x" * 64), "base64 of 64"),
        (b"whsec_" + base64.b64encode(b"x" * 32), "it is not base64"),
    ],
)
def test_a_key_in_another_form_is_told_what_it_is(content: bytes, said: str) -> None:
    with pytest.raises(VaultError, match=said) as caught:
        parse_master_keys(content)
    assert repr(content)[2:-1] not in str(caught.value)


def test_a_check_value_is_opened_by_the_key_that_made_it_and_no_other() -> None:
    check = Vault(OLD).check_value()
    assert Vault(OLD).opens(check)
    assert Vault(NEW, OLD).opens(check)
    assert not Vault(NEW).opens(check)
    assert not Vault(OLD).opens(check[:-1] + bytes([check[-1] ^ 1]))
    assert not Vault(OLD).opens(Vault(OLD).encrypt("hookd master key", ROW))
    assert not Vault(OLD).opens(b"")
    assert key_id(check) == Vault(OLD).key_ids[0] == Vault(NEW, OLD).key_ids[1]
