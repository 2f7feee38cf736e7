"""The commands as real processes, with an embedded Postgres of their own."""

# Covers daemon.cli.__main__, daemon.cli.dev_client, daemon.cli.dev_show, daemon.cli.migrate.

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from daemon.cli.dev_settings import free_bind
from daemon.config.sections.events import EventsConfig
from tests.support.forked import HOOKD

ORG = "018f6d1e-6a00-7000-8000-000000000001"
LINE = re.compile(r"(?P<time>\d\d:\d\d:\d\d\.\d{3})  (?P<verb>[a-z]+)(?: |$)")
COMMAND = [sys.executable, "-c", "from daemon.cli.main import main; main()"]
ENVIRON = HOOKD.environ()


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory that the account which runs Postgres for root can reach."""
    directory = Path(tempfile.mkdtemp(prefix="hookd-cli-", dir="/tmp"))
    directory.chmod(0o755)
    (directory / "dev").mkdir(mode=0o755)
    yield directory
    shutil.rmtree(directory)


def options(state: Path) -> list[str]:
    return ["--set", f"state.directory={state}", "--set", "api.bind=127.0.0.1:0"]


def test_dev_shows_every_event_delivered_and_verified_and_starts_clean_each_time(state: Path) -> None:
    for _ in range(2):
        command = [*COMMAND, "dev", "--exit", *options(state)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=ENVIRON)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert ended.stderr == ""
        assert "\x1b" not in ended.stdout
        lines = ended.stdout.splitlines()
        happened = [(match["verb"], line) for line in lines if (match := LINE.match(line))]
        verbs = [verb for verb, _ in happened]
        assert verbs[:3] == ["ready", "registered", "registered"]
        assert verbs.count("published") == 10
        assert verbs.count("delivered") == 10
        assert verbs.count("failed") == 2
        assert verbs.count("recovered") == 1
        assert verbs[-1] == "stopping"
        for event_type in EventsConfig().types:
            assert any(verb == "published" and event_type in line for verb, line in happened)
            assert any(
                verb == "delivered" and re.search(rf"{event_type} +…\w{{6}}  /inbox  verified \d+", line)
                for verb, line in happened
            )
        assert [line.partition("/flaky  ")[2] for verb, line in happened if verb == "failed"] == [
            "503, retry in ~1s",
            "503, retry in ~2s",
        ]
        assert all(len(line) <= 80 for _, line in happened)
        assert "  delivered  11 of 11" in lines
        assert "  verified   13 of 13 requests" in lines


def test_dev_goes_on_until_a_signal_its_curl_lines_work_and_a_second_one_leaves_it_alone(state: Path) -> None:
    command = [*COMMAND, "dev", *options(state)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRON
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stdout.readline().startswith("starting a Postgres of its own")
            second = subprocess.run(
                [*command, "--exit"], capture_output=True, text=True, timeout=60, check=False, env=ENVIRON
            )
            assert (second.returncode, second.stdout) == (1, "")
            assert second.stderr.startswith(f"hookd: another hookd dev runs in {state / 'dev'}: ")
            lines = (line for line in process.stdout if line.startswith("  curl "))
            published, tested = (post(next(lines)) for _ in range(2))
            assert published.status_code == 202
            assert (tested.status_code, tested.json()["conforms"]) == (200, True)
            for line in process.stdout:
                if line.split()[1:2] == ["published"] and "match.declined" in line:
                    break
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert process.wait(30) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
    assert "stopping" in rest
    assert re.search(r"published  \d+ events in ", rest)


def post(curl: str) -> httpx.Response:
    """Send what a curl line of the banner would."""
    found = re.search(r"curl (\S+) .* -d '(.*)' -H '(Authorization): (.*)'", curl)
    assert found is not None
    url, body, name, token = found.groups()
    headers = {name: token, "Content-Type": "application/json"}
    return httpx.post(url, content=body, headers=headers, trust_env=False, timeout=20)


def test_publish_works_while_no_daemon_runs_and_while_one_does_which_says_when_it_is_ready(
    state: Path,
) -> None:
    common = options(state)
    publish = ["publish", "--org", ORG, "--type", "match.proposed", *common]
    assert "is up to date" in run("migrate", *common)
    first = run(*publish).strip()
    with subprocess.Popen(
        [*COMMAND, "run", *common], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRON
    ) as process:
        assert process.stdout is not None
        try:
            ready = re.fullmatch(
                r"hookd \S+ is ready: (http://127\.0\.0\.1:\d+)\n", process.stdout.readline()
            )
            assert ready is not None
            token = run("token", "--org", ORG, "--role", "org_admin", *common).strip()
            headers = {"Authorization": f"Bearer {token}"}
            listed = httpx.get(f"{ready[1]}/webhooks/", headers=headers, trust_env=False, timeout=20)
            assert (listed.status_code, listed.json()["data"]) == (200, [])
            second = run(*publish).strip()
            assert len(first) == len(second) == 36
            assert first < second
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert process.stdout.read() == ""
        finally:
            process.kill()
            process.communicate(timeout=60)


def run(*words: str) -> str:
    ended = subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=120, check=False, env=ENVIRON
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_taken_port_is_exchanged_for_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        assert free_bind(bind) == "127.0.0.1:0"
    assert free_bind(bind) == bind
    assert free_bind("192.0.2.1:80") == "127.0.0.1:0"
    assert free_bind(f"unix:{os.devnull}") == "127.0.0.1:0"
