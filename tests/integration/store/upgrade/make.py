"""Make the state of an old hookd that `test_upgrade.py` migrates: a database in the midst of its work.

Run it with the old code, in its checkout:
`HERE=NEW/tests/integration/store/upgrade; PYTHONPATH=. .venv/bin/python $HERE/make.py $HERE/eedc071`
writes `schema.sql.gz`, `data.sql` and `told.json` (secrets, and who wants the events that are not routed).
"""

import asyncio
import gzip
import json
import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httptools
import trio

from daemon.store.embedded_binaries import find_installation
from tests.support.daemon import Daemon
from tests.support.postgres import fresh_database, reachable_directory, server
from tests.support.publishing import rows, with_postgres
from tests.support.receiver import Received, Receiver, Reply, receiving

ORG, OTHER_ORG = uuid4(), uuid4()
SETTINGS = {
    "delivery.timeout": "3s",
    "delivery.retry_schedule": ["1d"] * 5,
    "delivery.disable_after": "365d",
    "delivery.replay_rate": 1.0,
    "signing.secret_overlap": "30d",
}
SUBSCRIPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ordered": {"ordered": True},
    "described": {"description": "all fields", "metadata": {"team": "a"}, "rate_limit": 50, "timeout": 2},
    "headers": {"headers": {"Authorization": "Bearer of the receiver"}},
    "rotated": {},
    "paused": {},
    "gone": {},
    "deleted": {},
    "prefix": {"events": ["match.*"]},
    "filter": {"filter": '$.country == "DE" && $.score > 0.5'},
    "filter_nested": {"filter": '$.n >= 3 || exists($.tags[*] ? (@ == "urgent"))'},
    "filter_sum": {"filter": "$.a + 1 > 2"},
    "filter_method": {"filter": "$.b[*].abs() > 1"},
}
DATA = {"country": "DE", "score": 0.75, "n": 3, "tags": ["urgent"], "a": 2, "b": [-2]}


class Maker:
    """The steps; `told` is what the test cannot see in the database."""

    def __init__(self, url: str, daemon: Daemon, receiver: Receiver, tls_port: int) -> None:
        self.url, self.daemon, self.receiver = url, daemon, receiver
        self.tls_port = tls_port
        self.status = 204
        self.told: dict[str, Any] = {"org": str(ORG), "other_org": str(OTHER_ORG), "subscriptions": {}}

    async def answer(self, request: Received) -> Reply:
        if self.status == 0:
            await trio.sleep_forever()
        return Reply(410 if request.path == "/gone" else self.status)

    async def call(self, method: str, path: str, status: int, org: UUID = ORG, **more: Any) -> Any:
        async with self.daemon.client(org, "org_admin", "publisher") as client:
            answer = await client.request(method, path, **more)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def sql(self, statement: str, *arguments: object) -> Any:
        return (await rows(self.url, statement, *arguments))[0][0]

    async def until(self, statement: str, *arguments: object) -> None:
        with trio.fail_after(60):
            while not await self.sql(statement, *arguments):  # noqa: ASYNC110
                await trio.sleep(0.02)

    async def register(self, name: str, url: str, org: UUID = ORG, **fields: Any) -> None:
        shown = await self.call("POST", "/webhooks/", 201, org, json={"url": url, "events": ["*"], **fields})
        self.told["subscriptions"][name] = {"id": shown["id"], "secrets": [shown["secret"]]}

    def path(self, name: str) -> str:
        return "/webhooks/" + str(self.told["subscriptions"][name]["id"])

    async def publish(self, **more: Any) -> str:
        event = {"type": "match.proposed", "data": DATA, **more}
        return str((await self.call("POST", "/events", 202, json=event))["id"])

    async def make(self) -> None:
        await self.subscriptions()
        await self.history()
        await self.work_in_hand()
        await self.unrouted()

    async def subscriptions(self) -> None:
        for name, fields in SUBSCRIPTIONS.items():
            await self.register(name, self.receiver.url(f"/{name}"), **fields)
        await self.register("http", f"http://127.0.0.1:{self.tls_port}/http")
        await self.register("https", f"https://127.0.0.1:{self.tls_port}/https")
        await self.register("other", self.receiver.url("/other"), OTHER_ORG)

    async def history(self) -> None:
        for _ in range(3):
            await self.publish()
        https, gone = (self.told["subscriptions"][name]["id"] for name in ("https", "gone"))
        # nobody at that port speaks TLS
        await self.until("select count(*) = 3 from hookd.attempt where subscription_id = $1", https)
        others = "select not exists(select from hookd.delivery where subscription_id <> all ($1::uuid[]))"
        await self.until(others, [https, gone])
        rotated = await self.call("POST", f"{self.path('rotated')}/rotate-secret", 200)
        self.told["subscriptions"]["rotated"]["secrets"].insert(0, rotated["secret"])

    async def work_in_hand(self) -> None:
        self.status = 500
        await self.publish()
        await self.until("select count(*) = 13 from hookd.attempt where response_status = 500")
        self.status = 204
        await self.call("PATCH", self.path("paused"), 200, json={"is_active": False})
        await self.call("DELETE", self.path("deleted"), 204)
        keyed = {"type": "match.accepted", "data": {"keyed": True}}
        self.told["keyed"] = await self.publish(**keyed, key="placement 7")
        headers = {"Idempotency-Key": "request-7"}
        answer = await self.call("POST", "/events", 202, json=keyed, headers=headers)
        self.told["idempotent"] = answer["id"]
        later = datetime.now(UTC) + timedelta(days=30)
        self.told["later"] = await self.publish(deliver_after=later.isoformat())

    async def unrouted(self) -> None:
        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        for name in ("plain", "described"):
            await self.call("POST", f"{self.path(name)}/replay", 202, json={"from": since})
        self.status = 0
        await self.publish()
        await self.receiver.until(lambda: self.receiver.in_flight >= 8, 30)
        routed = await self.sql("select count(*) from hookd.inbox")
        assert routed == 0

        main = trio.lowlevel.current_trio_token()

        async def without_routers(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
            async with connection.transaction():
                await connection.execute("lock table hookd.inbox_shard in exclusive mode")
                publish = partial(trio.from_thread.run, self.publish_unrouted, trio_token=main)
                await asyncio.to_thread(publish)
                # what a dead daemon's sessions wait to do they would do once the lock is gone
                await connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                )

        await with_postgres(self.url, without_routers)
        await self.publish_in_sql()

    async def publish_unrouted(self) -> None:
        everybody = [*SUBSCRIPTIONS, "http", "https"]
        for name in ("paused", "gone", "deleted"):
            everybody.remove(name)
        filtered = [name for name in everybody if not name.startswith("filter")]
        self.told["unrouted"] = {
            await self.publish(): everybody,
            await self.publish(data={"a": 0}): filtered,
            await self.publish(type="placement.created"): [one for one in everybody if one != "prefix"],
        }
        self.daemon.kill()
        await self.daemon.ended()

    async def publish_in_sql(self) -> None:
        everybody, filtered, *_ = self.told["unrouted"].values()
        publish = "select hookd.publish($1, 'match.declined', $2::jsonb)::text"
        unrouted = self.told["unrouted"]
        unrouted[await self.sql(publish, ORG, json.dumps(DATA))] = everybody
        unrouted[await self.sql(publish, ORG, '{"b": 1e3}')] = filtered
        unrouted[await self.sql(publish, OTHER_ORG, json.dumps(DATA))] = ["other"]
        self.told["unrepresentable"] = await self.sql(publish, OTHER_ORG, f'{{"b": {10**400}.5}}')
        types = "array['match.proposed', 'match.accepted']"
        batch = f"select hookd.publish_batch($1, {types}, array[$2, $2]::jsonb[])"
        for event in await self.sql(batch, ORG, json.dumps(DATA)):
            unrouted[str(event)] = everybody


