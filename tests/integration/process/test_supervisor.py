"""`daemon.processes` above 1: several daemons behind one address, started, kept up and ended together."""

# Covers daemon.process.child and daemon.process.main.

import json
import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import trio

from daemon.config.bind import numbered_bind
from daemon.process.signals import SAME_SIGNAL
from tests.faults.test_kill import owed_nothing
from tests.support.daemon import Daemon, running
from tests.support.publishing import publish_many, rows
from tests.support.receiver import Received, Reply, hang, receiving

EVENTS = 800


def processes(daemon: Daemon) -> dict[int, int]:
    """Return the process id of each daemon, by its number, as the log tells."""
    return {int(n): int(pid) for n, pid in re.findall(r"process (\d+) runs as (\d+)", daemon.log.read_text())}


def lines(daemon: Daemon, text: str) -> list[dict[str, object]]:
    """Return the log's lines that have the text in their message."""
    parsed = [json.loads(line) for line in daemon.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in parsed if text in line["message"]]


async def metrics(address: str) -> dict[str, str]:
    """Return the value of each sample that a new connection is shown."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        text = (await client.get(f"{address}/metrics")).text
    return {name: value for name, _, value in (line.rpartition(" ") for line in text.splitlines())}


def number_in(shown: dict[str, str]) -> int:
    (info,) = (name for name in shown if name.startswith("hookd_build_info{"))
    return int(info.split('process="')[1].split('"')[0])


@asynccontextmanager
async def ends(*pids: int) -> AsyncIterator[None]:
    """After the block, return when the processes, whoever's children they are, have ended."""
    watched = [os.pidfd_open(pid) for pid in pids]
    try:
        yield
        with trio.fail_after(30):
            for one in watched:
                await trio.lowlevel.wait_readable(one)
    finally:
        for one in watched:
            os.close(one)


async def refused(daemon: Daemon) -> tuple[int, str]:
    """Start a daemon that must not become ready; return its exit status and what it said."""
    with pytest.raises(AssertionError, match="did not become ready"):
        await daemon.start()
    return await daemon.ended(30), daemon.log.read_text()


