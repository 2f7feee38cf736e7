"""GET /metrics of a real daemon: its numbers are those of the history, and no outage breaks a scrape."""

# Covers daemon.process.embedded, daemon.process.version.

import signal
import socket
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from daemon.store.embedded import Embedded
from tests.support.daemon import Daemon, running
from tests.support.postgres import FAST, reachable_directory
from tests.support.publishing import publish_many, rows
from tests.support.receiver import Received, Reply, receiving


async def scrape(address: str, accept: str = "") -> dict[str, float]:
    """Return every sample by its name and labels."""
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=10) as client:
        answer = await client.get("/metrics", headers={"accept": accept} if accept else {})
    assert answer.status_code == 200, answer.text
    kind = answer.headers["content-type"]
    assert kind.startswith("application/openmetrics-text" if accept else "text/plain; version=0.0.4"), kind
    parse = parse_openmetrics if accept else parse_text
    return {
        sample.name
        + "".join(f",{name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in parse(answer.text)
        for sample in family.samples
    }


async def test_numbers_are_those_of_the_history(tmp_path: Path, postgres_url: str) -> None:
    async def answer(request: Received) -> Reply:
        return Reply({"/good": 204, "/bad": 500, "/gone": 410}[request.path])

    org = uuid4()
    async with (
        receiving(answer) as receiver,
        running(tmp_path, postgres_url, delivery__retry_schedule=["10ms", "20ms"]) as daemon,
    ):
        for path, event_type in (
            ("/good", "match.proposed"),
            ("/bad", "match.accepted"),
            ("/gone", "match.declined"),
        ):
            await daemon.register(org, receiver.url(path), [event_type])
        await publish_many(postgres_url, org, 40, "match.proposed")
        await publish_many(postgres_url, org, 5, "match.accepted")
        await publish_many(postgres_url, org, 1, "match.declined")
        await shows(daemon, "hookd_deliveries_total,outcome=given_up", 6)
        await shows(daemon, "hookd_deliveries_total,outcome=succeeded", 40)
        seen = await shows(daemon, "hookd_queue_due", 0)  # it is looked at every few seconds
        history = await rows(
            postgres_url,
            "select succeeded, response_status / 100 as class, count(*) as n, sum(duration_ms) as ms,"
            " count(*) filter (where attempt = 1) as first from hookd.attempt group by 1, 2",
        )
        expected = {
            f"hookd_attempts_total,outcome={'succeeded' if row['succeeded'] else 'failed'}"
            f",status_class={row['class']}xx": row["n"]
            for row in history
        }
        assert expected == {
            "hookd_attempts_total,outcome=succeeded,status_class=2xx": 40,
            "hookd_attempts_total,outcome=failed,status_class=5xx": 15,
            "hookd_attempts_total,outcome=failed,status_class=4xx": 1,
        }
        assert expected.items() <= seen.items()
        assert seen["hookd_attempt_errors_total,error=status_5xx"] == 15
        assert seen["hookd_attempt_duration_seconds_count"] == 56
        assert seen["hookd_attempt_duration_seconds_sum"] * 1000 == pytest.approx(
            sum(row["ms"] for row in history), rel=0.001
        )
        assert seen["hookd_delivery_latency_seconds_count"] == sum(row["first"] for row in history) == 46
        assert seen["hookd_deliveries_total,outcome=succeeded"] == 40
        assert seen["hookd_deliveries_total,outcome=given_up"] == 6
        assert seen["hookd_deliveries_given_up_total,reason=exhausted"] == 5
        assert seen["hookd_deliveries_given_up_total,reason=gone"] == 1
        assert seen["hookd_api_requests_total,method=POST,route=/webhooks,status=201"] == 3
        assert seen["hookd_in_flight"] == 0
        assert seen["hookd_queue_due"] == 0
        assert seen["hookd_database_up"] == 1
        assert seen["hookd_claim_duration_seconds_count"] > 0
        assert seen["hookd_record_duration_seconds_count"] > 0
        weeks = seen["hookd_partitions_ahead_seconds"] / (7 * 86400)
        assert 7 < weeks < 10
        assert [key for key in seen if key.startswith("hookd_build_info,") and "version=" in key]
        again = await scrape(daemon.address, "application/openmetrics-text;version=1.0.0")
        assert expected.items() <= again.items()
        assert again["hookd_api_requests_total,method=GET,route=/metrics,status=200"] > 2
        text = "\n".join(seen)
        assert str(org) not in text
        assert f":{receiver.ports[0]}" not in text


async def test_refusals_throttling_and_reloads_are_counted(tmp_path: Path, postgres_url: str) -> None:
    async def answer(request: Received) -> Reply:
        return Reply(429, {"retry-after": "1000"})

    org = uuid4()
    config = tmp_path / "config.toml"
    config.write_text("")
    async with receiving(answer) as receiver, running(tmp_path, postgres_url) as daemon:
        await daemon.stop()
        daemon.config = config
        await daemon.start()
        assert daemon.process is not None
        async with daemon.client(org, "org_admin") as client:
            for url in ("http://10.0.0.1/", "http://169.254.169.254/", "ftp://example.com/"):
                refused = await client.post("/webhooks/", json={"url": url, "events": ["match.proposed"]})
                assert refused.status_code == 422, refused.text
            assert (await client.get(f"/nowhere/{org}")).status_code == 404
            assert (await client.request("BREW", "/webhooks")).status_code == 405
        huge = f"[{'9' * 400}.5]"
        await rows(postgres_url, "select hookd.publish($1, 'match.proposed', $2::jsonb)", org, huge)
        await shows(daemon, "hookd_events_unrepresentable_total", 1)
        await daemon.register(org, receiver.url())
        await publish_many(postgres_url, org, 3)
        seen = await shows(daemon, "hookd_host_throttled_total,reason=retry_after", 1)
        refusals = {key: value for key, value in seen.items() if key.startswith("hookd_egress_refused_total")}
        assert refusals == {
            "hookd_egress_refused_total,rule=private": 1,
            "hookd_egress_refused_total,rule=cloud_metadata": 1,
            "hookd_egress_refused_total,rule=scheme": 1,
        }
        assert seen["hookd_api_requests_total,method=GET,route=unmatched,status=404"] == 1
        assert not [key for key in seen if "BREW" in key or str(org) in key]

        config.write_text("[hosts]\nrate = -1\n")
        daemon.process.send_signal(signal.SIGHUP)
        await shows(daemon, "hookd_config_last_reload_successful", 0)
        config.write_text("")
        daemon.process.send_signal(signal.SIGHUP)
        await shows(daemon, "hookd_config_last_reload_successful", 1)


async def shows(daemon: Daemon, name: str, wanted: int) -> dict[str, float]:
    """Return what is scraped once the metric has the value; the daemon is another process."""
    with trio.fail_after(30):
        while True:
            seen = await scrape(daemon.address)
            if seen[name] == wanted:
                return seen
            await trio.sleep(0.05)


async def test_an_outage_of_postgres_breaks_no_scrape(tmp_path: Path) -> None:
    with reachable_directory() as directory:
        server = Embedded(directory, FAST)
        async with receiving() as receiver, running(tmp_path, server.url) as daemon:
            org = uuid4()
            await daemon.register(org, receiver.url())
            await publish_many(server.url, org, 3)
            await receiver.until(lambda: len(receiver.requests) == 3, 20)
            assert (await scrape(daemon.address))["hookd_database_up"] == 1
            await trio.to_thread.run_sync(server.close)
            seen = await shows(daemon, "hookd_database_up", 0)
            assert "hookd_queue_due" not in seen
            assert seen["hookd_attempts_total,outcome=succeeded,status_class=2xx"] == 3
            server = Embedded(directory, FAST)
            seen = await shows(daemon, "hookd_database_up", 1)
            assert seen["hookd_queue_due"] == 0
        server.close()


async def test_an_address_of_their_own_has_the_metrics_and_nothing_else(
    tmp_path: Path, postgres_url: str
) -> None:
    path = tmp_path / "metrics.socket"
    async with running(tmp_path, postgres_url, metrics__bind=f"unix:{path}") as daemon:
        async with httpx.AsyncClient(base_url=daemon.address, trust_env=False) as client:
            assert (await client.get("/metrics")).status_code == 404
            assert (await client.get("/health/live")).status_code == 200
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://metrics") as client:
            answer = await client.get("/metrics")
            assert answer.status_code == 200
            assert "hookd_build_info{" in answer.text
            lost = await client.get("/webhooks")
            assert lost.status_code == 404
            assert lost.headers["content-type"] == "application/problem+json"
            assert (await client.post("/metrics")).status_code == 405
            head = await client.head("/metrics")
            assert (head.status_code, head.content) == (200, b"")
        assert await daemon.stop() == 0
    assert not path.exists()


async def test_an_address_for_metrics_that_is_taken_is_named(tmp_path: Path, postgres_url: str) -> None:
    api = tmp_path / "api"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        daemon = Daemon(tmp_path / "d", postgres_url, {"metrics.bind": bind, "api.bind": f"unix:{api}"})
        with pytest.raises(AssertionError, match="did not become ready"):
            await daemon.start()
        assert await daemon.ended(10) == 1
    assert "set another port in metrics.bind" in daemon.log.read_text()
    assert not api.exists()