def dump(url: str, directory: Path, ports: dict[str, int]) -> None:
    installation = find_installation()
    assert installation is not None
    command = [str(installation / "bin" / "pg_dump"), "--schema=hookd", "--no-owner", "--no-privileges", url]

    def run(*options: str) -> str:
        text = subprocess.run([*command, *options], check=True, capture_output=True, text=True).stdout
        # what only psql, or only the newest server, understands; and remarks
        text = re.sub(
            r"^(\\.*|SET transaction_timeout.*|SELECT pg_catalog.set_config.*|--.*)\n", "", text, flags=re.M
        )
        for name, port in ports.items():
            text = text.replace(f"127.0.0.1:{port}", name)
        return re.sub(r"\n{2,}", "\n", text)

    directory.mkdir(exist_ok=True)
    schema = run("--schema-only").encode()
    (directory / "schema.sql.gz").write_bytes(gzip.compress(schema, mtime=0))
    (directory / "data.sql").write_text(run("--data-only", "--inserts", "--rows-per-insert=1000"))


async def make(url: str, home: Path, directory: Path) -> None:
    async with receiving() as receiver, trio.open_nursery() as nursery:

        async def serve_http_only(stream: trio.SocketStream) -> None:
            with suppress(httptools.HttpParserError):
                await receiver.serve(stream)

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        tls_port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve_http_only, [listener])
        daemon = Daemon(home / "daemon", url, SETTINGS)
        await daemon.start()
        maker = Maker(url, daemon, receiver, tls_port)
        receiver.behaviour = maker.answer
        await maker.make()
        nursery.cancel_scope.cancel()
        dump(url, directory, {"@RECEIVER@": receiver.ports[0], "@TLS@": tls_port})
        (directory / "told.json").write_text(json.dumps(maker.told, indent=1) + "\n")


if __name__ == "__main__":
    with (
        reachable_directory() as state,
        TemporaryDirectory() as home,
        server(state) as server_url,
        fresh_database(server_url) as url,
    ):
        trio.run(make, url, Path(home), Path(sys.argv[1]).absolute())
