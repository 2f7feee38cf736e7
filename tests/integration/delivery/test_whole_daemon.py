"""The daemon's way of an event, seen from outside: a real process, real sockets, a real Postgres."""

# Covers daemon.delivery.sweeper, daemon.process.deliver.

import json
import socket
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import trio
from standardwebhooks import Webhook

from tests.support.daemon import Daemon, running
from tests.support.publishing import publish_many, rows, until_rows, with_postgres
from tests.support.receiver import Received, Reply, hang, receiving

QUICK = {"delivery__retry_schedule": ["200ms", "200ms", "200ms"], "delivery__timeout": "1s"}


async def publish(daemon: Daemon, org: UUID, event_type: str = "match.proposed", **more: Any) -> str:
    async with daemon.client(org, "publisher") as client:
        answer = await client.post("/events", json={"type": event_type, "data": {}, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def history(url: str) -> list[asyncpg.Record]:
    return await rows(url, "select * from hookd.attempt order by attempted_at, id")


async def test_failed_attempts_are_retried_and_then_given_up(tmp_path: Path, postgres_url: str) -> None:
    async def fail(request: Received) -> Reply:
        return Reply(500)

    org = uuid4()
    async with receiving(fail) as receiver, running(tmp_path, postgres_url, **QUICK) as daemon:
        subscription = await daemon.register(org, receiver.url())
        event = await publish(daemon, org)
        await until_rows(postgres_url, "select count(*) from hookd.attempt where ended = 'exhausted'", 1)
        async with daemon.client(org) as client:
            shown = (await client.get(f"/webhooks/{subscription['id']}")).json()
        await daemon.stop()
    assert [one.event_id for one in receiver.requests] == [event] * 4
    assert len({one.body for one in receiver.requests}) == 1
    assert len({one.headers["x-alter-delivery"] for one in receiver.requests}) == 1
    attempts = await history(postgres_url)
    assert [(one["attempt"], one["error"], one["response_status"], one["ended"]) for one in attempts] == [
        (1, "status_5xx", 500, None),
        (2, "status_5xx", 500, None),
        (3, "status_5xx", 500, None),
        (4, "status_5xx", 500, "exhausted"),
    ]
    assert shown["failure_count"] == 4
    gaps = [b.at - a.at for a, b in zip(receiver.requests, receiver.requests[1:], strict=False)]
    assert all(gap >= 0.16 for gap in gaps)


async def test_an_answer_of_410_disables_and_the_rest_is_held(tmp_path: Path, postgres_url: str) -> None:
    status = 410

    async def answer(request: Received) -> Reply:
        return Reply(status)

    org = uuid4()
    async with receiving(answer) as receiver, running(tmp_path, postgres_url, **QUICK) as daemon:
        subscription = await daemon.register(org, receiver.url())
        first, second = await publish_many(postgres_url, org, 2)
        await until_rows(postgres_url, "select disabled_reason from hookd.subscription", "gone")
        async with daemon.client(org) as client:
            shown = (await client.get(f"/webhooks/{subscription['id']}")).json()
        assert shown["is_active"] is False
        await publish(daemon, org)  # not routed to a subscription that is off
        await until_rows(postgres_url, "select count(*) from hookd.inbox", 0)
        await until_rows(postgres_url, "select count(*) from hookd.delivery where lease is null", 1)
        assert len(receiver.requests) == 1
        status = 204
        assert await rows(postgres_url, "select hookd.set_active($1, true, null)", UUID(subscription["id"]))
        await receiver.until(lambda: len(receiver.requests) == 2, 15)
        await until_rows(postgres_url, "select count(*) from hookd.delivery", 0)
        await daemon.stop()
    assert {one.event_id for one in receiver.requests} == {first, second}
    assert [one["ended"] for one in await history(postgres_url)] == ["gone", "succeeded"]


async def test_retry_after_holds_one_lane_and_not_its_neighbour(tmp_path: Path, postgres_url: str) -> None:
    async def answer(request: Received) -> Reply:
        if request.path == "/busy" and sum(one.path == "/busy" for one in receiver.requests) == 1:
            return Reply(429, {"Retry-After": "2"})
        return Reply()

    busy, calm = uuid4(), uuid4()
    async with receiving(answer) as receiver, running(tmp_path, postgres_url, **QUICK) as daemon:
        await daemon.register(busy, receiver.url("/busy"))
        await daemon.register(calm, receiver.url("/calm"))
        await publish(daemon, busy)
        await receiver.until(lambda: len(receiver.requests) == 1, 10)
        await until_rows(postgres_url, "select count(*) from hookd.attempt", 1)
        await publish(daemon, busy)
        await publish(daemon, calm)
        await receiver.until(lambda: any(one.path == "/calm" for one in receiver.requests), 1.5)
        await receiver.until(lambda: sum(one.path == "/busy" for one in receiver.requests) == 3, 10)
        await daemon.stop()
    at = [one.at for one in receiver.requests if one.path == "/busy"]
    assert at[1] - at[0] >= 1.9


async def test_a_corrected_url_does_not_wait_for_the_old_one(tmp_path: Path, postgres_url: str) -> None:
    async def answer(request: Received) -> Reply:
        return Reply(429, {"Retry-After": "86400"}) if request.path == "/wrong" else Reply()

    org = uuid4()
    async with receiving(answer) as receiver, running(tmp_path, postgres_url, **QUICK) as daemon:
        path = f"/webhooks/{(await daemon.register(org, receiver.url('/wrong')))['id']}"
        first = await publish(daemon, org)
        await until_rows(postgres_url, "select count(*) from hookd.attempt", 1)
        second = await publish(daemon, org)
        await until_rows(postgres_url, "select count(*) from hookd.delivery", 2)
        async with daemon.client(org, "org_admin") as client:
            listed = (await client.get(f"{path}/deliveries?status=pending")).json()["data"]
            for one in listed:
                shown = (await client.get(f"{path}/deliveries/{one['delivery_id']}")).json()["waiting"]
                assert shown["reason"] == "retry_after"
                assert shown["until"] is not None
            again = await client.post(f"{path}/deliveries/{listed[0]['delivery_id']}/redeliver")
            assert again.json()["waiting"]["reason"] == "retry_after"
            assert again.json()["waiting"]["until"] is not None
            await client.patch(path, json={"url": receiver.url("/right")})
        await receiver.until(lambda: len(receiver.requests) == 4, 10)
        await daemon.stop()
    assert [one.path for one in receiver.requests] == ["/wrong", "/right", "/right", "/right"]
    assert {one.event_id for one in receiver.requests[1:]} == {first, second}


async def test_a_refused_connection_opens_the_circuit_and_a_probe_closes_it(
    tmp_path: Path, postgres_url: str
) -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    org = uuid4()
    async with running(tmp_path, postgres_url, delivery__retry_schedule=["100ms"] * 100) as daemon:
        await daemon.register(org, f"http://127.0.0.1:{port}/")
        event = await publish(daemon, org)
        await until_rows(postgres_url, "select circuit_trips from hookd.host", 1)
        attempts = await history(postgres_url)
        assert [one["error"] for one in attempts] == ["connect_refused"] * 5
        async with receiving() as receiver, trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, receiver.serve, [listener])
            await receiver.until(lambda: len(receiver.requests) == 1, 15)
            await until_rows(postgres_url, "select circuit_failures from hookd.host", 0)
            nursery.cancel_scope.cancel()
        await daemon.stop()
    assert receiver.requests[0].event_id == event


async def test_hung_receivers_leave_senders_for_the_others(tmp_path: Path, postgres_url: str) -> None:
    hung, well = uuid4(), uuid4()
    async with (
        receiving(hang, ports=20) as sick,
        receiving() as healthy,
        running(tmp_path, postgres_url, delivery__concurrency=8, delivery__timeout="10m") as daemon,
    ):
        await daemon.register(well, healthy.url())
        for port in range(20):
            await daemon.register(hung, sick.url("/", port=port))
        await publish(daemon, well)
        await healthy.until(lambda: len(healthy.requests) == 1, 10)
        await publish_many(postgres_url, hung, 10)
        await sick.until(lambda: len(sick.requests) >= 2, 10)
        for number in range(20):
            await publish(daemon, well)
            await healthy.until(lambda wanted=number + 2: len(healthy.requests) >= wanted, 30)  # type: ignore[misc]
        assert len(sick.requests) == 2  # a quarter of the eight senders


async def test_events_from_sql_arrive_in_the_canonical_form(tmp_path: Path, postgres_url: str) -> None:
    text = '{"z": 1.50, "a": [1e3, -0, 12345678901234567890123, "é\\u0001"], "b": {"d": null, "c": true}}'
    beyond = "1" + "0" * 400 + ".5"
    org = uuid4()
    async with receiving() as receiver, running(tmp_path, postgres_url) as daemon:
        subscription = await daemon.register(org, receiver.url())

        async def sql(connection: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
            statement = "select hookd.publish($1, 'match.proposed', $2::jsonb)"
            many = f"[{'0,' * 20_000}0]"
            return [
                str(await connection.fetchval(statement, org, data))
                for data in (text, f'{{"number": {beyond}}}', many)
            ]

        good, bad, heavy = await with_postgres(postgres_url, sql)
        await receiver.until(lambda: len(receiver.requests) == 1, 10)
        await until_rows(postgres_url, "select count(*) from hookd.attempt", 3)
        await daemon.stop()
    (request,) = receiver.requests
    Webhook(subscription["secret"]).verify(request.body, request.headers)
    data = '{"a":[1000,0,12345678901234567890123,"\\u00e9\\u0001"],"b":{"c":true,"d":null},"z":1.5}'
    moment = datetime.fromtimestamp((UUID(good).int >> 80) / 1000, UTC).isoformat(timespec="milliseconds")
    moment = moment.replace("+00:00", "Z")
    assert request.body.decode() == (
        f'{{"data":{data},"id":"{good}","timestamp":"{moment}","type":"match.proposed"}}'
    )
    never = next(one for one in await history(postgres_url) if str(one["event_id"]) == bad)
    assert (never["ended"], never["attempt"], never["response_status"]) == ("unrepresentable", 0, None)
    (event,) = await rows(postgres_url, "select body, problem from hookd.event where id = $1", UUID(bad))
    assert event["body"] is None
    assert "double" in event["problem"]
    (event,) = await rows(postgres_url, "select body, problem from hookd.event where id = $1", UUID(heavy))
    assert event["body"] is None
    assert "more than 20000 values" in event["problem"]


async def test_keys_and_later_events(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with receiving() as receiver, running(tmp_path, postgres_url) as daemon:
        await daemon.register(org, receiver.url(), ["match.*"])
        first = await publish(daemon, org, key="order 7")
        assert await publish(daemon, org, key="order 7") == first
        when = datetime.now(UTC) + timedelta(seconds=1.5)
        begin = time.monotonic()
        later = await publish(daemon, org, deliver_after=when.isoformat())
        await receiver.until(lambda: len(receiver.requests) == 2, 10)
        await daemon.stop()
    assert [one.event_id for one in receiver.requests] == [first, later]
    assert receiver.requests[1].at - begin >= 1.3


async def test_a_forbidden_address_is_refused_at_registration_and_at_sending(
    tmp_path: Path, postgres_url: str
) -> None:
    org = uuid4()
    async with receiving() as receiver:
        async with running(tmp_path, postgres_url) as daemon:
            await daemon.register(org, receiver.url())
            await daemon.stop()
        async with running(tmp_path, postgres_url, egress__allow_networks=[]) as daemon:
            async with daemon.client(org, "org_admin") as client:
                for url in ("http://127.0.0.1/", "http://169.254.169.254/latest", "http://[::1]/"):
                    answer = await client.post("/webhooks/", json={"url": url, "events": ["match.proposed"]})
                    assert answer.status_code == 422, answer.text
                    assert answer.json()["errors"][0]["pointer"] == "/url"
            await publish(daemon, org)
            await until_rows(postgres_url, "select error from hookd.attempt limit 1", "address_forbidden")
            await daemon.stop()
        assert receiver.requests == []


async def test_patterns_reach_a_subscription_once(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with receiving() as receiver, running(tmp_path, postgres_url) as daemon:
        await daemon.register(org, receiver.url("/all"), ["*", "match.*", "match.proposed"])
        await daemon.register(org, receiver.url("/match"), ["match.*", "match.proposed"])
        await daemon.register(org, receiver.url("/other"), ["placement.created"])
        for event_type in ("match.proposed", "match.declined", "placement.created"):
            await publish(daemon, org, event_type)
        await receiver.until(lambda: len(receiver.requests) == 6, 10)
        await until_rows(postgres_url, "select count(*) from hookd.delivery", 0)
        await daemon.stop()
    got = Counter((one.path, json.loads(one.body)["type"]) for one in receiver.requests)
    assert got == Counter(
        [
            ("/all", "match.proposed"),
            ("/all", "match.declined"),
            ("/all", "placement.created"),
            ("/match", "match.proposed"),
            ("/match", "match.declined"),
            ("/other", "placement.created"),
        ]
    )
