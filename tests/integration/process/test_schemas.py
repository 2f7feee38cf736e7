"""JSON Schemas of event types, by every way of publishing, over a start and a reload."""

import json
import signal
from pathlib import Path
from uuid import uuid4

import pytest
import trio

from daemon.cli.main import invoke
from tests.integration.process.test_start import said
from tests.support.daemon import Daemon
from tests.support.publishing import rows, until_rows
from tests.support.receiver import receiving

SCHEMA = {"type": "object", "properties": {"score": {"maximum": 1}}, "required": ["score"]}


def configured(directory: Path, url: str, schema: Path) -> Daemon:
    """Return a daemon, not started, whose configuration names a schema."""
    daemon = Daemon(directory / "daemon", url, {})
    daemon.config = directory / "config.toml"
    daemon.config.write_text(f"[events]\nschemas = {{'match.proposed' = '{schema}'}}\n")
    return daemon


async def test_all_ways_of_publishing_hold_data_to_its_schema(tmp_path: Path, postgres_url: str) -> None:
    schema, org = tmp_path / "match.json", uuid4()
    schema.write_text(json.dumps(SCHEMA))
    daemon = configured(tmp_path, postgres_url, schema)
    await daemon.start()
    async with receiving() as receiver, daemon.client(org, "publisher") as client:
        await daemon.register(org, receiver.url())
        refused = await client.post("/events", json={"type": "match.proposed", "data": {"score": 2}})
        assert refused.status_code == 422
        assert [error["pointer"] for error in refused.json()["errors"]] == ["/data/score"]
        good = await client.post("/events", json={"type": "match.proposed", "data": {"score": 0.25}})
        assert good.status_code == 202
        statement = "select hookd.publish($1, 'match.proposed', $2::jsonb) as id"
        [by_sql] = await rows(postgres_url, statement, org, '{"score": 0.5}')
        [violation] = await rows(postgres_url, statement, org, '{"score": 2}')
        await said(daemon, f"event {violation['id']} cannot be delivered")
        # it is said before it is committed
        await until_rows(
            postgres_url, "select error from hookd.attempt where not succeeded", "unrepresentable"
        )
        await receiver.until(lambda: len(receiver.requests) >= 2, 20)
        assert {one.event_id for one in receiver.requests} == {good.json()["id"], str(by_sql["id"])}
        [kept] = await rows(
            postgres_url, "select body, problem from hookd.event where id = $1", violation["id"]
        )
        assert kept["body"] is None
        assert kept["problem"].startswith("/data/score breaks the type's schema")

        # The same file with other content, then with an error in it, which changes nothing.
        assert daemon.process is not None
        schema.write_text(json.dumps({**SCHEMA, "properties": {"score": {"maximum": 10}}}))
        daemon.process.send_signal(signal.SIGHUP)
        await said(daemon, "reloaded: events.schemas")
        wider = {"type": "match.proposed", "data": {"score": 2}}
        assert (await client.post("/events", json=wider)).status_code == 202
        schema.write_text('{"$ref": "https://example.com/schema.json"}')
        daemon.process.send_signal(signal.SIGHUP)
        await said(daemon, f"{schema}: not a JSON Schema")
        assert (await client.post("/events", json=wider)).status_code == 202
        much = {"type": "match.proposed", "data": {"score": 20}}
        assert (await client.post("/events", json=much)).status_code == 422
        assert await daemon.stop() == 0


async def test_a_bad_schema_refuses_the_start(tmp_path: Path, postgres_url: str) -> None:
    schema = tmp_path / "match.json"
    daemon = configured(tmp_path, postgres_url, schema)
    for content, told in [
        (None, f"{schema}: there is no such file: make it"),
        ("{", f"{schema}: not a JSON Schema: not JSON"),
        ('{"type": "objekt"}', f"{schema}: not a JSON Schema at"),
    ]:
        if content is not None:
            schema.write_text(content)
        with pytest.raises(AssertionError, match="did not become ready"):
            await daemon.start()
        assert await daemon.ended(30) == 2
        assert told in daemon.log.read_text().splitlines()[-1]
        assert "Traceback" not in daemon.log.read_text()


async def test_the_command_holds_data_to_its_schema(tmp_path: Path, postgres_url: str) -> None:
    schema = tmp_path / "match.json"
    schema.write_text(json.dumps(SCHEMA))
    config = configured(tmp_path, postgres_url, schema).config
    file = tmp_path / "events.ndjson"
    file.write_text("".join(f'{{"type": "match.proposed", "data": {{"score": {n}}}}}\n' for n in (0, 1, 2)))

    def publish(*words: str) -> int:
        settings = ["--set", f"database.url={postgres_url}", "--set", f"state.directory={tmp_path}"]
        return invoke(["publish", "--org", str(uuid4()), *words, "--config", str(config), *settings])

    def both() -> tuple[int, int]:
        return publish("--type", "match.proposed", "--data", '{"score": 2}'), publish(str(file))

    assert await trio.to_thread.run_sync(both) == (1, 1)
    bodies = await rows(postgres_url, "select body from hookd.event order by id")
    assert [json.loads(row["body"])["data"]["score"] for row in bodies] == [0, 1]
    schema.write_text("[")
    assert await trio.to_thread.run_sync(publish, str(file)) == 2
