"""The API over real sockets, with stores in memory: what its tests have in common."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import h11
import jwt
import trio
from quart_trio import QuartTrio

from api.app import create_app
from api.auth import Authenticator, TokenRules
from api.bytes_in_hand import BytesInHand
from api.connection import ServerLimits
from api.cursors import Cursors
from api.event_types import pattern_refusal
from api.keys import SecretKey
from api.listeners import open_listeners
from api.loop_time import LoopTime
from api.request_replica import RequestReplica
from api.server import serve_api
from api.services import ApiSettings, Check, EndpointTests, Services
from daemon.egress.report import EndpointTest
from daemon.egress.url import Url, parse_url
from daemon.signing.secrets import PrivateKey, parse_secret
from daemon.signing.standard import HeaderSettings
from daemon.store.events import NewEvent, Once, OtherRequest, StillRunning
from daemon.store.publisher import Publisher
from daemon.store.replays import Replay, Replays, Selection
from daemon.store.subscriptions import (
    Change,
    ChangedMeanwhile,
    Extras,
    HeadersForAnotherHost,
    NewSubscription,
    Subscription,
    Subscriptions,
    TooManySubscriptions,
)
from daemon.uuid7 import uuid7, uuid7_time
from tests.support.fake_deliveries import FakeDeliveries

SECRET = "a secret of more than thirty-two bytes"
ORG = UUID("018f0000-0000-7000-8000-000000000001")
OTHER_ORG = UUID("018f0000-0000-7000-8000-000000000002")
TYPES = ("placement.created", "placement.updated", "attestation.issued", "match.proposed")


def token(*roles: str, org: UUID = ORG, **claims: Any) -> str:
    """Return a token of `org` with `roles`, good for a minute."""
    standard = {"exp": time.time() + 3600, "sub": "tester", "org_id": str(org), "roles": list(roles)}
    return jwt.encode({**standard, **claims}, SECRET, "HS256")


def bearer(*roles: str, org: UUID = ORG) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(*roles, org=org)}"}


@dataclass
class FakeSubscriptions(Subscriptions):
    """Subscriptions in memory. `error` is raised by every call."""

    limit: int = 1000
    kept: dict[UUID, Subscription] = field(default_factory=dict)
    secrets: dict[UUID, str] = field(default_factory=dict)
    host_keys: dict[UUID, str] = field(default_factory=dict)
    error: Exception | None = None

    async def register(self, new: NewSubscription) -> Subscription:
        await self._pass()
        if len(self.kept) >= self.limit:
            raise TooManySubscriptions(self.limit)
        key = parse_secret(new.secret)
        kept = Subscription(
            new.id,
            new.org_id,
            new.url,
            tuple(new.events),
            new.is_active,
            None if new.is_active else "paused",
            0,
            uuid7_time(new.id),
            1,
            new.extras,
            key.public if isinstance(key, PrivateKey) else None,
        )
        self.kept[new.id] = kept
        self.secrets[new.id] = new.secret
        self.host_keys[new.id] = new.host_key
        return kept

    async def get(self, org_id: UUID, subscription_id: UUID) -> Subscription | None:
        await self._pass()
        found = self.kept.get(subscription_id)
        return found if found is not None and found.org_id == org_id else None

    async def page(self, org_id: UUID, *, limit: int, before: UUID | None) -> list[Subscription]:
        await self._pass()
        mine = [item for item in self.kept.values() if item.org_id == org_id]
        below = [item for item in mine if before is None or item.id < before]
        return sorted(below, key=lambda item: item.id, reverse=True)[:limit]

    async def change(
        self, org_id: UUID, subscription_id: UUID, change: Change, *, revisions: Collection[int] | None
    ) -> Subscription | None:
        found = await self._expected(org_id, subscription_id, revisions)
        if found is None:
            return None
        if change.host_key is not None and change.host_key != self.host_keys[subscription_id]:
            if found.extras.headers is not None and "headers" not in change.given:
                raise HeadersForAnotherHost
            self.host_keys[subscription_id] = change.host_key
        names = {one.name for one in fields(Extras)} & change.given
        extras = replace(found.extras, **{name: getattr(change.extras, name) for name in names})
        own = {name: getattr(change, name) for name in change.given - names}
        if "events" in own:
            own["events"] = tuple(own["events"])
        changed = replace(found, **own, extras=extras, revision=found.revision + bool(change.given))
        self.kept[subscription_id] = changed
        return changed

    async def remove(self, org_id: UUID, subscription_id: UUID, *, revisions: Collection[int] | None) -> bool:
        found = await self._expected(org_id, subscription_id, revisions)
        if found is not None:
            del self.kept[subscription_id]
        return found is not None

    async def rotate(
        self,
        org_id: UUID,
        subscription_id: UUID,
        secret: str,
        overlap: float,
        *,
        revisions: Collection[int] | None,
    ) -> datetime | None:
        found = await self._expected(org_id, subscription_id, revisions)
        if found is None:
            return None
        self.kept[subscription_id] = replace(found, revision=found.revision + 1)
        self.secrets[subscription_id] = secret
        return datetime(2026, 3, 10, 10, tzinfo=UTC) + timedelta(seconds=overlap)

    async def end_previous_secrets(
        self, org_id: UUID, subscription_id: UUID, *, revisions: Collection[int] | None
    ) -> bool:
        return await self._expected(org_id, subscription_id, revisions) is not None

    async def _expected(
        self, org_id: UUID, subscription_id: UUID, revisions: Collection[int] | None
    ) -> Subscription | None:
        found = await self.get(org_id, subscription_id)
        if found is not None and revisions is not None and found.revision not in revisions:
            raise ChangedMeanwhile
        return found

    async def _pass(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error


@dataclass
class FakeEvents(Publisher):
    """Published events in memory. A publish waits for `gate`, if there is one, before it commits."""

    published: list[NewEvent] = field(default_factory=list)
    gate: trio.Event | None = None
    waiting: trio.Event = field(default_factory=trio.Event)
    error: Exception | None = None
    running: set[tuple[UUID, str, int]] = field(default_factory=set)
    remembered: dict[tuple[UUID, str, int], tuple[bytes, list[UUID]]] = field(default_factory=dict)

    async def publish(self, events: Sequence[NewEvent], once: Once | None = None) -> list[UUID]:
        if once is None:
            return await self._keep(events)
        place = (once.org_id, once.key, once.part)
        if place in self.running:
            raise StillRunning
        if place in self.remembered:
            fingerprint, ids = self.remembered[place]
            if fingerprint != once.fingerprint:
                raise OtherRequest
            return ids
        self.running.add(place)
        try:
            ids = await self._keep(events)
        finally:
            self.running.remove(place)
        self.remembered[place] = (once.fingerprint, ids)
        return ids

    async def _keep(self, events: Sequence[NewEvent]) -> list[UUID]:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        if self.gate is not None:
            self.waiting.set()
            await self.gate.wait()
        known: dict[tuple[UUID, str | None], UUID] = {
            (event.org_id, event.key): event.id for event in self.published if event.key
        }
        self.published.extend(event for event in events if (event.org_id, event.key) not in known)
        return [known.get((event.org_id, event.key), event.id) for event in events]


@dataclass
class FakeEndpointTests:
    """Gives `test` for every test, or raises `error`; `asked` keeps what was asked for."""

    test: EndpointTest | None = None
    error: Exception | None = None
    asked: list[tuple[UUID, UUID, bool]] = field(default_factory=list)

    async def run(self, org_id: UUID, subscription_id: UUID, *, conformance: bool) -> EndpointTest | None:
        await trio.lowlevel.checkpoint()
        self.asked.append((org_id, subscription_id, conformance))
        if self.error is not None:
            raise self.error
        return self.test


@dataclass
class FakeReplays(Replays):
    """Replays in memory, each of `size` events. `refusal` is raised by what would begin or count one."""

    size: int = 7
    types_of_old: Sequence[str] = ()
    kept: dict[UUID, tuple[UUID, Replay]] = field(default_factory=dict)
    asked: list[Selection] = field(default_factory=list)
    refusal: Exception | None = None

    async def ask(
        self, *, replay_id: UUID, org_id: UUID, subscription_id: UUID, selection: Selection
    ) -> Replay:
        await self.count(org_id=org_id, subscription_id=subscription_id, selection=selection)
        made = uuid7_time(replay_id)
        replay = Replay(replay_id, subscription_id, "running", self.size, 0, 0, made, None)
        self.kept[replay_id] = (org_id, replay)
        return replay

    async def count(self, *, org_id: UUID, subscription_id: UUID, selection: Selection) -> int:
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        self.asked.append(selection)
        if selection.patterns and all(pattern_refusal(one, TYPES) for one in selection.patterns):
            return sum(one in self.types_of_old for one in selection.patterns)
        return self.size

    async def get(self, org_id: UUID, subscription_id: UUID, replay_id: UUID) -> Replay | None:
        await trio.lowlevel.checkpoint()
        owner, replay = self.kept.get(replay_id, (None, None))
        return replay if owner == org_id and replay and replay.subscription_id == subscription_id else None

    async def page(
        self, org_id: UUID, subscription_id: UUID, *, limit: int, before: UUID | None
    ) -> list[Replay]:
        found = [await self.get(org_id, subscription_id, one) for one in sorted(self.kept, reverse=True)]
        return [one for one in found if one is not None and (before is None or one.id < before)][:limit]

    async def cancel(self, org_id: UUID, subscription_id: UUID, replay_id: UUID) -> Replay | None:
        replay = await self.get(org_id, subscription_id, replay_id)
        if replay is not None and replay.status == "running":
            skipped = replay.total - replay.queued
            replay = replace(replay, status="cancelled", skipped=skipped, ended_at=replay.created_at)
            self.kept[replay_id] = (org_id, replay)
        return replay


HEADER_SETTINGS = HeaderSettings("X-Alter-", "hookd/test")
"""What the daemon's settings put into every request."""


