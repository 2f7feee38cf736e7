"""A database in the midst of its work, made by an older hookd, is migrated and delivers everything.

`upgrade/make.py` made it, with the code of the commit that the directory is named after.
"""

import socket
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import trio
import trustme
from standardwebhooks import Webhook

from tests.support.daemon import Daemon, running
from tests.support.publishing import rows, with_postgres
from tests.support.receiver import Receiver, receiving
from tests.support.upgrade import OldDatabase

MADE = Path(__file__).parent / "upgrade" / "eedc071"
KEYED = {"type": "match.accepted", "data": {"keyed": True}}
NOT_EVALUATED = {"filter_sum": "$.a > 1", "filter_method": "$.b[*] > -3"}
"""Subscriptions whose filters are not allowed any more, and what their owners write instead."""


@asynccontextmanager
async def http_and_https(receiver: Receiver, ca_file: Path) -> AsyncIterator[str]:
    """Serve the receiver at one more address, with TLS for those who begin so; give host and port."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)

    async def serve(stream: trio.SocketStream) -> None:
        if await stream.socket.recv(1, socket.MSG_PEEK) == b"\x16":
            encrypted = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            await receiver.serve_stream(encrypted, port)
        else:
            await receiver.serve(stream)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


class Upgrade:
    """The old database and what it must lead to."""

    def __init__(self, url: str, old: OldDatabase, receiver: Receiver) -> None:
        self.url, self.told, self.receiver = url, old.told, receiver
        self.names = {one["id"]: name for name, one in old.told["subscriptions"].items()}
        self.org = UUID(old.told["org"])

    def arrived(self) -> dict[str, list[str]]:
        """Return the events that came, in this order, by the names of the subscriptions."""
        found: dict[str, list[str]] = defaultdict(list)
        for one in self.receiver.requests:
            found[one.path.removeprefix("/")].append(one.event_id)
        return found

    async def until_arrived(self, wanted: dict[str, set[str]]) -> None:
        def all_came() -> bool:
            came = self.arrived()
            return all(events <= set(came[name]) for name, events in wanted.items())

        try:
            await self.receiver.until(all_came, 60)
        except trio.TooSlowError:
            came = self.arrived()
            missing = {name: events - set(came[name]) for name, events in wanted.items()}
            raise AssertionError(f"did not come: {[(n, m) for n, m in missing.items() if m]}") from None

    async def wanted(self) -> dict[str, set[str]]:
        """Return what the old database owes: by deliveries, by replays, and by what is not routed yet."""
        wanted: dict[str, set[str]] = defaultdict(set)
        for row in await rows(
            self.url,
            "select subscription_id, event_id from hookd.delivery"
            " union select r.subscription_id, e.event_id from hookd.replay_event e"
            " join hookd.replay r on r.id = e.replay_id where r.ended is null",
        ):
            wanted[self.names[str(row["subscription_id"])]].add(str(row["event_id"]))
        for event, names in self.told["unrouted"].items():
            for name in names:
                wanted[name].add(event)
        for events in wanted.values():
            events.discard(self.told["later"])
        wanted.pop("deleted", None)
        return wanted

    async def mend_filters(self, daemon: Daemon, refused: dict[str, set[str]]) -> None:
        """Find in the history what filters kept back that are not evaluated, change them and replay it."""
        for name, events in refused.items():
            failed = (
                "select event_id from hookd.attempt where subscription_id = $1 and ended = 'filter_failed'"
            )
            found = await rows(self.url, failed, self.told["subscriptions"][name]["id"])
            assert events <= {str(row[0]) for row in found}
            assert not events & set(self.arrived()[name])
            await self.call(daemon, "PATCH", self.path(name), 200, json={"filter": NOT_EVALUATED[name]})
            since = (datetime.now(UTC) - timedelta(days=12)).isoformat()
            again = {"from": since, "only_failed": True}
            await self.call(daemon, "POST", f"{self.path(name)}/replay", 202, json=again)
        await self.until_arrived(refused)

    def check_signatures(self) -> None:
        for one in self.receiver.requests:
            for secret in self.told["subscriptions"][one.path.removeprefix("/")]["secrets"]:
                Webhook(secret).verify(one.body, one.headers)

    async def call(self, daemon: Daemon, method: str, path: str, status: int, **more: Any) -> Any:
        async with daemon.client(self.org, "org_admin", "publisher") as client:
            answer = await client.request(method, path, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    def path(self, name: str) -> str:
        return f"/webhooks/{self.told['subscriptions'][name]['id']}"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, object]:
    return {"egress__ca_file": str(tmp_path / "ca.pem"), "delivery__disable_after": "365d"}


@asynccontextmanager
async def old_database(url: str, tmp_path: Path) -> AsyncIterator[Upgrade]:
    """Load the old database, with the receiver that its subscriptions name."""
    async with receiving() as receiver, http_and_https(receiver, tmp_path / "ca.pem") as shared:
        plain = f"127.0.0.1:{receiver.ports[0]}"
        old = OldDatabase.load(MADE, {"@RECEIVER@": plain, "@TLS@": shared})

        async def load(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
            await connection.execute(old.schema)
            await connection.execute(old.data)

        await with_postgres(url, load)
        yield Upgrade(url, old, receiver)


@pytest.mark.parametrize("restored", [False, True])
async def test_everything_owed_by_an_older_hookd_is_delivered(
    restored: bool, tmp_path: Path, empty_postgres_url: str, settings: dict[str, object]
) -> None:
    async with old_database(empty_postgres_url, tmp_path) as upgrade:
        if restored:  # into a cluster with a lower counter, where events came before the first start
            await rows(
                empty_postgres_url, "update hookd.inbox set xid = '3' where data is not null returning 1"
            )
        wanted = await upgrade.wanted()
        held = {name: wanted.pop(name) for name in ("paused", "gone")}
        refused = {name: wanted[name] & set(upgrade.told["unrouted"]) for name in NOT_EVALUATED}
        for name, events in refused.items():
            wanted[name] -= events
        assert all(held.values()) and set(wanted) | set(held) | {"deleted"} == set(upgrade.names.values())
        async with running(tmp_path, empty_postgres_url, **settings) as daemon:
            await upgrade.until_arrived(wanted)
            assert not {"paused", "gone", "deleted"} & upgrade.arrived().keys()
            for name in held:
                await upgrade.call(daemon, "PATCH", upgrade.path(name), 200, json={"is_active": True})
            await upgrade.until_arrived(held)
            await upgrade.mend_filters(daemon, refused)
            later = await upgrade.call(
                daemon, "GET", f"{upgrade.path('plain')}/deliveries?status=pending", 200
            )
            assert await daemon.stop() == 0
        text = daemon.log.read_text()
    upgrade.check_signatures()
    assert "report this" not in text, text
    assert [one["event_id"] for one in later["data"]] == [upgrade.told["later"]]
    assert upgrade.told["later"] not in {one.event_id for one in upgrade.receiver.requests}
    assert upgrade.told["unrepresentable"] not in {one.event_id for one in upgrade.receiver.requests}
    ordered = upgrade.arrived()["ordered"]
    assert sorted(set(ordered)) == list(dict.fromkeys(ordered))
    assert {one.headers["authorization"] for one in upgrade.receiver.requests if one.path == "/headers"} == {
        "Bearer of the receiver"
    }


async def test_what_an_older_hookd_kept_is_kept(
    tmp_path: Path, empty_postgres_url: str, settings: dict[str, object]
) -> None:
    async with old_database(empty_postgres_url, tmp_path) as upgrade:
        url = empty_postgres_url
        # keys live for a day, and so must have been used on this one
        await rows(url, "update hookd.event_key set created_at = now() returning 1")
        await rows(url, "update hookd.idempotency set created_at = now() returning 1")
        history = "select id, error, ended from hookd.attempt where subscription_id <> $1"
        deleted = upgrade.told["subscriptions"]["deleted"]["id"]
        before = {tuple(row) for row in await rows(url, history, deleted)}
        async with running(tmp_path, url, **settings) as daemon:
            keyed = await upgrade.call(daemon, "POST", "/events", 202, json={**KEYED, "key": "placement 7"})
            again = {"json": KEYED, "headers": {"Idempotency-Key": "request-7"}}
            idempotent = await upgrade.call(daemon, "POST", "/events", 202, **again)
            shown = await upgrade.call(daemon, "GET", f"{upgrade.path('described')}", 200)
            listed = await upgrade.call(daemon, "GET", f"{upgrade.path('gone')}/deliveries", 200)
            assert await daemon.stop() == 0
        after = {tuple(row) for row in await rows(url, history, deleted)}
    assert keyed["id"] == upgrade.told["keyed"]
    assert idempotent["id"] == upgrade.told["idempotent"]
    assert (shown["description"], shown["metadata"]) == ("all fields", {"team": "a"})
    assert (shown["rate_limit"], shown["timeout"]) == (50, 2)
    assert [one["response_status"] for one in listed["data"]] == [410]
    assert before <= after
