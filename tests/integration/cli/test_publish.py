# Covers daemon.cli.database, daemon.cli.settings.

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import trio

from daemon.cli.database import command_database
from daemon.cli.failure import CommandError, explained
from daemon.cli.main import invoke
from daemon.config.model import Config
from daemon.store.failure import RetryTransaction
from tests.support.postgres import with_database

ORG = "018f6d1e-6a00-7000-8000-000000000001"


@dataclass
class Result:
    code: int
    out: list[str]
    err: str


@dataclass
class Hookd:
    """Commands against one database."""

    settings: list[str]
    url: str
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Result:
        code = invoke([*words, *self.settings])
        output = self.capsys.readouterr()
        return Result(code, output.out.splitlines(), output.err)

    def publish(self, *words: str) -> Result:
        return self("publish", "--org", ORG, *words)

    def rows(self, statement: str) -> list[Any]:
        async def fetch() -> list[Any]:
            connection = await asyncpg.connect(self.url)
            try:
                return [tuple(row) for row in await connection.fetch(statement)]
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def bodies(self) -> list[Any]:
        return [json.loads(body) for (body,) in self.rows("select body from hookd.event order by id")]


@pytest.fixture
def hookd_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Hookd]:
    def make(url: str) -> Hookd:
        config = tmp_path / "config.toml"
        config.write_text(f"[api]\nmax_batch = 3\nmax_body = '2KiB'\n[state]\ndirectory = '{tmp_path}'\n")
        return Hookd(["--config", str(config), "--set", f"database.url={url}"], url, capsys)

    return make


@pytest.fixture
def hookd(hookd_at: Callable[[str], Hookd], postgres_url: str) -> Hookd:
    return hookd_at(postgres_url)


@pytest.fixture
def unmigrated(hookd_at: Callable[[str], Hookd], empty_postgres_url: str) -> Hookd:
    return hookd_at(empty_postgres_url)


def lines(*events: object) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def test_migrate_says_what_it_did_and_then_that_nothing_was_to_do(unmigrated: Hookd) -> None:
    first = unmigrated("migrate")
    assert first.code == 0
    assert f"configuration: {unmigrated.settings[1]}\n" in first.err
    assert first.out[0] == "applied the migration 0001_tables"
    assert "renewed the functions" in first.out
    assert first.out[-1].startswith("the schema hookd is up to date, at migration ")
    second = unmigrated("migrate", "--json")
    document = json.loads("".join(second.out))
    assert document.pop("version") >= 1
    assert document == {
        "schema": "hookd",
        "applied": [],
        "functions_renewed": False,
        "partitions_made": [],
        "filter_problems": {"count": 0, "first": {}},
    }


def test_after_migrate_events_can_be_published(unmigrated: Hookd) -> None:
    before = unmigrated.publish("--type", "match.proposed")
    assert (before.code, before.out) == (1, [])
    assert "run 'hookd migrate'" in before.err
    assert unmigrated("migrate").code == 0
    assert unmigrated.publish("--type", "match.proposed").code == 0


