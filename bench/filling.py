"""Databases with a backlog, made once and copied for each run.

Subscriptions are registered through the API of a daemon as shipped, one for each host and organisation. Then,
while no daemon runs, events are published in batches, and routed by the functions that the daemon calls; or,
where a million would take minutes so, `pile` writes what these leave behind.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from uuid import UUID, uuid4

from bench.hookd import EVENT_TYPE, hookd
from bench.postgres import Server, Sql, connected, name_of
from bench.processes import ROOT
from daemon.signing.canonical import JSON, event_body, parse
from daemon.store.routing import NO_CLAIM
from daemon.store.statements import load
from daemon.uuid7 import uuid7

PAYLOADS = ROOT / "bench" / "payloads" / "github.ndjson"
BATCH = 500
PILED = 100_000
"""Deliveries that `pile` writes in one transaction."""
SHARD_EVENTS, SHARD_DELIVERIES = 500, 1000

Data = Callable[[int], JSON]
"""The data of the n-th event."""


def small(size: int = 450) -> Data:
    """Return data with which the whole body of an event has `size` bytes, which compress badly."""
    at = uuid7()
    room = size - len(event_body(at, EVENT_TYPE, {"pad": ""}))

    def data(number: int) -> JSON:
        return {"pad": random.Random(number).randbytes(room // 2 + 1).hex()[:room]}

    return data


def real() -> Data:
    """Return the payloads that GitHub sent, in turn."""
    payloads: list[JSON] = [
        parse(json.dumps(json.loads(line)["data"]), max_depth=64) for line in PAYLOADS.open()
    ]

    def data(number: int) -> JSON:
        return payloads[number % len(payloads)]

    return data


@contextmanager
def backlog(
    server: Server,
    state: Path,
    urls: Sequence[str],
    events: int,
    data: Data,
    *,
    settings: dict[str, object] | None = None,
    routed: bool = True,
) -> Iterator[str]:
    """Give the name of a database in which `events` wait, to be copied; one subscription to each of `urls`.

    `routed`: each is a delivery that is due. Else all are in the inbox, as SQL publishers leave them.
    """
    with server.database() as url:
        orgs = [uuid4() for _ in urls]
        with hookd(state, url, settings) as daemon:
            for org, target in zip(orgs, urls, strict=True):
                daemon.register(org, target)
        with connected(url) as sql:
            if routed:
                publish_ready(sql, orgs, events, data)
                route(sql)
            else:
                publish_data(sql, orgs, events, data)
            sql.execute("vacuum analyze")
        yield name_of(url)


def publish_ready(sql: Sql, orgs: Sequence[UUID], events: int, data: Data) -> None:
    """Publish as the REST API does, with canonical bodies."""
    statement = load("hookd")["publish_bodies"]
    turn = cycle(orgs)
    for start in range(0, events, BATCH):
        count = min(BATCH, events - start)
        ids = [uuid7() for _ in range(count)]
        bodies = [event_body(one, EVENT_TYPE, data(start + n)) for n, one in enumerate(ids)]
        nothing: list[None] = [None] * count
        types = [EVENT_TYPE] * count
        sql.value(statement, ids, list(islice(turn, count)), types, bodies, nothing, nothing)


def publish_data(sql: Sql, orgs: Sequence[UUID], events: int, data: Data) -> None:
    """Publish as SQL publishers do, in batches; each organisation its share."""
    for place, org in enumerate(orgs):
        numbers = range(place, events, len(orgs))
        for start in range(0, len(numbers), BATCH):
            some = [json.dumps(data(number)) for number in numbers[start : start + BATCH]]
            sql.value("select hookd.publish_batch($1, $2, $3::jsonb[])", org, [EVENT_TYPE] * len(some), some)


def route(sql: Sql) -> None:
    """Route everything in the inbox; the bodies are ready."""
    statements = load("hookd")
    while rows := sql.rows(statements["open_shards"], SHARD_EVENTS, 1, None):
        shards = [row["shard"] for row in rows]
        sql.value(
            statements["route"], shards, SHARD_EVENTS, SHARD_DELIVERIES, [], [], [], [], *NO_CLAIM.arguments
        )


def pile(sql: Sql, deliveries: int, orgs: Sequence[UUID] = (), size: int = 450) -> None:
    """Have deliveries of events of their own wait for the subscriptions of `orgs` (none: of all), in turn.

    Writes events and deliveries as routing would, and lets `hookd.repair` wake the lanes and hosts. Bodies
    have `size` bytes; the data has a number that counts from 0.
    """
    at = uuid7()
    room = size - len(event_body(at, EVENT_TYPE, {"number": 0, "pad": ""})) + 1
    for start in range(0, deliveries, PILED):
        end = min(start + PILED, deliveries)
        sql.execute(_PILE, start, end - 1, list(orgs), EVENT_TYPE, room)
    sql.execute("vacuum analyze")
    statement, after = load("hookd")["repair"], 0
    while found := sql.rows(statement, after, 1000):
        after = found[0]["last_host"]


_PILE = """
with s as materialized (
    select id, org_id, row_number() over (order by id) - 1 as place
    from hookd.subscription where org_id = any ($3) or $3 = '{}'),
e as materialized (
    select n, hookd.uuid7(c.at) as id, c.at, s.id as subscription_id, s.org_id
    from generate_series($1::integer, $2::integer) n join s on s.place = n % (select count(*) from s)
    cross join lateral (select clock_timestamp() + interval '0' * n as at) c),
kept as (
    insert into hookd.event (id, org_id, type, body)
    select e.id, e.org_id, $4::text, format(
        '{"data":{"number":%s,"pad":"%s"},"id":"%s","timestamp":"%s","type":"%s"}', e.n,
        left((select string_agg(md5(e.n::text || k), '') from generate_series(0, $5::integer / 32) k),
            $5::integer - length(e.n::text)),
        e.id, to_char(e.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), $4::text)
    from e)
insert into hookd.delivery (id, subscription_id, event_id, due)
select hookd.uuid7(e.at), e.subscription_id, e.id, e.at from e order by e.n
"""
