"""Runs a schedule: two daemons, a database, receivers, publishers; then compares what came with the model."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import httpx
import trio

from tests.faults.schedules.cluster import ROLE, Cluster, Place
from tests.faults.schedules.faults import CLOCKS, START, Faults
from tests.faults.schedules.members import FAKETIME, Member
from tests.faults.schedules.model import Model, Verdict
from tests.faults.schedules.plan import DAEMONS, HOSTS, ORGANISATIONS, Schedule, Spell, Way, draw
from tests.faults.schedules.proxy import Proxy
from tests.faults.schedules.publishers import Publishers, token
from tests.faults.schedules.receivers import Host

DRAIN = 120.0
"""Seconds in which everything must have arrived once no fault is left."""
FAULTS_END = 400.0
SETTINGS: Mapping[str, object] = {
    "api.drain_timeout": "1s",
    "daemon.stop_timeout": "5s",
    "database.pool_size": 4,
    "database.command_timeout": "4s",
    "delivery.concurrency": 32,
    "delivery.retry_schedule": ["200ms", "500ms", *["1s"] * 98],
    "delivery.timeout": "1500ms",
    "hosts.in_flight": 16,
}
PARTITIONS = (
    "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid"
    " where i.inhparent in ('hookd.event'::regclass, 'hookd.attempt'::regclass)"
)
OWED = (
    "select (select count(*) from hookd.delivery), (select count(*) from hookd.inbox),"
    " (select count(*) from hookd.lease)"
)


@dataclass
class Outcome:
    """What became of a schedule. `log`: its faults, and what else is worth telling, with times."""

    seed: int
    verdict: Verdict
    seconds: float
    log: list[str]


async def run(seed: int, cluster: Cluster, directory: Path) -> Outcome:
    """Run the schedule of a seed on a cluster; logs go to `directory`."""
    return await _Run(draw(seed), cluster, directory).run()


class _Run:
    def __init__(self, schedule: Schedule, cluster: Cluster, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._schedule, self._directory = schedule, directory
        self._began = time.monotonic()
        self._log: list[str] = []
        self._model = Model(schedule.subscriptions)
        self._secrets: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._organisations = [uuid4() for _ in range(ORGANISATIONS)]
        self._hosts = [Host(self._model, self._secrets, schedule.seed + n, self._now) for n in range(HOSTS)]
        self._home = cluster
        self._clusters: list[Cluster] = []

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _note(self, text: str) -> None:
        if self._log and self._log[-1].endswith(f" {text}"):
            return
        self._log.append(f"{self._now():7.2f} {text}")

    async def run(self) -> Outcome:
        begin = time.monotonic()
        self._place = await trio.to_thread.run_sync(Place, self._home)
        self._proxies = [Proxy(lambda: self._place.cluster.socket) for _ in range(DAEMONS)]
        try:
            async with trio.open_nursery() as nursery:
                for proxy in self._proxies:
                    await nursery.start(proxy.serve)
                for host in self._hosts:
                    nursery.start_soon(host.serve)
                verdict = await self._play(nursery)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._clean)
        return Outcome(self._schedule.seed, verdict, time.monotonic() - begin, self._log)

    def _clean(self) -> None:
        with suppress(Exception):
            self._place.drop()
        for cluster in self._clusters:
            cluster.close()

    async def _play(self, nursery: trio.Nursery) -> Verdict:
        members = [
            Member(str(n), self._directory / f"daemon-{n}", self._proxied(n), SETTINGS, self._note)
            for n in range(DAEMONS)
        ]
        beside = {
            **SETTINGS,
            "database.schema": "cell2",
            "retention.events": "1s",
            "retention.attempts": "1s",
        }
        second = Member("cell2", self._directory / "second", self._direct, beside, self._note)
        for fault in self._schedule.faults:
            if fault.kind in CLOCKS and FAKETIME.exists():
                members[fault.daemon].movable = True
        for member in (*members, second):
            nursery.start_soon(member.serve)
        for member in members:
            member.begin()
        for member in members:
            with trio.move_on_after(START):
                await member.ready.wait()
            if not member.ready.is_set():
                raise AssertionError(f"no daemon: {member.log.read_text()[-2000:]}")
        await self._register(members[0])
        before = {row[0] for row in await self._place.fetch(PARTITIONS)}
        self._began = time.monotonic()
        publishers = Publishers(self._model, self._place, members, self._organisations, self._now, self._note)
        faults = Faults(
            self._place,
            members,
            self._proxies,
            publishers.gate,
            second,
            self._directory,
            self._now,
            self._note,
            self._clusters,
        )
        wrong = faults.wrong
        with trio.move_on_after(FAULTS_END) as scope:
            async with trio.open_nursery() as playing:
                for organisation in range(ORGANISATIONS):
                    for way in Way:
                        mine = [
                            one
                            for one in self._schedule.publications
                            if (one.organisation, one.way) == (organisation, way)
                        ]
                        playing.start_soon(publishers.serve, mine)
                for spell in self._schedule.spells:
                    playing.start_soon(self._spell, spell)
                for fault in self._schedule.faults:
                    playing.start_soon(faults.serve, fault)
        if scope.cancelled_caught:
            wrong.append(f"publishers or faults were not done after {FAULTS_END:.0f} s")
        self._note("all faults are over")
        await self._drain(wrong)
        for member in members:
            status = await member.stop()
            if status != 0:
                wrong.append(f"daemon {member.name} ended with {status} when it was asked to stop")
            wrong += member.died
        gone = before - {row[0] for row in await self._place.fetch(PARTITIONS)}
        if gone:
            wrong.append(f"partitions are gone: {', '.join(sorted(gone))}")
        verdict = self._model.judge(faults.troubles, await self._failures())
        verdict.wrong += wrong
        return verdict

    async def _spell(self, spell: Spell) -> None:
        await trio.sleep(max(0.0, spell.at - self._now()))
        self._note(f"receiver {spell.host} is {spell.mood} for {spell.lasts:.1f} s")
        self._hosts[spell.host].mood = spell.mood
        await trio.sleep(spell.lasts)
        self._hosts[spell.host].mood = None

    async def _drain(self, wrong: list[str]) -> None:
        """Wait until all has arrived and nothing is owed."""
        with trio.move_on_after(DRAIN):
            while self._model.missing() or any((await self._place.fetch(OWED))[0]):  # noqa: ASYNC110
                await trio.sleep(0.1)
            self._note("everything has arrived")
            return
        owed = tuple((await self._place.fetch(OWED))[0])
        wrong.append(f"not drained after {DRAIN:.0f} s: {owed} deliveries, events in the inbox, leases")
        for table in ("delivery", "inbox", "inbox_shard", "host", "lane", "lease"):
            rows = await self._place.fetch(f"select t::text from hookd.{table} t limit 10")  # noqa: S608
            self._log += [f"        {table} {row[0]}" for row in rows]

    async def _register(self, member: Member) -> None:
        for one in self._schedule.subscriptions:
            body: dict[str, object] = {
                "url": f"http://127.0.0.1:{self._hosts[one.host].port}/{one.number}",
                "events": [one.pattern],
                "ordered": one.ordered,
            }
            if one.least is not None:
                body["filter"] = f"$.n >= {one.least}"
            headers = {"authorization": f"Bearer {token(self._organisations[one.organisation])}"}
            async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
                answer = await client.post(f"{member.address}/webhooks/", json=body, headers=headers)
            if answer.status_code != 201:
                raise AssertionError(f"not registered: {answer.status_code} {answer.text}")
            self._secrets[one.number] = answer.json()["secret"]
            self._ids[answer.json()["id"]] = one.number

    async def _failures(self) -> dict[tuple[int, str], Sequence[str]]:
        """Return the errors in the history by subscription and event."""
        found: dict[tuple[int, str], list[str]] = {}
        query = "select subscription_id, event_id, error from hookd.attempt where error is not null"
        for row in await self._place.fetch(query):
            pair = self._ids[str(row["subscription_id"])], str(row["event_id"])
            found.setdefault(pair, []).append(row["error"])
        return {pair: tuple(errors) for pair, errors in found.items()}

    def _proxied(self, number: int) -> Callable[[], str]:
        return lambda: f"postgresql://{ROLE}@127.0.0.1:{self._proxies[number].port}/{self._place.name}"

    def _direct(self) -> str:
        sockets = str(Path(self._place.cluster.socket).parent)
        return f"postgresql://{ROLE}@/{self._place.name}?host={quote(sockets, safe='')}"
