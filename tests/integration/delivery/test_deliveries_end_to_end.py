"""A delivery that fails is looked at and sent once more: a real process, real sockets, a real Postgres."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import trio
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.daemon import Daemon, running
from tests.support.publishing import publish_many
from tests.support.receiver import Received, Reply, receiving

SLOW = {"delivery__retry_schedule": ["1h"], "delivery__timeout": "2s"}
ORG = uuid4()


async def publish(daemon: Daemon) -> str:
    async with daemon.client(ORG, "publisher") as client:
        answer = await client.post(
            "/events", json={"type": "match.proposed", "data": {"name": "Zoë", "n": 1}}
        )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def shown(client: httpx.AsyncClient, path: str, **params: str) -> Any:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def until_listed(client: httpx.AsyncClient, path: str, count: int, **params: str) -> list[Any]:
    """Return the list once it has so many: what is awaited happens in another process."""
    found: list[Any] = []
    with trio.move_on_after(15):
        while len(found) < count:
            found = (await shown(client, path, **params))["data"]
            await trio.sleep(0.02)
    assert len(found) == count, found
    return found


def assert_same_request(request: dict[str, Any], body: str, received: Received) -> None:
    """Compare what is shown with what came."""
    values = {name.lower(): value for name, value in request["headers"].items()}
    hidden = {name for name, value in values.items() if value == "***"}
    assert {name: value for name, value in received.headers.items() if name not in hidden} == {
        name: value for name, value in values.items() if name not in hidden
    }
    assert hidden <= set(received.headers)
    assert body.encode() == received.body


async def test_a_failed_delivery_is_looked_at_and_sent_again(tmp_path: Path, postgres_url: str) -> None:
    status = 500

    async def answer(request: Received) -> Reply:
        return Reply(status)

    async with (
        receiving(answer) as receiver,
        running(tmp_path, postgres_url, **SLOW) as daemon,
        daemon.client(ORG, "org_admin") as client,
    ):
        made = await client.post(
            "/webhooks/",
            json={
                "url": receiver.url("/hook?a=b"),
                "events": ["match.proposed"],
                "headers": {"Authorization": "Bearer a password"},
            },
        )
        subscription = made.json()
        listing = f"/webhooks/{subscription['id']}/deliveries"
        event = await publish(daemon)
        [failed] = await until_listed(client, listing, 1)
        assert (failed["status"], failed["response_status"], failed["event_id"]) == ("failed", 500, event)
        [owed] = (await shown(client, listing, status="pending"))["data"]
        assert (owed["delivery_id"], owed["status"], owed["failures"]) == (
            failed["delivery_id"],
            "pending",
            1,
        )

        one = await shown(client, f"{listing}/{failed['delivery_id']}")
        assert one["status"] == "pending"
        assert (one["waiting"]["reason"], one["waiting"]["until"]) == ("retry", failed["next_attempt_at"])
        [attempt] = one["attempts"]
        assert attempt["request"]["url"] == receiver.url("/hook?a=b")
        assert attempt["phases"]["first_byte_ms"] > 0
        Webhook(subscription["secret"]).verify(one["body"], attempt["request"]["headers"])
        with pytest.raises(WebhookVerificationError):
            Webhook(subscription["secret"]).verify(one["body"] + " ", attempt["request"]["headers"])
        assert_same_request(attempt["request"], one["body"], receiver.requests[0])
        assert attempt["request"]["headers"]["Authorization"] == "***"
        everything = str(one) + str(failed) + str(owed)
        assert "a password" not in everything
        assert subscription["secret"].removeprefix("whsec_") not in everything

        status = 204
        again = await client.post(f"{listing}/{failed['delivery_id']}/redeliver")
        assert again.status_code == 202, again.text
        fresh = again.json()["delivery_id"]
        await receiver.until(lambda: len(receiver.requests) == 2, 10)
        [done] = await until_listed(client, listing, 1, status="succeeded")
        assert (done["delivery_id"], done["event_id"], done["attempt"]) == (fresh, event, 1)
        first, second = receiver.requests
        assert first.event_id == second.event_id == event
        assert first.body == second.body
        assert (first.headers["x-alter-delivery"], second.headers["x-alter-delivery"]) == (
            failed["delivery_id"],
            fresh,
        )
        one = await shown(client, again.headers["location"])
        assert (one["status"], one["waiting"]) == ("succeeded", None)
        assert_same_request(one["attempts"][0]["request"], one["body"], second)
        newest_first = (await shown(client, listing))["data"]
        assert [row["id"] for row in newest_first] == [done["id"], failed["id"]]
        at = {"from": failed["attempted_at"], "to": failed["next_attempt_at"]}
        assert len((await shown(client, listing, **at))["data"]) == 2
        assert (await shown(client, listing, event_type="match.accepted"))["data"] == []

        async with daemon.client(uuid4(), "org_admin") as stranger:
            for method, path in (
                ("GET", listing),
                ("GET", again.headers["location"]),
                ("POST", f"{again.headers['location']}/redeliver"),
            ):
                assert (await stranger.request(method, path)).status_code == 404
        async with daemon.client(ORG) as reader:
            assert (await reader.post(f"{again.headers['location']}/redeliver")).status_code == 403
        assert await daemon.stop() == 0


async def test_pages_over_http_hold_each_attempt_once(tmp_path: Path, postgres_url: str) -> None:
    async with (
        receiving() as receiver,
        running(tmp_path, postgres_url) as daemon,
        daemon.client(ORG) as client,
    ):
        subscription = await daemon.register(ORG, receiver.url())
        listing = f"/webhooks/{subscription['id']}/deliveries"
        await publish_many(postgres_url, ORG, 300)
        await receiver.until(lambda: len(receiver.requests) >= 150, 20)
        found: list[Any] = []
        path = f"{listing}?limit=100"
        while path:
            answer = await client.get(path)
            found += answer.json()["data"]
            path = answer.links.get("next", {}).get("url", "")
        assert len({one["id"] for one in found}) == len(found)
        assert [one["id"] for one in found] == sorted((one["id"] for one in found), reverse=True)
        await receiver.until(lambda: len(receiver.requests) == 300, 20)
        newest = UUID(found[0]["id"])
        every: list[Any] = []
        with trio.fail_after(20):
            while len(every) < 300:
                every, path = [], f"{listing}?limit=100"
                while path:
                    answer = await client.get(path)
                    every += answer.json()["data"]
                    path = answer.links.get("next", {}).get("url", "")
        assert {one["delivery_id"] for one in every} == {
            one.headers["x-alter-delivery"] for one in receiver.requests
        }
        assert [one for one in every if UUID(one["id"]) <= newest] == found
