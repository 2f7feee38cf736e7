"""What Postgres spends on a delivery: publish, route, claim and record, without HTTP.

Each shape (subscriptions on hosts) is filled and drained through the same functions as the daemon uses, on an
embedded server; medians of the batches, and the write-ahead log of claim and record.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg

from daemon.model import uuid7
from daemon.store.embedded import embedded
from daemon.store.migrate import migrate
from daemon.store.statements import load
from tests.support.postgres import reachable_directory

SHAPES = ((1, 1), (100, 100), (1000, 100), (5000, 1), (5000, 5000))
BODY = "x" * 450


async def drain(
    connection: "asyncpg.Connection[asyncpg.Record]", lanes: int, hosts: int, count: int, batch: int
) -> str:
    """Publish, route, claim and record `count` deliveries in one shape; return a row of the table."""
    sql = load("hookd")
    await connection.execute("drop schema if exists hookd cascade")
    await migrate(connection, sql)
    await connection.fetch("select hookd.make_partitions(now(), now())")
    orgs = [uuid4() for _ in range(lanes)]
    for number, org in enumerate(orgs):
        await connection.execute(
            sql["register"],
            uuid7(),
            org,
            "https://x/",
            ["a.b"],
            b"x",
            10,
            f"h{number % hosts}:443",
            1e6,
            1e6,
            1000,
        )
    await connection.execute("update hookd.lane set proven = true, window_size = 1000")
    await connection.execute("vacuum analyze")
    spent: dict[str, list[float]] = {"publish": [], "route": [], "claim": [], "record": []}

    def clock(step: str) -> Callable[[int], None]:
        begin = time.perf_counter()
        return lambda done: spent[step].append((time.perf_counter() - begin) / done * 1e6)

    for start in range(0, count, batch):
        chosen = [orgs[(start + number) % lanes] for number in range(batch)]
        stop = clock("publish")
        nothing: list[None] = [None] * batch
        ids = [uuid7() for _ in chosen]
        await connection.fetchval(
            sql["publish_bodies"], ids, chosen, ["a.b"] * batch, [BODY] * batch, nothing, nothing
        )
        stop(batch)
    while True:
        stop = clock("route")
        async with connection.transaction():
            rows = await connection.fetch(sql["open_shard"], batch)
            if not rows:
                break
            stop(await connection.fetchval(sql["route"], rows[0]["shard"], batch, 2 * batch, [], [], [], []))
    before = await connection.fetchval("select pg_current_wal_lsn()")
    done = 0
    while done < count:
        token = uuid4()
        stop = clock("claim")
        rows = await connection.fetch(
            sql["claim"], token, batch, max(8, batch // 8), timedelta(minutes=1), False
        )
        if not rows:
            raise SystemExit(f"the queue gave no more after {done} of {count}: report this")
        stop(len(rows))
        stop = clock("record")
        await connection.fetchval(sql["record"], *results(rows, token))
        stop(len(rows))
        done += len(rows)
    wal = await connection.fetchval("select pg_wal_lsn_diff(pg_current_wal_lsn(), $1)", before) / count
    cells = "".join(f"{statistics.median(values):>9.0f}" for values in spent.values())
    return f"{f'{lanes} on {hosts}':>14}{cells}{wal:>9.0f}"


def results(rows: list[asyncpg.Record], token: UUID) -> tuple[object, ...]:
    """Return the arguments of record() that say that every claimed delivery succeeded."""
    size = len(rows)
    none: list[None] = [None] * size

    def column(name: str) -> list[object]:
        return [row[name] for row in rows]

    return (
        column("delivery_id"),
        [token] * size,
        column("subscription_id"),
        column("host_id"),
        column("event_id"),
        column("event_type"),
        column("attempt"),
        ["succeeded"] * size,
        none,
        [204] * size,
        none,
        none,
        none,
        ["answered_well"] * size,
        [False] * size,
        [datetime.now(UTC)] * size,
        [1.0] * size,
        ["{NULL,NULL,NULL,0.5}"] * size,
        none,
        [token],
        timedelta(days=5),
    )


async def run(url: str, events: int, batch: int) -> None:
    """Measure every shape and print the table."""
    connection = await asyncpg.connect(url)
    version = await connection.fetchval("show server_version")
    print(f"Postgres {version}, one connection, {events} deliveries a shape in batches of {batch}")
    print("microseconds a delivery, medians; write-ahead log of claim and record")
    print(f"{'lanes on hosts':>14}{'publish':>9}{'route':>9}{'claim':>9}{'record':>9}{'WAL, B':>9}")
    for lanes, hosts in SHAPES:
        print(await drain(connection, lanes, hosts, events, batch), flush=True)
    await connection.close()


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench queue_drain", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=500)
    args = parser.parse_args()
    with reachable_directory() as directory, embedded(directory) as url:
        asyncio.run(run(url, args.events, args.batch))


if __name__ == "__main__":
    main()
