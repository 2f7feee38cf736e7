"""Deliveries by a real daemon through a proxy that is down at first."""

from pathlib import Path
from uuid import UUID, uuid4

import httpx
import trio

from tests.support.connect_proxy import connect_proxy
from tests.support.daemon import Daemon, running
from tests.support.egress_harness import unused_port
from tests.support.nameserver import nameserver, zone
from tests.support.receiver import receiving


async def proxy_check(daemon: Daemon) -> tuple[int, str, str]:
    """Return what readiness and the metric say of the proxy."""
    async with httpx.AsyncClient(base_url=daemon.address, trust_env=False) as client:
        ready = await client.get("/health/ready")
        metrics = (await client.get("/metrics")).text
    (said,) = [check.get("detail", "") for check in ready.json()["checks"] if check["name"] == "proxy"]
    (value,) = [line for line in metrics.splitlines() if line.startswith("hookd_egress_proxy_up ")]
    return ready.status_code, said, value.split()[1]


async def told_of_waiting(daemon: Daemon, org: UUID, subscription: str) -> str:
    """Return why its first delivery waits, once it does not wait for a sender."""
    path, waiting = f"/webhooks/{subscription}/deliveries", {"reason": "queue", "detail": ""}
    async with daemon.client(org) as client:
        owed = (await client.get(path, params={"status": "pending"})).json()["data"]
        with trio.fail_after(20):
            while waiting["reason"] in ("queue", "sending"):
                waiting = (await client.get(f"{path}/{owed[0]['delivery_id']}")).json()["waiting"]
    return waiting["detail"]


async def test_a_proxy_that_is_down_costs_no_attempt_and_all_goes_when_it_is_back(
    tmp_path: Path, postgres_url: str
) -> None:
    org, port = uuid4(), unused_port()
    async with (
        nameserver(zone({"hooks.test.": ["127.0.0.1"]})) as names,
        receiving() as receiver,
        running(
            tmp_path,
            postgres_url,
            egress__resolver=f"127.0.0.1:{names.port}",
            egress__proxy=f"http://127.0.0.1:{port}",
            delivery__retry_schedule=["1h"],
        ) as daemon,
    ):
        at = receiver.url("/").replace("127.0.0.1", "hooks.test")
        subscriptions = [await daemon.register(org, f"{at}{number}") for number in range(3)]
        async with daemon.client(org, "publisher") as client:
            answer = await client.post("/events", json={"type": "match.proposed", "data": 1})
            assert answer.status_code == 202
        await daemon.said("cannot be used: the proxy: connect_refused")
        status, said, up = await proxy_check(daemon)
        assert (status, said, up) == (
            200,
            "nothing goes through egress.proxy: the proxy: connect_refused",
            "0.0",
        )
        assert "its proxy does not work" in await told_of_waiting(daemon, org, subscriptions[0]["id"])
        async with connect_proxy(port=port) as proxy, daemon.client(org) as client:
            await receiver.until(lambda: len(receiver.requests) == 3, seconds=30)
            await daemon.said("works again")
            assert {target.partition(":")[0] for target in proxy.targets} == {"127.0.0.1"}
            for subscription in subscriptions:
                with trio.fail_after(20):
                    attempts: list[dict[str, object]] = []
                    while not attempts:
                        shown = await client.get(f"/webhooks/{subscription['id']}/deliveries")
                        attempts = shown.json()["data"]
                assert [(one["attempt"], one["status"], one["error"]) for one in attempts] == [
                    (1, "succeeded", None)
                ]
        assert (await proxy_check(daemon))[1:] == ("", "1.0")
        assert await daemon.stop() == 0
