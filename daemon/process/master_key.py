"""The master key of a start: the one that the database's secrets are sealed with, or a first one, made now.

The database keeps a value that was sealed at the first start. Keys that do not open it are found out before
anything is made, sealed or sent: of two keys on one database, each would lose what the other encrypts.
"""

import hmac
import logging
from collections.abc import Mapping, Sequence

from daemon.process.master_key_file import MasterKeyError, MasterKeyFile
from daemon.signing.vault import Vault, VaultError, key_id
from daemon.store.database import Connection, Database

logger = logging.getLogger("hookd")

SETTLE_TIMEOUT = 300.0
"""Seconds for all of it: other starts are waited for, and every sealed value is counted."""


def cursor_key(master_keys: tuple[bytes, ...]) -> bytes:
    """Return what signs the cursors of lists; the same for all daemons that share a master key."""
    return hmac.digest(master_keys[0], b"hookd cursors", "sha256")


async def settle_master_keys(database: Database, file: MasterKeyFile) -> tuple[bytes, ...]:
    """Return the keys in `file` once they are known to open all that is sealed in the database.

    Where nothing is and the file is missing, it is made. The database remembers the newest key. Of several
    first starts at once one makes the key, and the others have it or are refused. Error: `MasterKeyError`.
    """

    async def unit(connection: Connection) -> tuple[bytes, ...]:
        async with connection.transaction():
            await connection.execute(database.sql("lock_master_key_check"), timeout=SETTLE_TIMEOUT)
            check, needed = await _sealed(connection, database)
            keys = file.read()
            if keys is None:
                _refuse_missing(file, check, needed)
                keys = file.make()
            vault = Vault(*keys)
            _refuse_other(file, vault, check, needed, database.schema)
            if check is None:
                await _open_newest(connection, database, vault)
            if check is None or not vault.is_newest(check):
                await connection.execute(database.sql("keep_master_key_check"), vault.check_value())
                _tell_kept(vault, check)
            return keys

    return await database.run(unit, SETTLE_TIMEOUT)


def _tell_kept(vault: Vault, check: bytes | None) -> None:
    if check is None:
        logger.info("the database knows its master key from now on: %s", vault.key_ids[0])
        return
    logger.warning(
        "the master key %s seals from now on, before it was %s: every daemon on this database needs it",
        vault.key_ids[0],
        key_id(check),
    )


async def refuse_other_master_keys(database: Database, file: MasterKeyFile) -> None:
    """See that a start would take the keys in `file`, making and keeping nothing. Error: `MasterKeyError`."""

    async def unit(connection: Connection) -> None:
        check, needed = await _sealed(connection, database)
        keys = file.read()
        if keys is None:
            _refuse_missing(file, check, needed)
        else:
            _refuse_other(file, Vault(*keys), check, needed, database.schema)

    await database.run(unit, SETTLE_TIMEOUT)


async def _sealed(connection: Connection, database: Database) -> tuple[bytes | None, Mapping[str, int]]:
    """Return the check value, if there is one, and for how many values each key is needed, by its id."""
    check: bytes | None = await connection.fetchval(database.sql("master_key_check"))
    rows = await connection.fetch(database.sql("sealed_by_key"), timeout=SETTLE_TIMEOUT)
    return check, {row["key_id"].hex(): row["sealed"] for row in rows}


def _refuse_missing(file: MasterKeyFile, check: bytes | None, needed: Mapping[str, int]) -> None:
    sealed = _sealed_with(check, needed)
    if sealed:
        raise MasterKeyError(
            f"{file.path}: there is no such file, and this database's secrets are sealed with the master key"
            f" {_listed(sealed, needed)}: put that key there, from a backup or another daemon's state"
            " directory, or name its file in [signing] master_key_file of config.toml"
        )


def _refuse_other(
    file: MasterKeyFile, vault: Vault, check: bytes | None, needed: Mapping[str, int], schema: str
) -> None:
    missing = [one for one in _sealed_with(check, needed) if one not in vault.key_ids]
    if missing:
        anew = f"; as nothing needs it yet, 'truncate {schema}.master_key_check' lets another take its place"
        raise MasterKeyError(
            f"{file.path}: holds the master key {', '.join(vault.key_ids)}, and this database's secrets are"
            f" sealed with {_listed(missing, needed)}: add the line of that key, from a backup or another"
            f" daemon's file{'' if needed else anew}"
        )
    if check is not None and not vault.opens(check):
        raise MasterKeyError(
            f"the check value of the master key {key_id(check)} is damaged: restore {schema}.master_key_check"
            f" from a backup, or, if that key opens what it should, 'truncate {schema}.master_key_check'"
        )


def _sealed_with(check: bytes | None, needed: Mapping[str, int]) -> list[str]:
    """Return the ids of the keys that are wanted, that of the check value first."""
    first = [] if check is None else [key_id(check)]
    return [*first, *(one for one in sorted(needed) if one not in first)]


def _listed(keys: Sequence[str], needed: Mapping[str, int]) -> str:
    return " and ".join(f"{one} ({needed.get(one, 0)} values)" for one in keys)


async def _open_newest(connection: Connection, database: Database, vault: Vault) -> None:
    """Open one secret of a database that has no check value yet: its key's id alone proves little."""
    row = await connection.fetchrow(database.sql("newest_secret"))
    if row is None:
        return
    try:
        vault.decrypt(row["ciphertext"], row["subscription_id"])
    except VaultError as error:
        raise MasterKeyError(str(error)) from None
