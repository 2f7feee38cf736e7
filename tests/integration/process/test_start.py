"""What stands in the way of a start is named, with the remedy, before anything is half done; and SIGHUP."""

# Covers daemon.process.application, daemon.process.startup, daemon.process.reload, daemon.process.systemd,
# daemon.process.garbage, daemon.process.rest_api, daemon.process.settings and daemon.process.url_rules.

import signal
import socket
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
import trio

from tests.support.daemon import Daemon, refused, running
from tests.support.publishing import rows
from tests.support.receiver import receiving


async def test_a_port_in_use(tmp_path: Path, postgres_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = await refused(tmp_path / "d", postgres_url, api__bind=f"127.0.0.1:{port}")
    assert status == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "Traceback" not in said


async def test_a_database_that_cannot_be_reached(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    status, said = await refused(tmp_path / "d", f"postgresql://hookd:geheim@127.0.0.1:{port}/x")
    assert status == 1
    assert f"127.0.0.1:{port}" in said
    assert "start Postgres, or correct url in [database] of config.toml" in said
    assert "geheim" not in said


async def test_a_newer_schema(tmp_path: Path, postgres_url: str) -> None:
    await rows(
        postgres_url, "insert into hookd.migration (number, name, checksum) values (9999, 'later', 'x')"
    )
    status, said = await refused(tmp_path / "d", postgres_url)
    assert status == 1
    assert "9999" in said
    assert "newer hookd" in said


async def test_mistakes_in_the_configuration_are_told_all_at_once(tmp_path: Path, postgres_url: str) -> None:
    status, said = await refused(
        tmp_path / "d", postgres_url, delivery__concurency=5, hosts__rate=-1, delivery__timeout="soon"
    )
    assert status == 2
    assert "delivery.concurrency" in said
    assert "hosts.rate" in said
    assert "delivery.timeout" in said


async def test_files_that_cannot_be_used_are_told_all_at_once(tmp_path: Path, postgres_url: str) -> None:
    secret = tmp_path / "open"
    secret.write_text("x" * 40)
    secret.chmod(0o644)
    missing = str(tmp_path / "none")
    status, said = await refused(
        tmp_path / "d", postgres_url, auth__secret_file=str(secret), egress__ca_file=missing
    )
    assert status == 2
    assert f"chmod 600 {secret}" in said
    assert f"egress.ca_file '{missing}' cannot be used" in said


async def test_another_master_key_on_a_database_without_subscriptions(
    tmp_path: Path, postgres_url: str
) -> None:
    async with running(tmp_path, postgres_url) as daemon:
        await daemon.stop()
    other = tmp_path / "other.key"
    other.write_text("/////////////////////////////////////////ws=\n".replace("w", "8")[:44])
    other.chmod(0o600)
    status, said = await refused(tmp_path / "d", postgres_url, signing__master_key_file=str(other))
    assert status == 1
    assert f"{other}: holds the master key " in said
    assert "this database's secrets are sealed with " in said
    assert "Traceback" not in said


async def test_no_master_key_is_made_where_one_is_missing(tmp_path: Path, postgres_url: str) -> None:
    directory = tmp_path / "d"
    async with running(directory, postgres_url, signing__master_key_file="") as daemon:
        state = daemon.log.parent
        await daemon.register(uuid4(), "http://127.0.0.1:9000/")
        await daemon.stop()
        (state / "master.key").rename(tmp_path / "elsewhere")
        with pytest.raises(AssertionError, match="there is no such file, and this database's secrets are"):
            await daemon.start()
        assert await daemon.ended(10) == 1
        assert not (state / "master.key").exists()
        (tmp_path / "elsewhere").rename(state / "master.key")
        await daemon.start()
        assert await daemon.stop() == 0


async def test_two_daemons_start_at_once_on_an_empty_database(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    async with trio.open_nursery() as nursery:
        for name in ("a", "b", "c"):
            nursery.start_soon(start_and_stop, tmp_path / name, empty_postgres_url)
    assert [tuple(row) for row in await rows(empty_postgres_url, "select count(*) from hookd.host")] == [(0,)]


async def start_and_stop(directory: Path, url: str) -> None:
    async with running(directory, url) as daemon:
        assert await daemon.stop() == 0


async def test_sighup_reloads_what_can_change_and_keeps_the_old_on_an_error(
    tmp_path: Path, postgres_url: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[hosts]\nrate = 20\n")
    async with receiving() as receiver, running(tmp_path, postgres_url) as daemon:
        await daemon.stop()
        daemon.config = config
        await daemon.start()
        assert daemon.process is not None
        await said(daemon, f"configuration: {config}")
        await daemon.register(uuid4(), receiver.url())
        assert (await rows(postgres_url, "select rate from hookd.host"))[0][0] == 20

        config.write_text("[hosts]\nrate = 30\n[database]\npool_size = 3\n")
        daemon.process.send_signal(signal.SIGHUP)
        await said(daemon, "reloaded: hosts.rate")
        await said(daemon, "need a restart: database.pool_size")
        assert (await rows(postgres_url, "select rate from hookd.host"))[0][0] == 30

        config.write_text("[hosts]\nrate = -30\n")
        daemon.process.send_signal(signal.SIGHUP)
        await said(daemon, "not reloaded:")

        config.write_text("[hosts]\nrate = 40\n[egress]\nca_file = '/none/ca.pem'\n")
        daemon.process.send_signal(signal.SIGHUP)
        await said(daemon, "egress.ca_file '/none/ca.pem' cannot be used")
        assert (await rows(postgres_url, "select rate from hookd.host"))[0][0] == 30
        assert await daemon.stop() == 0


async def test_sighup_tells_of_files_that_a_restart_would_read(tmp_path: Path, postgres_url: str) -> None:
    other = b64encode(b"x" * 32)
    async with running(tmp_path, postgres_url) as daemon:
        assert daemon.process is not None
        key = tmp_path / "master.key"
        old = key.read_bytes()
        key.write_bytes(other)
        daemon.process.send_signal(signal.SIGHUP)
        await said(daemon, f"not reloaded: {key}: holds the master key ")
        key.write_bytes(other + b"\n" + old)
        daemon.process.send_signal(signal.SIGHUP)
        await said(daemon, "to take effect, these need a restart: signing.master_key_file")
        assert await daemon.stop() == 0


async def said(daemon: Daemon, text: str) -> None:
    """Return when the daemon's log has the text; another process writes it."""
    with trio.fail_after(10):
        while text not in daemon.log.read_text():  # noqa: ASYNC110
            await trio.sleep(0.02)


async def test_systemd_is_told_when_it_is_ready_and_when_it_stops(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "20000000")
        async with running(tmp_path, postgres_url) as daemon:
            assert await daemon.stop() == 0
        manager.setblocking(False)
        told: list[str] = []
        with suppress(BlockingIOError):
            while True:
                told.append(manager.recv(4096).decode().splitlines()[0])
    assert told.count("WATCHDOG=1") >= 1
    assert [one for one in told if one != "WATCHDOG=1"] == ["READY=1", "STOPPING=1"]
