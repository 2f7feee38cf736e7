"""Tests of receivers by a real daemon on a real Postgres: nothing of them stays behind."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import trio
import trustme

from tests.support.daemon import Daemon, running
from tests.support.egress_harness import OK, read_request, receiver, unused_port
from tests.support.publishing import rows
from tests.support.receiver import Received, Reply, hang, receiving
from tests.support.verifying import Verifying

# Everything that a delivery would leave a trace in.
TRACES = """
select jsonb_build_object(
    'hosts', (select jsonb_agg(to_jsonb(h) - '{tokens,refilled_at}'::text[] order by h.id) from hookd.host h),
    'lanes', (select jsonb_agg(to_jsonb(l) order by l.subscription_id) from hookd.lane l),
    'subscriptions', (select jsonb_agg(to_jsonb(s) order by s.id) from hookd.subscription s),
    'attempts', (select count(*) from hookd.attempt),
    'deliveries', (select count(*) from hookd.delivery),
    'events', (select count(*) from hookd.event),
    'inbox', (select count(*) from hookd.inbox))::text
"""


async def traces(url: str) -> str:
    return str((await rows(url, TRACES))[0][0])


async def tell(daemon: Daemon, org: UUID, subscription: dict[str, Any], **body: Any) -> dict[str, Any]:
    async with daemon.client(org, "org_admin") as client:
        answer = await client.post(f"/webhooks/{subscription['id']}/test", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_tests_leave_no_trace_whatever_they_meet(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    behaviour = Verifying()

    async def fail(request: Received) -> Reply:
        return Reply(410 if request.path == "/gone" else 503, {"Retry-After": "60"})

    async with (
        receiving(behaviour) as good,
        receiving(fail) as bad,
        running(tmp_path, postgres_url, delivery__timeout="2s") as daemon,
    ):
        well = await daemon.register(org, good.url())
        behaviour.secret = well["secret"]
        failing = [await daemon.register(org, url) for url in (bad.url("/gone"), bad.url("/busy"))]
        closed = await daemon.register(org, f"http://127.0.0.1:{unused_port()}/")
        before = await traces(postgres_url)
        told = await tell(daemon, org, well, conformance=True)
        assert (told["delivered"], told["conforms"]) == (True, True)
        assert behaviour.handled == [told["event_id"]]
        for subscription, status in zip(failing, (410, 503), strict=True):
            told = await tell(daemon, org, subscription, conformance=True)
            assert (told["response_status"], told["conforms"]) == (status, False)
        for _ in range(2):  # ten failed connections: twice what opens a circuit
            told = await tell(daemon, org, closed, conformance=True)
            assert (told["delivered"], told["error"]) == (False, "connect_refused")
        assert await traces(postgres_url) == before
        async with daemon.client(org) as client:
            shown = (await client.get("/webhooks")).json()["data"]
        assert [(one["is_active"], one["failure_count"]) for one in shown] == [(True, 0)] * 4
        assert await daemon.stop() == 0
    assert await traces(postgres_url) == before
    assert "Traceback" not in daemon.log.read_text()


async def test_tests_in_a_loop_keep_to_the_hosts_rate(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    settings: dict[str, object] = {"hosts__rate": 0.01, "hosts__burst": 12}
    async with receiving() as good, running(tmp_path, postgres_url, **settings) as daemon:
        subscription = await daemon.register(org, good.url())
        path = f"/webhooks/{subscription['id']}/test"
        async with daemon.client(org, "org_admin") as client:
            answers = [await client.post(path, json={"conformance": True}) for _ in range(6)]
            answers += [await client.post(path) for _ in range(4)]
        await daemon.stop()
    assert [one.status_code for one in answers] == [200] * 2 + [429] * 4 + [200] * 2 + [429] * 2
    assert len(good.requests) == 12
    refused = answers[-1]
    assert 90 <= int(refused.headers["retry-after"]) <= 100
    assert refused.json()["type"].endswith("too-many-tests")
    host = good.url().rstrip("/")
    assert f"The rate of {host} (0.01 requests a second" in refused.json()["detail"]


async def test_an_inactive_subscription_can_be_tested(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    behaviour = Verifying()
    async with receiving(behaviour) as good, running(tmp_path, postgres_url) as daemon:
        subscription = await daemon.register(org, good.url())
        behaviour.secret = subscription["secret"]
        await rows(postgres_url, "select hookd.set_active($1, false, 'paused')", UUID(subscription["id"]))
        assert (await tell(daemon, org, subscription))["delivered"] is True
        async with daemon.client(org) as client:
            shown = (await client.get(f"/webhooks/{subscription['id']}")).json()
        assert shown["is_active"] is False


async def test_a_url_that_the_rules_refuse_now_is_an_outcome(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with receiving() as good:
        async with running(tmp_path, postgres_url) as daemon:
            subscription = await daemon.register(org, good.url())
            await daemon.stop()
        async with running(tmp_path, postgres_url, egress__allow_networks=[]) as daemon:
            told = await tell(daemon, org, subscription, conformance=True)
            assert (told["delivered"], told["error"]) == (False, "address_forbidden")
            assert "loopback" not in told["error_detail"]
            assert "rule loopback" in daemon.log.read_text()
            assert {one["error"] for one in told["conformance"]} == {"address_forbidden"}
            await daemon.stop()
        async with running(tmp_path, postgres_url, egress__https_only=True) as daemon:
            told = await tell(daemon, org, subscription)
            assert (told["delivered"], told["error"]) == (False, "scheme_forbidden")
            assert (told["request"], told["curl"]) == (None, None)
            await daemon.stop()
    assert good.requests == []


@asynccontextmanager
async def tls_receiver(certificate: trustme.LeafCert) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    async def serve(stream: trio.SocketStream) -> None:
        encrypted = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        while await read_request(encrypted):
            await encrypted.send_all(OK)

    async with receiver(serve) as port:
        yield port


async def test_certificates_are_checked_and_tls_is_timed(tmp_path: Path, postgres_url: str) -> None:
    org, authority = uuid4(), trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    async with (
        tls_receiver(authority.issue_cert("127.0.0.1")) as good,
        tls_receiver(authority.issue_cert("other.example")) as other,
        tls_receiver(trustme.CA().issue_cert("127.0.0.1")) as unknown,
        running(tmp_path, postgres_url, egress__ca_file=str(bundle)) as daemon,
    ):
        for _ in range(2):  # the second time, no connection or session of the first is used again
            told = await tell(daemon, org, await daemon.register(org, f"https://127.0.0.1:{good}/"))
            assert (told["delivered"], told["response_excerpt"]) == (True, "ok")
            assert all(told["phases"][name] is not None for name in ("dns_ms", "connect_ms", "tls_ms"))
        for port in (other, unknown):
            told = await tell(daemon, org, await daemon.register(org, f"https://127.0.0.1:{port}/"))
            assert (told["delivered"], told["error"]) == (False, "tls_failed")
            assert "certificate" in told["error_detail"].lower()
            assert (told["phases"]["tls_ms"], told["phases"]["connect_ms"] is None) == (None, False)
        await daemon.stop()


async def test_a_test_under_way_does_not_hold_up_the_stop(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    settings = {"delivery__timeout": "5m", "api__drain_timeout": "300ms"}
    async with receiving(hang) as hung, running(tmp_path, postgres_url, **settings) as daemon:
        subscription = await daemon.register(org, hung.url())

        async def ask() -> None:
            with suppress(httpx.HTTPError):
                async with daemon.client(org, "org_admin") as client:
                    await client.post(f"/webhooks/{subscription['id']}/test")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await hung.until(lambda: hung.in_flight == 1, 10)
            assert await daemon.stop(20) == 0
            nursery.cancel_scope.cancel()
    assert "Traceback" not in daemon.log.read_text()
