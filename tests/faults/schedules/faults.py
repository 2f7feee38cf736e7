"""How each kind of fault is done. What touches Postgres happens one at a time, and so for each daemon."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import trio

from tests.faults.schedules.cluster import ROLE, Cluster, Place, count_up
from tests.faults.schedules.members import FAKETIME, Member
from tests.faults.schedules.model import Trouble
from tests.faults.schedules.plan import OF_A_DAEMON, Fault, Kind
from tests.faults.schedules.proxy import Proxy
from tests.faults.schedules.publishers import Gate

CLOCKS = frozenset({Kind.CLOCK, Kind.CLOCK_AT_START})
START = 300.0
"""Seconds that a daemon may take until it is ready."""
END_SESSIONS = (
    "select pg_terminate_backend(pid) from pg_stat_activity"  # noqa: S608
    f" where usename = '{ROLE}' and datname = current_database()"
)


@dataclass
class Faults:
    """Everything that faults happen to."""

    place: Place
    members: Sequence[Member]
    proxies: Sequence[Proxy]
    gate: Gate
    second: Member
    directory: Path
    now: Callable[[], float]
    note: Callable[[str], None]
    clusters: list[Cluster] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._database = trio.Lock()
        self._daemons = [trio.Lock() for _ in self.members]
        self._done: dict[Kind, Callable[[Fault], Awaitable[None]]] = {
            Kind.KILL: self._kill,
            Kind.STOP: self._stop,
            Kind.TERMINATE: self._terminate,
            Kind.CLOCK: self._clock,
            Kind.CLOCK_AT_START: self._clock_at_start,
            Kind.CUT: self._cut,
            Kind.SILENCE: self._silence,
            Kind.CRASH: self._crash,
            Kind.END_SESSIONS: self._end_sessions,
            Kind.READ_ONLY: self._read_only,
            Kind.LOCK: self._lock,
            Kind.LIMIT: self._limit,
            Kind.MOVE: self._move,
            Kind.SECOND_SCHEMA: self._second_schema,
        }

    async def serve(self, fault: Fault) -> None:
        """Let a fault happen at its time, or when those before it are over."""
        await trio.sleep(max(0.0, fault.at - self.now()))
        if fault.kind in CLOCKS and not FAKETIME.exists():
            self.note(f"not drawn without libfaketime: {fault}")
            return
        async with AsyncExitStack() as stack:
            for lock in self._locks(fault):
                await stack.enter_async_context(lock)
            self.note(f"begins: {fault}")
            began = self.now()
            await self._done[fault.kind](fault)
            self.note(f"is over: {fault}")
            clock, crash = fault.kind in CLOCKS, fault.kind is Kind.CRASH
            self.troubles.append(Trouble(fault.kind.value, began, self.now(), clock, crash))

    def _locks(self, fault: Fault) -> list[trio.Lock]:
        if fault.kind is Kind.MOVE:
            return [*self._daemons, self._database]
        return [self._daemons[fault.daemon] if fault.kind in OF_A_DAEMON else self._database]

    async def _is_ready(self, member: Member) -> None:
        with trio.move_on_after(START):
            await member.ready.wait()

    async def _kill(self, fault: Fault) -> None:
        await self._end(self.members[fault.daemon], signal.SIGKILL)

    async def _terminate(self, fault: Fault) -> None:
        await self._end(self.members[fault.daemon], signal.SIGTERM)

    async def _end(self, member: Member, number: signal.Signals) -> None:
        member.send(number)
        await trio.sleep(0.1)
        await self._is_ready(member)

    async def _stop(self, fault: Fault) -> None:
        member = self.members[fault.daemon]
        member.send(signal.SIGSTOP)
        await trio.sleep(fault.lasts)
        member.send(signal.SIGCONT)

    async def _clock(self, fault: Fault) -> None:
        member = self.members[fault.daemon]
        member.move_clock(fault.amount)
        await trio.sleep(fault.lasts)
        member.move_clock(0)

    async def _clock_at_start(self, fault: Fault) -> None:
        member = self.members[fault.daemon]
        member.move_clock(fault.amount)
        await self._end(member, signal.SIGKILL)
        await trio.sleep(fault.lasts)
        member.move_clock(0)

    async def _cut(self, fault: Fault) -> None:
        self.proxies[fault.daemon].cut()

    async def _silence(self, fault: Fault) -> None:
        self.proxies[fault.daemon].hold()
        await trio.sleep(fault.lasts)
        self.proxies[fault.daemon].release()

    async def _crash(self, fault: Fault) -> None:
        await trio.to_thread.run_sync(self.place.cluster.crash)

    async def _end_sessions(self, fault: Fault) -> None:
        await self.place.execute(END_SESSIONS)

    async def _read_only(self, fault: Fault) -> None:
        reload = "select pg_reload_conf()"
        await self.place.execute("alter system set default_transaction_read_only = on", reload)
        await trio.sleep(fault.lasts)
        await self.place.execute("alter system reset default_transaction_read_only", reload)

    async def _lock(self, fault: Fault) -> None:
        async def hold(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
            async with connection.transaction():
                await connection.execute(f"lock table hookd.{fault.table}")
                await asyncio.sleep(fault.lasts)

        await self.place.do(hold)

    async def _limit(self, fault: Fault) -> None:
        limit = f"alter role {ROLE} connection limit"
        await self.place.execute(f"{limit} {fault.amount:.0f}", END_SESSIONS)
        await trio.sleep(fault.lasts)
        await self.place.execute(f"{limit} -1")

    async def _move(self, fault: Fault) -> None:
        """As an operator does it: nobody publishes, the daemons are stopped, and then the dump is made."""
        other = await trio.to_thread.run_sync(Cluster, self.directory / f"cluster-{len(self.clusters) + 2}")
        self.clusters.append(other)
        await self.gate.close()
        for member in self.members:
            await member.stop()
        counter = "select pg_current_xact_id()::text::bigint"
        reached = (await self.place.fetch(counter))[0][0]
        await trio.to_thread.run_sync(self.place.move, other)
        lower = (await self.place.fetch(counter))[0][0]
        self.note(f"the transaction counter was at {reached}, and is at {lower} in the new cluster")
        self.gate.open()
        if fault.amount:
            await trio.sleep(fault.lasts)
            await self.place.execute(count_up(max(1, reached - lower + 100)))
        for member in self.members:
            member.begin()
            await self._is_ready(member)

    async def _second_schema(self, fault: Fault) -> None:
        for _ in range(2):
            self.second.begin()
            await self._is_ready(self.second)
            if not self.second.ready.is_set():
                self.wrong.append("a daemon on a second schema did not become ready")
                break
            await trio.sleep(fault.lasts / 2)
            await self.second.stop()
        await self.second.stop()