@dataclass
class World:
    """An API and all that it leans on."""

    subscriptions: FakeSubscriptions = field(default_factory=FakeSubscriptions)
    events: FakeEvents = field(default_factory=FakeEvents)
    deliveries: FakeDeliveries = field(default_factory=FakeDeliveries)
    replays: FakeReplays = field(default_factory=FakeReplays)
    endpoint_tests: EndpointTests = field(default_factory=FakeEndpointTests)
    settings: ApiSettings = field(default_factory=lambda: ApiSettings(TYPES))
    checks: Sequence[Check] = (Check("database", True),)
    check: Callable[[], Awaitable[Sequence[Check]]] | None = None
    bytes_in_hand: BytesInHand = field(default_factory=BytesInHand)
    loop_time: LoopTime = field(default_factory=LoopTime)
    wakes: int = 0
    due: int = 0

    def services(self) -> Services:
        return Services(
            authenticator=Authenticator(TokenRules(("HS256",)), SecretKey(SECRET.encode()), now=time.time),
            cursors=Cursors(b"k" * 32),
            subscriptions=self.subscriptions,
            events=self.events,
            deliveries=self.deliveries,
            replays=self.replays,
            endpoint_tests=self.endpoint_tests,
            replica=RequestReplica(
                decrypt=lambda sealed, _: sealed.decode(), settings=lambda: HEADER_SETTINGS
            ),
            settings=lambda: self.settings,
            check_url=self._check_url,
            ready=self.check or self._ready,
            published=self._published,
            claimable=self._claimable,
            now=time.time,
            new_id=uuid7,
            bytes_in_hand=self.bytes_in_hand,
            loop_time=self.loop_time,
        )

    async def _check_url(self, url: str) -> Url:
        await trio.lowlevel.checkpoint()
        return parse_url(url, https_only=True)

    async def _ready(self) -> Sequence[Check]:
        return self.checks

    def _published(self) -> None:
        self.wakes += 1

    def _claimable(self) -> None:
        self.due += 1

    def app(self) -> QuartTrio:
        return create_app(self.services())


