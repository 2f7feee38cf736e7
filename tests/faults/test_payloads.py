"""Real payloads, through REST and through SQL: delivered once, well signed, and always in the same bytes."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from standardwebhooks import Webhook

from tests.support.daemon import running
from tests.support.payloads import PAYLOADS
from tests.support.publishing import with_postgres
from tests.support.receiver import Received, Receiver, Reply, receiving
from tests.support.scale import scale

SUBSCRIPTIONS = scale(8, 20)
FLAKY = "/hook/7"


def hmac_sha256(key: bytes, message: bytes) -> str:
    """RFC 2104, written out, so that the judge shares no code with the signer."""
    key = hashlib.sha256(key).digest() if len(key) > 64 else key
    key = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).hexdigest()


@pytest.mark.parametrize("way", ["rest", "sql"])
async def test_real_payloads_arrive_once_and_verify(way: str, tmp_path: Path, postgres_url: str) -> None:
    seen: Counter[str] = Counter()

    async def fail_first(request: Received) -> Reply:
        if request.path != FLAKY:
            return Reply()
        seen[request.event_id] += 1
        return Reply(500 if seen[request.event_id] == 1 else 200)

    def succeeded(receiver: Receiver) -> list[Received]:
        return [one for one in receiver.requests if one.path != FLAKY]

    org = uuid4()
    async with (
        receiving(fail_first) as receiver,
        running(tmp_path, postgres_url, delivery__retry_schedule=["1s", "1s"]) as daemon,
    ):
        secrets = {}
        for number in range(SUBSCRIPTIONS):
            subscription = await daemon.register(org, receiver.url(f"/hook/{number}"))
            secrets[f"/hook/{number}"] = subscription["secret"]
        if way == "rest":
            ids: list[str] = []
            async with daemon.client(org, "publisher") as client:
                for start in range(0, len(PAYLOADS), 50):
                    events = [{"type": "match.proposed", "data": one} for one in PAYLOADS[start : start + 50]]
                    answer = await client.post("/events", json=events)
                    assert answer.status_code == 202, answer.text
                    ids += answer.json()["ids"]
        else:
            ids = await publish_sql(postgres_url, org)
        expected = len(PAYLOADS) * SUBSCRIPTIONS
        await receiver.until(lambda: len(receiver.requests) >= expected + len(PAYLOADS), 60)
        assert await daemon.stop() == 0

    once = Counter((one.path, one.event_id) for one in succeeded(receiver))
    assert set(once.values()) == {1}
    assert len(once) == expected - len(PAYLOADS)
    assert {event for _, event in once} == set(ids)
    assert seen == Counter(dict.fromkeys(ids, 2))
    bodies: dict[str, set[bytes]] = {}
    for request in receiver.requests:
        secret = secrets[request.path]
        Webhook(secret).verify(request.body, request.headers)
        assert request.headers["x-alter-signature"] == hmac_sha256(secret.encode(), request.body)
        bodies.setdefault(request.event_id, set()).add(request.body)
    assert all(len(different) == 1 for different in bodies.values())
    sent = {event: json.loads(next(iter(body))) for event, body in bodies.items()}
    assert [sent[event]["data"] for event in ids] == PAYLOADS
    for event, (body,) in bodies.items():
        plain = {"data": sent[event]["data"], "id": event, "type": "match.proposed"}
        plain["timestamp"] = sent[event]["timestamp"]
        assert body == json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    assert len({request.headers["x-alter-delivery"] for request in receiver.requests}) == expected


async def publish_sql(url: str, org: UUID) -> list[str]:
    """Publish the payloads as a client without hookd's code would: in its own transaction."""

    async def publish(connection: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
        statement = "select hookd.publish($1, 'match.proposed', $2::jsonb)"
        async with connection.transaction():
            ids = [await connection.fetchval(statement, org, json.dumps(one)) for one in PAYLOADS]
        return [str(one) for one in ids]

    return await with_postgres(url, publish)
