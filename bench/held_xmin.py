"""Drain a queue while an idle transaction elsewhere keeps every dead row: does each step stay cheap?

    python -m bench.held_xmin [--events 100000] [--batch 500] [--shape LANESxHOSTS …] [--wrote] [--free]

Uses the server that HOOKD_TEST_DATABASE names (it creates and drops databases there), else an embedded one.
Prints, for route, claim and record, the median of the first and of the last tenth of the calls: milliseconds
and blocks of Postgres' buffers. `--wrote`: the holder has a transaction id of its own. `--free`: no holder,
and a VACUUM after every tenth of the drain.
"""

import argparse
import asyncio
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import asyncpg

from tests.support.postgres import fresh_database, migrated_template, server
from tests.support.queue_drain import Cost, Costs, drain, fill_inbox, route_costs
from tests.support.queue_lab import prepare, register_many

HEADING = "    shape    step  calls  first ms   last ms  times  first bl.   last bl.  times"
SHAPES = ["1x1", "1000x100", "1000x1"]


def tenths(costs: list[Cost]) -> tuple[list[Cost], list[Cost]]:
    """Return the first and the last tenth."""
    count = max(1, len(costs) // 10)
    return costs[:count], costs[-count:]


def line(shape: str, step: str, costs: list[Cost]) -> str:
    """Return one line of the table."""
    first, last = tenths(costs)
    ms = [median(one.milliseconds for one in part) for part in (first, last)]
    blocks = [median(one.blocks for one in part) for part in (first, last)]
    return (
        f"{shape:>9} {step:>7} {len(costs):>6} {ms[0]:>9.2f} {ms[1]:>9.2f} {ms[1] / ms[0]:>6.1f}"
        f" {blocks[0]:>10.0f} {blocks[1]:>10.0f} {blocks[1] / blocks[0]:>6.1f}"
    )


async def measure(url: str, shape: str, events: int, batch: int, *, wrote: bool, free: bool) -> list[str]:
    """Drain one queue and return its lines of the table."""
    lanes, hosts = (int(number) for number in shape.split("x"))
    session, holder = await asyncpg.connect(url), await asyncpg.connect(url)
    costs = Costs()
    try:
        await prepare(session)
        await register_many(session, None, lanes, hosts=hosts)
        await fill_inbox(session, events)
        await session.execute("vacuum")
        if not free:
            await holder.execute("begin isolation level repeatable read")
            await holder.fetchval("select count(*) from hookd.host")
            if wrote:
                await holder.fetchval("select pg_current_xact_id()")
        await route_costs(session, costs.route)
        step = max(1, events // batch // 10)
        while await drain(session, costs, batch=batch, most=len(costs.claim) + step):
            if free:
                await session.execute(
                    "vacuum hookd.delivery, hookd.lane, hookd.host, hookd.lease, hookd.inbox"
                )
        left = await session.fetchval("select count(*) from hookd.delivery")
    finally:
        await holder.close()
        await session.close()
    lines = [line(shape, name, getattr(costs, name)) for name in ("route", "claim", "record")]
    return [*lines, *([f"{left} deliveries were left over"] if left else [])]


def main() -> None:
    """Measure each shape in a database of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--shape", nargs="+", default=SHAPES)
    parser.add_argument("--wrote", action="store_true")
    parser.add_argument("--free", action="store_true")
    given = parser.parse_args()
    print(HEADING)
    with TemporaryDirectory(prefix="hookd-bench-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        with server(Path(name)) as url:
            template = migrated_template(url)
            for shape in given.shape:
                with fresh_database(url, template) as database:
                    for row in asyncio.run(
                        measure(
                            database, shape, given.events, given.batch, wrote=given.wrote, free=given.free
                        )
                    ):
                        print(row, flush=True)


if __name__ == "__main__":
    main()
