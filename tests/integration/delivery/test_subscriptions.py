"""Reading, changing, pausing and deleting subscriptions with a real daemon, sockets and Postgres."""

# Covers daemon.store.subscriptions.

import base64
import hmac
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

from tests.support.daemon import Daemon, running
from tests.support.publishing import rows
from tests.support.receiver import Received, Reply, receiving


async def publish(daemon: Daemon, org: UUID, data: Any, event_type: str = "match.proposed") -> str:
    async with daemon.client(org, "publisher") as client:
        answer = await client.post("/events", json={"type": event_type, "data": data})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def pointers(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 422, answer.text
    return {error["pointer"] for error in answer.json()["errors"]}


async def test_settings_are_kept_shown_and_taken_away(tmp_path: Path, postgres_url: str) -> None:
    settings = {
        "description": "orders → ERP",
        "metadata": {"team": "core", "ключ": "значение"},
        "headers": {"Authorization": "Bearer very secret", "X-Team": "core"},
        "filter": '$.country == "DE"',
        "rate_limit": 2.5,
        "ordered": True,
        "timeout": 3,
        "retry_schedule": [1.5, 60],
    }
    org = uuid4()
    async with running(tmp_path, postgres_url) as daemon, daemon.client(org, "org_admin") as client:
        plain = await daemon.register(org, "http://127.0.0.1:1025/")
        assert set(plain) == {
            "id", "org_id", "url", "events", "is_active", "failure_count", "created_at", "secret",
        }  # fmt: skip
        answer = await client.post(
            "/webhooks/", json={"url": "http://127.0.0.1:1025/", "events": ["*"], **settings}
        )
        assert answer.status_code == 201, answer.text
        masked = {**settings, "headers": {"Authorization": "***", "X-Team": "***"}}
        path = f"/webhooks/{answer.json()['id']}"
        for shown in (answer.json(), (await client.get(path)).json()):
            assert {name: shown[name] for name in settings} == masked
        stored = await rows(postgres_url, "select headers from hookd.subscription where headers is not null")
        assert b"very secret" not in stored[0]["headers"]
        gone = await client.patch(path, json={**dict.fromkeys(settings), "ordered": False})
        assert not set(settings) & set(gone.json())
        await daemon.stop()
    assert "very secret" not in daemon.log.read_text()


async def test_two_admins_do_not_overwrite_one_another(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with running(tmp_path, postgres_url) as daemon, daemon.client(org, "org_admin") as client:
        made = await daemon.register(org, "http://127.0.0.1:1025/")
        path = f"/webhooks/{made['id']}"
        seen = (await client.get(path)).headers["etag"]
        first = await client.patch(path, json={"events": ["*"]}, headers={"If-Match": seen})
        second = await client.patch(path, json={"events": ["match.declined"]}, headers={"If-Match": seen})
        assert (first.status_code, second.status_code) == (200, 412)
        assert "read it again" in second.json()["detail"]
        now = await client.get(path)
        assert now.json()["events"] == ["*"]
        assert now.headers["etag"] == first.headers["etag"] != seen
        unchanged = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        nothing = await client.patch(path, json={})
        assert nothing.headers["etag"] == first.headers["etag"]
        await daemon.stop()


async def test_bad_settings_are_named_all_at_once(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with running(tmp_path, postgres_url) as daemon, daemon.client(org, "org_admin") as client:
        bad = {
            "url": "http://10.0.0.1/",
            "events": ["match.nothing"],
            "headers": {"Host": "x", "X-Good": "a\r\nb"},
            "filter": "$.a ==",
            "timeout": 500,
        }
        answer = await client.post("/webhooks/", json=bad)
        expected = {"/url", "/events/0", "/headers/Host", "/headers/X-Good", "/filter", "/timeout"}
        assert pointers(answer) == expected
        made = await daemon.register(org, "http://127.0.0.1:1025/")
        path = f"/webhooks/{made['id']}"
        assert pointers(await client.patch(path, json=bad)) == expected
        for field in ("url", "events", "is_active", "ordered"):
            assert pointers(await client.patch(path, json={field: None})) == {f"/{field}"}
        assert pointers(await client.patch(path, json={"filter": '$.a like_regex "(a+)+"'})) == {"/filter"}
        assert pointers(await client.patch(path, json={"filter": "$.a == $secret"})) == {"/filter"}
        assert pointers(await client.patch(path, json={"filter": "$secret"})) == {"/filter"}
        assert (await client.get(path)).headers["etag"] == '"1.0"'
        await daemon.stop()


async def test_custom_headers_and_the_filter_are_in_force(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with receiving() as receiver, running(tmp_path, postgres_url) as daemon:
        async with daemon.client(org, "org_admin") as client:
            answer = await client.post(
                "/webhooks/",
                json={
                    "url": receiver.url(),
                    "events": ["match.*"],
                    "headers": {"Authorization": "Bearer mine"},
                    "filter": '$.country == "DE"',
                },
            )
            assert answer.status_code == 201
        await publish(daemon, org, {"country": "FR"})
        wanted = await publish(daemon, org, {"country": "DE"})
        await receiver.until(lambda: len(receiver.requests) == 1, 15)
        assert receiver.requests[0].event_id == wanted
        assert receiver.requests[0].headers["authorization"] == "Bearer mine"
        await daemon.stop()
    assert len(receiver.requests) == 1


async def test_a_filter_may_be_an_object_and_is_shown_as_it_was_written(
    tmp_path: Path, postgres_url: str
) -> None:
    org = uuid4()
    asked = {"tags": {"$nin": ["draft"]}, "$or": [{"person.age": {"$gte": 18.0}}, {"country": "DE"}]}
    async with receiving() as receiver, running(tmp_path, postgres_url) as daemon:
        async with daemon.client(org, "org_admin") as client:
            answer = await client.post(
                "/webhooks/", json={"url": receiver.url(), "events": ["match.*"], "filter": asked}
            )
            assert answer.status_code == 201, answer.text
            path = f"/webhooks/{answer.json()['id']}"
            assert answer.json()["filter"] == (await client.get(path)).json()["filter"] == asked
            assert list(answer.json()["filter"]) == list(asked)
            await publish(daemon, org, {"person": {"age": 17}})
            await publish(daemon, org, {"person": {"age": 18}, "tags": ["draft"]})
            wanted = await publish(daemon, org, {"person": {"age": 18}})
            await receiver.until(lambda: len(receiver.requests) == 1, 15)
            refused = await client.patch(path, json={"filter": {"a": {"$gt": 1}, "b/c": {"$rx": 1}}})
            assert pointers(refused) == {"/filter/b~1c/$rx"}
            changed = await client.patch(path, json={"filter": " $.a == 1"})
            assert changed.json()["filter"] == " $.a == 1"
        await daemon.stop()
    assert [one.event_id for one in receiver.requests] == [wanted]


async def test_a_stored_filter_that_is_not_allowed_any_more_is_told_and_can_be_mended(
    tmp_path: Path, postgres_url: str
) -> None:
    org = uuid4()
    async with receiving() as receiver, running(tmp_path, postgres_url) as daemon:
        made = await daemon.register(org, receiver.url())
        await daemon.stop()
        await rows(
            postgres_url,
            "update hookd.subscription set filter = '$.a.abs() == 1' where id = $1",
            UUID(made["id"]),
        )
        await daemon.start()
        assert made["id"] in daemon.log.read_text()
        path = f"/webhooks/{made['id']}"
        async with daemon.client(org, "org_admin") as client:
            assert "at character 5 (`abs`)" in (await client.get(path)).json()["filter_problem"]
            event = await publish(daemon, org, {"a": 1})
            history: list[Any] = []
            with trio.fail_after(15):
                while not history:
                    history = (await client.get(f"{path}/deliveries")).json()["data"]
            (attempt,) = history
            assert (attempt["error"], attempt["attempt"]) == ("filter_failed", 0)
            delivery = (await client.get(f"{path}/deliveries/{attempt['delivery_id']}")).json()
            assert (delivery["status"], delivery["reason"]) == ("given_up", "filter_failed")
            assert "then redeliver or replay" in delivery["attempts"][0]["error_detail"]
            replay = {"from": "2020-01-01T00:00:00Z", "only_failed": True}
            too_early = await client.post(f"{path}/replay", json=replay)
            assert (too_early.status_code, too_early.json()["type"]) == (
                409,
                "urn:hookd:problem:filter-failed",
            )
            mended = await client.patch(path, json={"filter": "$.a == 1"})
            assert "filter_problem" not in mended.json()
            assert (await client.post(f"{path}/replay", json=replay)).json()["total"] == 1
            await receiver.until(lambda: len(receiver.requests) == 1, 15)
        await daemon.stop()
    assert receiver.requests[0].event_id == event


async def test_a_pause_holds_and_what_was_owed_goes_to_the_new_url(tmp_path: Path, postgres_url: str) -> None:
    async def fail(request: Received) -> Reply:
        return Reply(500)

    org = uuid4()
    async with (
        receiving(fail) as old,
        receiving() as new,
        running(tmp_path, postgres_url, delivery__retry_schedule=["500ms"]) as daemon,
        daemon.client(org, "org_admin") as client,
    ):
        made = await daemon.register(org, old.url())
        path = f"/webhooks/{made['id']}"
        event = await publish(daemon, org, {})
        await old.until(lambda: len(old.requests) == 1, 15)
        paused = await client.patch(path, json={"is_active": False})
        assert paused.json()["is_active"] is False
        assert paused.json()["disabled_reason"] == "paused"
        await client.patch(path, json={"url": new.url()})
        resumed = await client.patch(path, json={"is_active": True})
        assert "disabled_reason" not in resumed.json()
        await new.until(lambda: len(new.requests) == 1, 15)
        assert new.requests[0].event_id == event
        await daemon.stop()


def own_signature(request: Received) -> str:
    return request.headers["x-alter-signature"]


def keyed_with(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, "sha256").hexdigest()


async def test_both_secrets_sign_during_the_overlap(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with (
        receiving() as receiver,
        running(tmp_path, postgres_url, signing__secret_overlap="1h") as daemon,
        daemon.client(org, "org_admin") as client,
    ):
        made = await daemon.register(org, receiver.url())
        path = f"/webhooks/{made['id']}/rotate-secret"
        rotated = await client.post(path)
        assert rotated.status_code == 200, rotated.text
        assert set(rotated.json()) == {"secret", "previous_expires_at"}
        await publish(daemon, org, {})
        await receiver.until(lambda: len(receiver.requests) == 1, 15)
        request = receiver.requests[0]
        for secret in (made["secret"], rotated.json()["secret"]):
            Webhook(secret).verify(request.body, request.headers)
        assert own_signature(request) == keyed_with(made["secret"], request.body)
        bad = await client.post(path, json={"secret": "whsec_short"})
        assert pointers(bad) == {"/secret"}
        outcomes = [
            (await client.post(path, json={"secret": "whsec_brought along"})).status_code for _ in range(4)
        ]
        assert outcomes == [200, 200, 200, 409]
        await daemon.stop()


async def test_a_pair_of_keys_signs_and_its_public_half_is_shown(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with (
        receiving() as receiver,
        running(tmp_path, postgres_url) as daemon,
        daemon.client(org, "org_admin") as client,
    ):
        wanted = {"url": receiver.url(), "events": ["*"], "signature": "ed25519"}
        made = (await client.post("/webhooks/", json=wanted)).json()
        assert "secret" not in made
        path = f"/webhooks/{made['id']}"
        [listed] = (await client.get("/webhooks/")).json()["data"]
        changed = (await client.patch(path, json={"description": "x"})).json()
        assert {one["public_key"] for one in (made, listed, changed)} == {made["public_key"]}
        await publish(daemon, org, {})
        rotated = (await client.post(f"{path}/rotate-secret")).json()
        assert set(rotated) == {"public_key", "previous_expires_at"}
        assert rotated["public_key"] != made["public_key"]
        assert (await client.get(path)).json()["public_key"] == rotated["public_key"]
        await receiver.until(lambda: len(receiver.requests) == 1, 15)
        await publish(daemon, org, {})
        await receiver.until(lambda: len(receiver.requests) == 2, 15)
        for request, keys in zip(receiver.requests, ([made], [rotated, made]), strict=True):
            content = f"{request.event_id}.{request.headers['webhook-timestamp']}.".encode() + request.body
            signatures = request.headers["webhook-signature"].split()
            assert len(signatures) in (len(keys), 2)  # the first may go after the rotation
            for signature, key in zip(reversed(signatures), reversed(keys), strict=False):
                raw = base64.b64decode(key["public_key"].removeprefix("whpk_"))
                Ed25519PublicKey.from_public_bytes(raw).verify(
                    base64.b64decode(signature.removeprefix("v1a,")), content
                )
        shared = (await client.post(f"{path}/rotate-secret", json={"signature": "hmac-sha256"})).json()
        assert shared["secret"].startswith("whsec_")
        assert "public_key" not in (await client.get(path)).json()
        for bad in ({"secret": shared["secret"], "signature": "ed25519"}, {"signature": "rsa"}):
            assert pointers(await client.post("/webhooks/", json={**wanted, **bad})) == {"/signature"}
        await daemon.stop()


async def test_one_that_is_registered_inactive_gets_nothing_yet(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with (
        receiving() as receiver,
        running(tmp_path, postgres_url) as daemon,
        daemon.client(org, "org_admin") as client,
    ):
        wanted = {"url": receiver.url("/later"), "events": ["*"], "is_active": False}
        made = (await client.post("/webhooks/", json=wanted)).json()
        assert (made["is_active"], made["disabled_reason"]) == (False, "paused")
        await daemon.register(org, receiver.url("/now"), ["*"])
        await publish(daemon, org, 1)
        await receiver.until(lambda: len(receiver.requests) == 1, 15)
        await client.patch(f"/webhooks/{made['id']}", json={"is_active": True})
        await publish(daemon, org, 2)
        await receiver.until(lambda: len(receiver.requests) == 3, 15)
        assert sorted(one.path for one in receiver.requests) == ["/later", "/now", "/now"]
        await daemon.stop()


async def test_a_schedule_of_its_own(tmp_path: Path, postgres_url: str) -> None:
    async def fail(request: Received) -> Reply:
        return Reply(500)

    org = uuid4()
    bounds = {
        "delivery__own_retries": 3,
        "delivery__own_retry_min": "100ms",
        "delivery__own_retry_total": "1h",
    }
    async with (
        receiving(fail) as receiver,
        running(tmp_path, postgres_url, delivery__retry_schedule=["1h"], **bounds) as daemon,
        daemon.client(org, "org_admin") as client,
    ):
        wanted = {"url": receiver.url(), "events": ["*"], "retry_schedule": [0.1, 0.2]}
        path = f"/webhooks/{(await client.post('/webhooks/', json=wanted)).json()['id']}"
        await publish(daemon, org, 1)
        await receiver.until(lambda: len(receiver.requests) == 3, 15)
        await client.patch(path, json={"retry_schedule": []})
        await publish(daemon, org, 2)
        await receiver.until(lambda: len(receiver.requests) == 4, 15)
        ended: list[Any] = []
        with trio.fail_after(15):
            while len(ended) < 2:
                found = await rows(
                    postgres_url, "select ended, attempt from hookd.attempt where ended is not null"
                )
                ended = sorted((one["attempt"], one["ended"]) for one in found)
                await trio.sleep(0.05)
        assert ended == [(1, "exhausted"), (3, "exhausted")]
        refused: dict[str, list[float]] = {
            "/retry_schedule": [1.0] * 4,
            "/retry_schedule/1": [1.0, 0.05],
            "/retry_schedule/0": [0],
        }
        for pointer, waits in refused.items():
            assert pointers(await client.patch(path, json={"retry_schedule": waits})) == {pointer}
        assert pointers(await client.patch(path, json={"retry_schedule": [3000.0, 601.0]})) == {
            "/retry_schedule"
        }
        gone = await client.patch(path, json={"retry_schedule": None})
        assert "retry_schedule" not in gone.json()
        await daemon.stop()


async def test_the_owner_ends_an_overlap(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with (
        receiving() as receiver,
        running(tmp_path, postgres_url) as daemon,
        daemon.client(org, "org_admin") as client,
    ):
        path = f"/webhooks/{(await daemon.register(org, receiver.url()))['id']}"
        secrets = [(await client.post(f"{path}/rotate-secret")).json()["secret"] for _ in range(2)]
        etag = (await client.get(path)).headers["etag"]
        stale = await client.delete(f"{path}/previous-secret", headers={"If-Match": '"1.0"'})
        assert stale.status_code == 412
        for _ in range(2):  # there is nothing left to end the second time
            ended = await client.delete(f"{path}/previous-secret")
            assert (ended.status_code, ended.content) == (204, b"")
        assert (await client.get(path)).headers["etag"] != etag  # daemons read it anew
        await publish(daemon, org, {})
        await receiver.until(lambda: len(receiver.requests) == 1, 15)
        revoked = (await client.post(f"{path}/rotate-secret", json={"overlap": 0})).json()["secret"]
        await publish(daemon, org, {})
        await receiver.until(lambda: len(receiver.requests) == 2, 15)
        for request, secret in zip(receiver.requests, (secrets[-1], revoked), strict=True):
            Webhook(secret).verify(request.body, request.headers)
            assert " " not in request.headers["webhook-signature"]
            assert own_signature(request) == keyed_with(secret, request.body)
        deliveries = (await client.get(f"{path}/deliveries")).json()["data"]
        shown = [
            (await client.get(f"{path}/deliveries/{one['delivery_id']}")).json()["attempts"][0]["request"][
                "headers"
            ]
            for one in reversed(deliveries)
        ]
        assert [one["X-Alter-Signature"] for one in shown] == [
            own_signature(one) for one in receiver.requests
        ]
        await daemon.stop()


async def test_an_overlap_is_as_long_as_its_owner_says(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with (
        running(tmp_path, postgres_url, signing__secret_overlap_max="7d") as daemon,
        daemon.client(org, "org_admin") as client,
    ):
        lengths = []
        for overlap in ("7d", "1h30m", 90, 0.5, None):
            made = await daemon.register(org, "http://127.0.0.1:1025/")
            answer = await client.post(f"/webhooks/{made['id']}/rotate-secret", json={"overlap": overlap})
            assert answer.status_code == 200, answer.text
            until = datetime.fromisoformat(answer.json()["previous_expires_at"])
            lengths.append(until - datetime.now(UTC))
        expected = [7 * 86400, 5400, 90, 0.5, 86400]
        assert all(abs(a.total_seconds() - b) < 20 for a, b in zip(lengths, expected, strict=True))
        refused: list[object] = ["8d", 604801, -1, "", "soon", True, [], "1h 30m", 10**400]
        for bad in refused:
            answer = await client.post(f"/webhooks/{made['id']}/rotate-secret", json={"overlap": bad})
            assert pointers(answer) == {"/overlap"}, (bad, answer.text)
        await daemon.stop()


async def test_a_deleted_subscription_takes_its_history_along(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with (
        receiving() as receiver,
        running(tmp_path, postgres_url) as daemon,
        daemon.client(org, "org_admin") as client,
    ):
        made = await daemon.register(org, receiver.url())
        path = f"/webhooks/{made['id']}"
        await publish(daemon, org, {})
        await receiver.until(lambda: len(receiver.requests) == 1, 15)
        async with daemon.client(uuid4(), "org_admin") as other:
            assert (await other.delete(path)).status_code == 404
        asked = await client.post(
            f"{path}/replay", json={"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}
        )
        replay = f"{path}/replays/{asked.json()['id']}"
        assert (await client.get(replay)).status_code == 200
        answer = await client.delete(path)
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await client.get(replay)).status_code == 404
        assert (await client.post(f"{replay}/cancel")).status_code == 404
        assert (await client.get(path)).status_code == 404
        assert (await client.delete(path)).status_code == 404
        assert (await client.patch(path, json={"events": ["*"]})).status_code == 404
        assert (await client.post(f"{path}/rotate-secret")).status_code == 404
        await publish(daemon, org, {})
        await daemon.stop()
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("role", ["publisher", "platform"])
async def test_only_org_admins_change_anything(tmp_path: Path, postgres_url: str, role: str) -> None:
    org = uuid4()
    async with running(tmp_path, postgres_url) as daemon, daemon.client(org, role) as client:
        made = await daemon.register(org, "http://127.0.0.1:1025/")
        path = f"/webhooks/{made['id']}"
        statuses = [
            (await client.patch(path, json={"is_active": False})).status_code,
            (await client.delete(path)).status_code,
            (await client.post(f"{path}/rotate-secret")).status_code,
        ]
        assert statuses == [403, 403, 403]
        assert (await client.get(path)).status_code == 200
        await daemon.stop()