async def test_each_process_answers_on_the_one_address_once_the_line_has_come(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    async with running(tmp_path, empty_postgres_url, daemon__processes=3, as_program=True) as daemon:
        assert daemon.process is not None
        pids = processes(daemon)
        assert sorted(pids) == [1, 2, 3]
        assert len({*pids.values(), daemon.process.pid}) == 4
        # Ctrl-C goes to all that the terminal's session has in the foreground: to the parent alone.
        assert {os.getsid(pid) for pid in pids.values()}.isdisjoint({os.getsid(daemon.process.pid)})
        for number in pids:
            others = [pid for other, pid in pids.items() if other != number]
            for pid in others:
                os.kill(pid, signal.SIGSTOP)
            assert number_in(await metrics(daemon.address)) == number
            for pid in others:
                os.kill(pid, signal.SIGCONT)
        assert {line.get("process") for line in lines(daemon, "applied the migration")} == {1}
        assert await daemon.stop() == 0


async def test_a_unix_socket_is_shared_and_goes_with_the_parent(tmp_path: Path, postgres_url: str) -> None:
    path = tmp_path / "api.sock"
    settings = {"api.bind": f"unix:{path}", "metrics.bind": "127.0.0.1:0", "daemon.processes": 2}
    daemon = Daemon(tmp_path / "d", postgres_url, settings)
    with pytest.raises(AssertionError, match=f"ready: .*{path}"):  # it wants a URL with http://
        await daemon.start()
    # The line has come, so both have their metrics by now.
    assert [line["process"] for line in lines(daemon, "metrics are served on")] == [1, 2]
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as client:
        assert (await client.get("http://hookd/health/ready")).status_code == 200
    async with ends(*processes(daemon).values()):
        assert await daemon.stop() == 0
    assert not path.exists()


async def test_a_killed_process_is_started_again_and_everything_arrives(
    tmp_path: Path, postgres_url: str
) -> None:
    org = uuid4()
    async with (
        receiving(ports=4) as receiver,
        running(
            tmp_path,
            postgres_url,
            daemon__processes=2,
            delivery__timeout="1s",
            delivery__concurrency=32,
            hosts__rate=300,
            hosts__burst=50,
        ) as daemon,
    ):
        for port in range(4):
            await daemon.register(org, receiver.url(port=port))
        await publish_many(postgres_url, org, EVENTS // 4)
        before = processes(daemon)
        for number in (1, 2):
            goal = number * EVENTS // 3
            await receiver.until(lambda goal=goal: len(receiver.requests) >= goal, 60)  # type: ignore[misc]
            os.kill(before[number], signal.SIGKILL)
            await daemon.said(f"process {number} was ended by SIGKILL: another is started in 0.5 s")
            await daemon.said(f"process {number} runs as", 2)
        await receiver.until(
            lambda: len({(one.port, one.event_id) for one in receiver.requests}) == EVENTS, 120
        )
        await owed_nothing(postgres_url, 60)
        assert set(processes(daemon).values()).isdisjoint(before.values())
        assert await daemon.stop() == 0
    counted = await rows(postgres_url, "select count(*) from hookd.attempt where succeeded")
    assert counted[0][0] == EVENTS


async def test_nobody_outlives_a_killed_parent(tmp_path: Path, postgres_url: str) -> None:
    async with running(tmp_path, postgres_url, daemon__processes=2) as daemon:
        async with ends(*processes(daemon).values()):
            daemon.kill()
            await daemon.ended()
        stopping = lines(daemon, "stopping, as the supervisor wants it or has ended")
        assert {line["process"] for line in stopping} == {1, 2}
        await daemon.start()
        assert await daemon.stop() == 0


async def test_sigterm_under_load_loses_nothing_and_repeats_nothing(
    tmp_path: Path, postgres_url: str
) -> None:
    async def answer(request: Received) -> Reply:
        await trio.sleep(0.05)
        return Reply()

    org = uuid4()
    async with (
        receiving(answer, ports=4) as receiver,
        running(tmp_path, postgres_url, daemon__processes=2, daemon__stop_timeout="20s") as daemon,
    ):
        for port in range(4):
            await daemon.register(org, receiver.url(port=port))
        await publish_many(postgres_url, org, EVENTS // 4)
        await receiver.until(lambda: len(receiver.requests) >= EVENTS // 4, 60)
        async with ends(*processes(daemon).values()):
            assert await daemon.stop() == 0
        sent = len(receiver.requests)
        written = await rows(postgres_url, "select count(*) from hookd.attempt where succeeded")
        leased = await rows(postgres_url, "select count(*) from hookd.delivery where lease is not null")
        assert (written[0][0], leased[0][0]) == (sent, 0)
        assert "killed" not in daemon.log.read_text()
        await daemon.start()
        await receiver.until(lambda: len(receiver.requests) >= EVENTS, 120)
        await owed_nothing(postgres_url, 30)
        assert await daemon.stop() == 0
    assert set(Counter((one.port, one.event_id) for one in receiver.requests).values()) == {1}


async def test_a_second_signal_ends_all_at_once(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with (
        receiving(hang) as receiver,
        running(
            tmp_path,
            postgres_url,
            daemon__processes=2,
            daemon__stop_timeout="1h",
            delivery__timeout="10m",
        ) as daemon,
    ):
        await daemon.register(org, receiver.url())
        await publish_many(postgres_url, org, 1)
        await receiver.until(lambda: len(receiver.requests) >= 1, 20)
        assert daemon.process is not None
        async with ends(*processes(daemon).values()):
            daemon.process.terminate()
            await daemon.said("SIGTERM: stopping")
            await trio.sleep(2 * SAME_SIGNAL)  # a second one within that time is the first one again
            assert await daemon.stop() == 1


async def test_sighup_reaches_all(tmp_path: Path, postgres_url: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[hosts]\nrate = 20\n")
    settings = {"daemon.processes": 2}
    daemon = Daemon(tmp_path / "d", postgres_url, settings)
    daemon.config = config
    await daemon.start()
    assert daemon.process is not None
    config.write_text("[hosts]\nrate = 30\n[database]\npool_size = 3\n")
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.said("reloaded: hosts.rate", 2)
    await daemon.said("need a restart: database.pool_size", 2)
    assert {line["process"] for line in lines(daemon, "reloaded: hosts.rate")} == {1, 2}
    assert await daemon.stop() == 0


async def test_what_stops_the_first_process_stops_the_start_and_is_said_once(
    tmp_path: Path, postgres_url: str
) -> None:
    await rows(
        postgres_url, "insert into hookd.migration (number, name, checksum) values (9999, 'later', 'x')"
    )
    status, said = await refused(Daemon(tmp_path / "d", postgres_url, {"daemon.processes": 3}))
    assert status == 1
    assert said.count("newer hookd") == 1
    assert "process 1 ended with exit status 1 before it was ready: stopping" in said
    assert "Traceback" not in said


async def test_what_stops_a_later_process_ends_those_that_run(tmp_path: Path, postgres_url: str) -> None:
    taken = tmp_path / "m.sock.2"
    taken.touch()
    settings = {"daemon.processes": 2, "metrics.bind": f"unix:{tmp_path}/m.sock"}
    daemon = Daemon(tmp_path / "d", postgres_url, settings)
    status, said = await refused(daemon)
    assert status == 1
    assert f"cannot listen on unix:{taken}: a file is there; move it" in said
    assert not (tmp_path / "m.sock").exists()
    assert "process 2 ended with exit status 1 before it was ready: stopping" in said
    for pid in processes(daemon).values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_port_in_use_is_told_by_the_parent(tmp_path: Path, postgres_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {"daemon.processes": 2, "api.bind": f"127.0.0.1:{port}"}
        daemon = Daemon(tmp_path / "d", postgres_url, settings)
        status, said = await refused(daemon)
    assert status == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert processes(daemon) == {}


async def test_a_hosts_limits_hold_across_the_processes(tmp_path: Path, postgres_url: str) -> None:
    rate, burst, max_in_flight, events = 20, 5, 6, 0

    async def answer(request: Received) -> Reply:
        await trio.sleep(0.25)
        return Reply()

    def all_came() -> bool:
        return len(receiver.requests) >= events

    org = uuid4()
    async with (
        receiving(answer) as receiver,
        running(
            tmp_path,
            postgres_url,
            daemon__processes=2,
            metrics__bind="127.0.0.1:0",
            # One alone reaches neither limit, and both together could pass both.
            delivery__concurrency=4,
            delivery__unanswered_share=1,
            hosts__rate=rate,
            hosts__burst=burst,
            hosts__in_flight=max_in_flight,
        ) as daemon,
    ):
        await daemon.register(org, receiver.url())
        begin = time.monotonic()
        made = [0.0]
        while not min(made) and events < 500:  # by chance one may have all of a hundred
            await publish_many(postgres_url, org, 100)
            events += 100
            await receiver.until(all_came, 60)
            made = []
            for line in lines(daemon, "metrics are served on"):
                shown = await metrics(f"http://{str(line['message']).rpartition(' ')[2]}")
                assert number_in(shown) == line["process"]
                made.append(float(shown['hookd_attempts_total{outcome="succeeded",status_class="2xx"}']))
        took = receiver.requests[-1].at - begin
        assert await daemon.stop() == 0
    print(f"\n{events} in {took:.2f} s, by process {made}, at most {receiver.most_in_flight} in flight")
    assert min(made) > 0
    assert receiver.most_in_flight <= max_in_flight
    assert took >= (events - burst) / rate * 0.95


async def test_systemd_hears_from_the_parent_while_each_process_shows_life(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")

        def told() -> list[str]:
            messages: list[str] = []
            with suppress(BlockingIOError):
                while True:
                    messages.append(manager.recv(4096).decode().splitlines()[0])
            return messages

        async with running(tmp_path, postgres_url, daemon__processes=2) as daemon:
            before = told()
            assert before.count("READY=1") == 1
            assert "WATCHDOG=1" in before
            hung = processes(daemon)[2]
            os.kill(hung, signal.SIGSTOP)
            await daemon.said("process 2 shows no life")
            told()
            await daemon.said("process 2 shows no life", 2)
            assert told() == []
            os.kill(hung, signal.SIGCONT)
            with trio.fail_after(30):
                await trio.lowlevel.wait_readable(manager)
            assert await daemon.stop() == 0
        assert [one for one in told() if one != "WATCHDOG=1"] == ["STOPPING=1"]


@pytest.mark.parametrize(
    "text, number, expected",
    [
        ("127.0.0.1:9100", 1, "127.0.0.1:9100"),
        ("127.0.0.1:9100", 3, "127.0.0.1:9102"),
        ("[::1]:9100", 2, "[::1]:9101"),
        ("127.0.0.1:0", 2, "127.0.0.1:0"),
        ("unix:/run/hookd/metrics.sock", 1, "unix:/run/hookd/metrics.sock"),
        ("unix:/run/hookd/metrics.sock", 2, "unix:/run/hookd/metrics.sock.2"),
    ],
)
def test_each_process_has_metrics_of_its_own(text: str, number: int, expected: str) -> None:
    assert numbered_bind(text, number) == expected
