"""The commands of the tutorial are run as they stand, and end as it says."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import trio

from tests.support.daemon import Daemon, running
from tests.support.publishing import until_rows
from tools.check_readme import blocks

TUTORIAL = Path(__file__).parents[2] / "docs/tutorial.md"
BY_OTHERS = ("make run", "hookd --set", ". .venv/bin/activate")
"""What the test has done before: the whole in one command, the daemon, and the way to its program."""
RECEIVER = "python -u receiver.py"


def commands() -> Iterator[str]:
    """Yield what the tutorial's reader types, with the lines that go on."""
    for block in blocks(TUTORIAL.read_text()):
        if block.language == "console":
            yield from "\n".join(["", *block.lines]).split("\n$ ")[1:]


def program() -> str:
    """Return the receiver that the tutorial's reader writes."""
    (found,) = (block for block in blocks(TUTORIAL.read_text()) if block.language == "python")
    return "\n".join(found.lines)


def scripts() -> tuple[str, str]:
    """Return what is typed until nothing listens where the events go, and what is typed from then on."""
    typed = [one for one in commands() if not one.startswith(BY_OTHERS)]
    at = typed.index(RECEIVER)
    return "\necho\n".join(typed[:at]), "\necho\n".join(typed[at + 1 :])


def environment(daemon: Daemon, database_url: str) -> dict[str, str]:
    """Return what leads the tutorial's commands to this daemon, instead of to the usual places."""
    state = daemon.log.parent
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOOKD_DATABASE__URL": database_url,
        "HOOKD_STATE__DIRECTORY": str(state),
        "HOOKD_AUTH__SECRET_FILE": str(state / "token.secret"),
        "HOOKD_SIGNING__MASTER_KEY_FILE": str(state.parent / "master.key"),
        "no_proxy": "127.0.0.1",
    }


async def test_the_tutorial_ends_as_it_says(postgres_url: str, tmp_path: Path) -> None:
    port = await free_port()
    async with running(tmp_path, postgres_url, delivery__retry_schedule=["1s"] * 9) as daemon:
        there = partial(here, address=daemon.address, port=port)
        (tmp_path / "receiver.py").write_text(there(program()))
        shell = partial(typed, directory=tmp_path, environment=environment(daemon, postgres_url))
        before, after = scripts()
        hook, published, in_sql, pending = await shell(f"{there(before)}\nexport -p > exported")
        await daemon.said("connect_refused")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shell, f". ./exported\nexec {RECEIVER} > received")
            await until_rows(
                postgres_url, "select count(*) from hookd.attempt where succeeded", 2, seconds=60
            )
            nursery.cancel_scope.cancel()
        page, delivery = await shell(f". ./exported\n{there(after)}")
    received = (tmp_path / "received").read_text().splitlines()
    ids = {json.loads(published)["id"], in_sql}
    waiting = {one["event_id"] for one in json.loads(pending)["data"]}
    assert json.loads(published)["id"] in waiting <= ids  # the other one may not be routed yet
    assert {line.split()[0] for line in received} == ids
    assert {line.split("match.proposed ")[1] for line in received} == {"{'candidate': 7}", "{'candidate': 8}"}
    assert json.loads(page)["data"][0]["status"] == "succeeded"
    assert json.loads(delivery)["status"] == "succeeded"
    assert json.loads(delivery)["subscription_id"] == json.loads(hook)["id"]


async def typed(script: str, *, directory: Path, environment: Mapping[str, str]) -> list[str]:
    """Run what a reader types, and return the lines that are printed."""
    with trio.fail_after(60):
        done = await trio.run_process(
            ["bash", "-e", "-c", script], cwd=directory, env=environment, capture_stdout=True
        )
    return [line for line in done.stdout.decode().splitlines() if line]


def here(text: str, *, address: str, port: int) -> str:
    """Return a text of the tutorial with the places of this test."""
    return text.replace("http://127.0.0.1:8080", address).replace("9000", str(port))


async def free_port() -> int:
    """Return a port on which nothing listens."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port: int = listener.socket.getsockname()[1]
        return port
