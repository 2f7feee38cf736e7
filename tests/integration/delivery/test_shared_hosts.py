"""Hosts that many organisations send to: what one of them chooses must not cost the others."""

import ssl
from pathlib import Path
from uuid import uuid4

import trio
import trustme

from tests.support.daemon import Daemon, running
from tests.support.egress_harness import OK, read_request, receiver
from tests.support.publishing import rows

HANDSHAKE = 0.3
"""Seconds that the host takes for it: more than the impatient give it, less than the operator does."""


async def register(daemon: Daemon, url: str, **more: object) -> None:
    async with daemon.client(uuid4(), "org_admin", "publisher") as client:
        answer = await client.post("/webhooks/", json={"url": url, "events": ["*"], **more})
        assert answer.status_code == 201, answer.text
        answer = await client.post("/events", json={"type": "match.proposed", "data": {}})
        assert answer.status_code == 202, answer.text


async def attempts(url: str, count: int) -> list[str | None]:
    """Return the errors of attempts, once there are so many; another process makes them."""
    found: list[str | None] = []
    with trio.fail_after(30):
        while len(found) < count:
            found = [one["error"] for one in await rows(url, "select error from hookd.attempt")]
            await trio.sleep(0.05)
    return found


async def test_the_impatient_open_no_circuit(tmp_path: Path, postgres_url: str) -> None:
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def slowly(stream: trio.SocketStream) -> None:
        await trio.sleep(HANDSHAKE)
        encrypted = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        while await read_request(encrypted):
            await encrypted.send_all(OK)

    settings = {"egress__ca_file": str(bundle), "delivery__retry_schedule": ["1h"]}
    async with (
        receiver(slowly) as port,
        running(tmp_path, postgres_url, **settings) as daemon,
    ):
        host = f"https://127.0.0.1:{port}"
        for number in range(8):
            await register(daemon, f"{host}/{number}", timeout=0.1)
        assert set(await attempts(postgres_url, 8)) == {"tls_timeout"}
        await register(daemon, f"{host}/patient")
        assert None in await attempts(postgres_url, 9)
        [(failures, trips)] = await rows(
            postgres_url, "select circuit_failures, circuit_trips from hookd.host"
        )
        assert (failures, trips) == (0, 0)
        assert await daemon.stop() == 0
    assert "several times in a row" not in daemon.log.read_text()


async def test_a_wrong_scheme_harms_only_those_who_use_it(tmp_path: Path, postgres_url: str) -> None:
    async def plain(stream: trio.SocketStream) -> None:
        while b"POST" in await stream.receive_some(65536):
            await stream.send_all(OK)

    settings: dict[str, object] = {"delivery__retry_schedule": ["1h"]}
    async with receiver(plain) as port, running(tmp_path, postgres_url, **settings) as daemon:
        for _ in range(8):
            await register(daemon, f"https://127.0.0.1:{port}/")
        assert set(await attempts(postgres_url, 5)) == {"tls_failed"}
        await register(daemon, f"http://127.0.0.1:{port}/")
        with trio.fail_after(30):
            while None not in await attempts(postgres_url, 6):
                pass
        assert await daemon.stop() == 0
    open_circuits = "select name from hookd.host where circuit_failures >= 5"
    assert [one["name"] for one in await rows(postgres_url, open_circuits)] == [f"https://127.0.0.1:{port}"]