def test_a_lost_race_says_to_run_it_again(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def lose() -> None:
        async with command_database(Config(), postgres_url, "publish"):
            raise RetryTransaction("deadlock")

    with pytest.raises((CommandError, BaseExceptionGroup)) as caught:
        trio.run(lose)
    assert explained(caught.value) == 1
    assert "run this again (deadlock)" in capsys.readouterr().err


def test_one_event_by_options(hookd: Hookd) -> None:
    result = hookd.publish("--type", "match.proposed", "--data", '{"b": [1, null], "a": "é"}')
    assert (result.code, result.err) == (0, "")
    [identifier] = result.out
    [body] = hookd.bodies()
    assert (body["id"], body["type"]) == (identifier, "match.proposed")
    assert body["data"] == {"a": "é", "b": [1, None]}
    assert hookd.rows("select org_id::text, event_id::text from hookd.inbox") == [(ORG, identifier)]


def test_data_that_is_left_out_is_an_empty_object(hookd: Hookd) -> None:
    assert hookd.publish("--type", "match.proposed").code == 0
    assert hookd.bodies()[0]["data"] == {}


def test_a_file_is_published_in_order_and_in_batches(hookd: Hookd, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text("\n" + lines(*({"type": "match.proposed", "data": n} for n in range(10))))
    result = hookd.publish(str(file), "--json")
    assert result.code == 0
    printed = [json.loads(line) for line in result.out]
    assert [one["line"] for one in printed] == list(range(2, 12))
    data = {body["id"]: body["data"] for body in hookd.bodies()}
    assert [data[one["id"]] for one in printed] == list(range(10))
    # Three events a transaction, as api.max_batch says.
    assert hookd.rows("select count(*) from hookd.event group by xid order by 1") == [(1,), (3,), (3,), (3,)]


def test_a_known_key_prints_the_first_events_id(hookd: Hookd, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    event = {"type": "match.proposed", "data": 1, "key": "m-81"}
    file.write_text(lines(event, event, {**event, "key": "m-82", "deliver_after": "2026-03-10T10:00:00Z"}))
    first, again = hookd.publish(str(file)), hookd.publish(str(file))
    assert first.out == again.out
    assert first.out[0] == first.out[1] != first.out[2]
    assert len(hookd.bodies()) == 2
    assert hookd.rows("select count(*) from hookd.inbox where deliver_after = '2026-03-10 10:00Z'") == [(1,)]


GOOD = {"type": "match.proposed", "data": 1}


@pytest.mark.parametrize(
    ("content", "number", "reason", "accepted"),
    [
        (lines(GOOD, {"type": "match.propsed", "data": 1}), 2, 'perhaps "match.proposed" is meant', 1),
        (lines(GOOD, GOOD, GOOD, GOOD) + "{oops\n" + lines(GOOD), 5, "not JSON", 4),
        ('{"type": "match.proposed", "data": 1e999}\n' + lines(GOOD), 1, "beyond the range of a double", 0),
        (lines(GOOD) + "\n\n" + lines({"type": "match.proposed", "data": "\0"}), 4, "NUL character", 1),
        (lines(GOOD, {"type": "match.proposed", "data": "x" * 3000}), 2, r"longer than 2048 bytes", 1),
    ],
)
def test_a_bad_line_is_named_and_what_came_before_it_is_published(
    hookd: Hookd, tmp_path: Path, content: str, number: int, reason: str, accepted: int
) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text(content)
    result = hookd.publish(str(file))
    assert result.code == 1
    assert len(result.out) == accepted == len(hookd.bodies())
    assert result.err.startswith(f"hookd: line {number}: ")
    assert reason in result.err
    ending = {0: "nothing was published", 1: "the 1 event before it was published"}
    assert ending.get(accepted, f"the {accepted} events before it were published") in result.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--type", "match.proposed", "--data", "{oops"], "--data: not JSON"),
        (["--type", "nope"], 'type: "nope" is not a known event type'),
        (["/no/such/file"], "/no/such/file: cannot be read (No such file or directory)"),
        (["/tmp"], "/tmp: is a directory"),
    ],
)
def test_what_cannot_be_published_at_all_fails(hookd: Hookd, words: list[str], reason: str) -> None:
    result = hookd.publish(*words)
    assert (result.code, result.out, hookd.bodies()) == (1, [], [])
    assert reason in result.err


@pytest.mark.parametrize("words", [[], ["--type", "match.proposed", "-"], ["--data", "1", "-"]])
def test_arguments_that_do_not_fit_together_are_wrong_usage(hookd: Hookd, words: list[str]) -> None:
    result = hookd.publish(*words)
    assert (result.code, result.out) == (2, [])


def test_standard_input_is_published_as_it_comes(hookd: Hookd) -> None:
    command = [sys.executable, "-c", "from daemon.cli.main import main; main()"]
    with subprocess.Popen(
        [*command, "publish", "--org", ORG, "-", *hookd.settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(lines(GOOD))
        process.stdin.flush()
        # Its id is there before the input has ended.
        first = process.stdout.readline().strip()
        assert [body["id"] for body in hookd.bodies()] == [first]
        process.stdin.write(json.dumps(GOOD))
        process.stdin.close()
        second = process.stdout.read().strip()
        assert process.wait(30) == 0
    assert {body["id"] for body in hookd.bodies()} == {first, second}


def test_a_database_that_is_not_there_is_named_without_its_password(
    hookd_at: Callable[[str], Hookd], postgres_server: str
) -> None:
    parts = urlsplit(with_database(postgres_server, "no_such_database"))
    user, _, host = parts.netloc.rpartition("@")
    away = hookd_at(urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:geheim@{host}")))
    result = away.publish("--type", "match.proposed")
    assert (result.code, result.out) == (1, [])
    assert 'database "no_such_database" does not exist' in result.err
    assert "geheim" not in result.err