@dataclass
class Running:
    """A server that runs: its address, the event that stops it, and the one that tells that it has."""

    address: str
    stop: trio.Event
    stopped: trio.Event

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    async def connect(self) -> "RawClient":
        if self.address.startswith("unix:"):
            return RawClient(await trio.open_unix_socket(self.address.removeprefix("unix:")))
        host, port = self.address.rsplit(":", 1)
        return RawClient(await trio.open_tcp_stream(host, int(port)))


@asynccontextmanager
async def serving(
    app: QuartTrio, limits: ServerLimits | None = None, bind: str = "127.0.0.1:0"
) -> AsyncIterator[Running]:
    """Serve `app` for the length of the block; end it by force afterwards, at most ten seconds altogether."""
    stop, stopped = trio.Event(), trio.Event()

    async def run(task_status: trio.TaskStatus[list[str]]) -> None:
        listeners = await open_listeners(bind)
        serve = partial(serve_api, app, listeners=listeners, limits=limits or ServerLimits(), shutdown=stop)
        await serve(task_status=task_status)
        stopped.set()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            [address] = await nursery.start(run)
            yield Running(address, stop, stopped)
            nursery.cancel_scope.cancel()


@dataclass
class RawClient:
    """A client that sends the very bytes it is told to."""

    stream: trio.SocketStream
    http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def get(self, path: str = "/", *headers: str) -> "Answer":
        await self.send(request("GET", path, *headers))
        return await self.answer()

    async def answer(self, method: str = "GET") -> "Answer":
        """Read one answer; informational ones are passed over."""
        http = h11.Connection(h11.CLIENT)
        http.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        http.send(h11.EndOfMessage())
        status, headers, body = 0, {}, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await self.stream.receive_some(65536))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, headers, body)
            elif isinstance(event, h11.ConnectionClosed):
                raise EOFError("the server closed the connection without an answer")

    async def closed(self, within: float = 20.0) -> bool:
        """Tell whether the server ends the connection within so many seconds."""
        with trio.move_on_after(within):
            try:
                while await self.stream.receive_some(65536):
                    pass
            except trio.BrokenResourceError:
                pass
            return True
        return False


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """Return the bytes of an HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
