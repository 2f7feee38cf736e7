"""The database knows its master key: which starts it lets in, and what is made when."""

import os
from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trio

from daemon.process.master_key import settle_master_keys
from daemon.process.master_key_file import MasterKeyError, MasterKeyFile
from daemon.signing.vault import Vault
from daemon.store.database import Database, open_database
from tests.support.postgres import Session

Connect = Callable[[], Awaitable[Session]]
ONE, TWO = os.urandom(32), os.urandom(32)


def key_file(path: Path, *keys: bytes) -> MasterKeyFile:
    """Return a file that is named in the configuration, with the keys in it."""
    path.write_bytes(b"\n".join(map(b64encode, keys)))
    path.chmod(0o600)
    return MasterKeyFile(path, named=True)


async def keep_secret(session: Session, vault: Vault, expires_at: datetime | None = None) -> UUID:
    """Let the database hold one sealed secret."""
    subscription = uuid4()
    await session.execute(
        "insert into hookd.subscription_secret (subscription_id, number, ciphertext, expires_at)"
        " values ($1, 1, $2, $3)",
        subscription,
        vault.encrypt("whsec_12345678", subscription),
        expires_at,
    )
    return subscription


async def test_the_first_start_makes_the_key_and_later_ones_find_it(
    database: Database, tmp_path: Path
) -> None:
    file = MasterKeyFile(tmp_path / "master.key", named=False)
    keys = await settle_master_keys(database, file)
    assert await settle_master_keys(database, file) == keys == file.read()


async def test_another_key_is_refused_though_nothing_is_sealed_yet(
    database: Database, tmp_path: Path
) -> None:
    await settle_master_keys(database, key_file(tmp_path / "one", ONE))
    with pytest.raises(MasterKeyError) as caught:
        await settle_master_keys(database, key_file(tmp_path / "two", TWO))
    said = str(caught.value)
    assert f"{tmp_path / 'two'}: holds the master key {Vault(TWO).key_ids[0]}" in said
    assert f"sealed with {Vault(ONE).key_ids[0]} (0 values): add the line of that key" in said
    assert "'truncate hookd.master_key_check' lets another take its place" in said


async def test_no_key_is_made_where_something_is_sealed(
    database: Database, connect: Connect, tmp_path: Path
) -> None:
    await keep_secret(await connect(), Vault(ONE))
    file = MasterKeyFile(tmp_path / "master.key", named=False)
    with pytest.raises(MasterKeyError, match=rf"no such file, .* {Vault(ONE).key_ids[0]} \(1 values\)"):
        await settle_master_keys(database, file)
    assert file.read() is None


async def test_of_several_first_starts_one_makes_the_key(
    database: Database, postgres_url: str, tmp_path: Path
) -> None:
    ended: list[tuple[bytes, ...] | MasterKeyError] = []

    async def start(one: Database, name: str) -> None:
        try:
            ended.append(await settle_master_keys(one, MasterKeyFile(tmp_path / name, named=False)))
        except MasterKeyError as error:
            ended.append(error)

    async with open_database(postgres_url) as other, trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(start, (database, other)[number % 2], f"{number // 2}.key")
    # Two have the same state directory: these both start, the other four make nothing.
    assert len({one for one in ended if isinstance(one, tuple)}) == 1
    assert len([one for one in ended if isinstance(one, tuple)]) == 2
    assert len(os.listdir(tmp_path)) == 1


async def test_keys_rotate_and_the_old_one_stays_while_it_is_needed(
    database: Database, connect: Connect, tmp_path: Path
) -> None:
    session = await connect()
    await settle_master_keys(database, key_file(tmp_path / "key", ONE))
    subscription = await keep_secret(session, Vault(ONE))
    await settle_master_keys(database, key_file(tmp_path / "key", TWO, ONE))
    assert Vault(TWO).opens(await session.fetchval("select sealed from hookd.master_key_check"))

    with pytest.raises(MasterKeyError, match=rf"sealed with {Vault(TWO).key_ids[0]} \(0 values\)"):
        await settle_master_keys(database, key_file(tmp_path / "key", ONE))
    with pytest.raises(MasterKeyError, match=rf"sealed with {Vault(ONE).key_ids[0]} \(1 values\)") as caught:
        await settle_master_keys(database, key_file(tmp_path / "key", TWO))
    assert "truncate" not in str(caught.value)

    await session.execute("delete from hookd.subscription_secret where subscription_id = $1", subscription)
    await keep_secret(session, Vault(ONE), expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert await settle_master_keys(database, key_file(tmp_path / "key", TWO)) == (TWO,)


async def test_a_database_from_before_it_knew_its_key(
    database: Database, connect: Connect, tmp_path: Path
) -> None:
    session = await connect()
    subscription = await keep_secret(session, Vault(ONE))
    with pytest.raises(MasterKeyError, match="holds the master key"):
        await settle_master_keys(database, key_file(tmp_path / "two", TWO))
    assert await session.fetchval("select count(*) from hookd.master_key_check") == 0

    await session.execute(
        "update hookd.subscription_secret set subscription_id = $2 where subscription_id = $1",
        subscription,
        uuid4(),
    )
    with pytest.raises(MasterKeyError, match="belongs to another subscription"):
        await settle_master_keys(database, key_file(tmp_path / "one", ONE))
    await session.execute("update hookd.subscription_secret set subscription_id = $1", subscription)
    assert await settle_master_keys(database, key_file(tmp_path / "one", ONE)) == (ONE,)
    assert Vault(ONE).opens(await session.fetchval("select sealed from hookd.master_key_check"))


async def test_a_damaged_check_value_is_told_from_another_key(
    database: Database, connect: Connect, tmp_path: Path
) -> None:
    session = await connect()
    await settle_master_keys(database, key_file(tmp_path / "one", ONE))
    await session.execute("update hookd.master_key_check set sealed = sealed || '\\x00'::bytea")
    with pytest.raises(MasterKeyError, match=r"check value of the master key .* is damaged"):
        await settle_master_keys(database, key_file(tmp_path / "one", ONE))


@pytest.mark.parametrize("content", [b"\xff" * 32, b"", b"0f" * 32, b"x" * 70_000])
async def test_a_file_that_is_no_key_is_named(database: Database, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    path.chmod(0o600)
    for named in (True, False):
        with pytest.raises(MasterKeyError, match=rf"^{path}: "):
            await settle_master_keys(database, MasterKeyFile(path, named))
    assert path.read_bytes() == content
