"""What a daemon keeps in order beside the queue: partitions, keys, the rules that the database applies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon.store.database import Connection, Database
from daemon.store.subscriptions import HostLimits

PARTITIONS_AHEAD = timedelta(weeks=8)
PURGE_AT_ONCE = 2000
_HOSTS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Partitions:
    """`made`: names of the partitions just made. `until`: up to then both tables have one for every moment.

    `left`: the time from now until then."""

    made: list[str]
    until: datetime
    left: timedelta


async def make_partitions(connection: Connection, database: Database) -> Partitions:
    """Make the weekly partitions that are missing for the next eight weeks (a unit's body)."""
    made = await connection.fetch(database.sql("make_partitions"), PARTITIONS_AHEAD)
    (row,) = await connection.fetch(database.sql("partitioned_until"))
    return Partitions([one[0] for one in made], row["until"], row["remaining"])


async def apply_rules(
    database: Database,
    *,
    types: Sequence[str],
    max_bytes: int,
    max_depth: int,
    host_limits: Callable[[str], HostLimits],
) -> int:
    """Let publish() and the hosts know this configuration; return how many hosts have other limits now."""

    async def unit(connection: Connection) -> int:
        await connection.execute(database.sql("publishing_rules"), list(types), max_bytes, max_depth)
        changed: list[tuple[str, float, float, int]] = []
        for row in await connection.fetch(database.sql("hosts")):
            limits = host_limits(row["name"])
            wanted = (limits.rate, limits.burst, limits.in_flight)
            if wanted != (row["rate"], row["burst"], row["max_in_flight"]):
                changed.append((row["name"], *wanted))
        for start in range(0, len(changed), 200):
            columns = [list(column) for column in zip(*changed[start : start + 200], strict=True)]
            await connection.execute(database.sql("limit_hosts"), *columns)
        return len(changed)

    return await database.run(unit)


async def forget_keys(database: Database) -> None:
    """Drop what is kept for a day: publishers' keys, those of whole requests, names of what happens alone."""

    async def unit(connection: Connection) -> None:
        await connection.execute(database.sql("forget_keys"))
        await connection.execute(database.sql("forget_requests"))
        await connection.execute(database.sql("forget_exclusive"))

    await database.run(unit)


async def forget_secrets(database: Database, age: float) -> None:
    """Drop secrets that stopped signing more than `age` seconds ago."""

    async def unit(connection: Connection) -> None:
        await connection.execute(database.sql("forget_secrets"), timedelta(seconds=age))

    await database.run(unit)


async def forget_hosts(database: Database) -> None:
    """Drop the hosts that no subscription is left of, up to a thousand."""

    async def unit(connection: Connection) -> None:
        await connection.execute(database.sql("forget_hosts"), _HOSTS_AT_ONCE)

    await database.run(unit)


async def purge(database: Database) -> bool:
    """Drop some of what deleted subscriptions left; tell whether there may be more."""

    async def unit(connection: Connection) -> bool:
        return bool(await connection.fetchval(database.sql("purge"), PURGE_AT_ONCE))

    return await database.run(unit)
