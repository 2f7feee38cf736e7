"""The publishers of a schedule: each publishes one by one, and again until it knows what became of it."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import httpx
import jwt
import trio

from tests.faults.schedules.cluster import Place
from tests.faults.schedules.members import Member
from tests.faults.schedules.model import Model, Published
from tests.faults.schedules.plan import Publication, Way
from tests.support.daemon import SECRET

RETRY_INTERVAL = 0.2
REQUEST = 5.0
YEARS = 10 * 365 * 86400
_OURS = "select event::text from public.ledger where event = any ($1::uuid[])"


class Gate:
    """Open while there is a database to publish to; `closed` waits for those who are at it."""

    def __init__(self) -> None:
        self._open = trio.Event()
        self._open.set()
        self._inside = 0
        self._left = trio.Event()
        self.epoch = 0

    async def __aenter__(self) -> None:
        while not self._open.is_set():
            await self._open.wait()
        self._inside += 1

    async def __aexit__(self, *error: object) -> None:
        self._inside -= 1
        self._left.set()

    async def close(self) -> None:
        """Let nobody in, and wait until all have left."""
        self._open = trio.Event()
        while self._inside:
            self._left = trio.Event()
            await self._left.wait()

    def open(self) -> None:
        """Let them in, to another database."""
        self.epoch += 1
        self._open.set()


class Publishers:
    """`now` is the schedule's clock; `organisations` are ids."""

    def __init__(
        self,
        model: Model,
        place: Place,
        members: Sequence[Member],
        organisations: Sequence[UUID],
        now: Callable[[], float],
        note: Callable[[str], None],
    ) -> None:
        self._model, self._place, self._members = model, place, members
        self._organisations, self._now, self._note = organisations, now, note
        self._published = 0
        self._said: dict[str, str] = {}
        self.gate = Gate()

    async def serve(self, publications: Sequence[Publication]) -> None:
        """Publish what one publisher has, each at its time or later."""
        for one in publications:
            await trio.sleep(max(0.0, one.at - self._now()))
            if one.way is Way.REST:
                await self._publish_rest(one)
            else:
                await self._publish_sql(one)

    async def _publish_rest(self, one: Publication) -> None:
        """Ask the daemons in turn until one has it; the key makes the same of every try."""
        began = self._now()
        key, number = uuid4().hex, 0
        events = self._bodies(one)
        while True:
            member = self._members[number % len(self._members)]
            number += 1
            async with self.gate:
                epoch = self.gate.epoch
                ids = await self._ask(member, one, events, key)
            if ids is not None:
                break
            await trio.sleep(RETRY_INTERVAL)
        self._keep(one, ids, began, epoch)

    async def _ask(
        self, member: Member, one: Publication, events: list[dict[str, object]], key: str
    ) -> list[str] | None:
        organisation = self._organisations[one.organisation]
        headers = {"authorization": f"Bearer {token(organisation)}", "idempotency-key": key}
        try:
            async with httpx.AsyncClient(timeout=REQUEST, trust_env=False) as client:
                answer = await client.post(f"{member.address}/events", json=events, headers=headers)
        except httpx.HTTPError as error:
            self._say(member, type(error).__name__)
            return None
        if answer.status_code == 202:
            self._said.pop(member.name, None)
            ids: list[str] = answer.json()["ids"]
            return ids
        self._say(member, f"{answer.status_code} {answer.text[:300]}")
        return None

    def _say(self, member: Member, what: str) -> None:
        """Note why a daemon did not publish, unless it is what it was just before."""
        what = re.sub('"request_id":"[^"]*"', "", what)
        if self._said.get(member.name) != what:
            self._said[member.name] = what
            self._note(f"REST by daemon {member.name}: {what}")

    async def _publish_sql(self, one: Publication) -> None:
        """Publish in a transaction; what became of one whose end was not heard stands in the ledger."""
        while True:
            began, ids = self._now(), list[str]()
            async with self.gate:
                epoch = self.gate.epoch
                done = await self._try(one, ids)
            if done:
                self._keep(one, ids, began, epoch)
                return
            self._model.undone.update(ids)
            if not one.commits:
                return
            await trio.sleep(RETRY_INTERVAL)

    async def _try(self, one: Publication, ids: list[str]) -> bool:
        """Return whether it is committed; `ids` are those it was given."""
        organisation = self._organisations[one.organisation]
        types = [event.type for event in one.events]
        data = [json.dumps({"n": event.n}) for event in one.events]
        after = [datetime.now(UTC) + timedelta(seconds=one.after)] * len(types) if one.after else None

        async def unit(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
            transaction = connection.transaction()
            await transaction.start()
            ids.extend(
                await connection.fetchval(
                    "select hookd.publish_batch($1, $2, $3::jsonb[], deliver_after => $4)::text[]",
                    organisation,
                    types,
                    data,
                    after,
                )
            )
            await connection.execute("insert into public.ledger select unnest($1::uuid[])", ids)
            await asyncio.sleep(one.open_for)
            if not one.commits:
                await transaction.rollback()
                return False
            await transaction.commit()
            return True

        try:
            return await self._place.do(unit)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            self._note(f"SQL: {type(error).__name__}: {error}")
        return bool(ids) and len(await self._place.fetch(_OURS, ids)) == len(ids)

    def _bodies(self, one: Publication) -> list[dict[str, object]]:
        events: list[dict[str, object]] = [{"type": e.type, "data": {"n": e.n}} for e in one.events]
        if one.after:
            moment = datetime.now(UTC) + timedelta(seconds=one.after)
            for event in events:
                event["deliver_after"] = moment.isoformat()
        return events

    def _keep(self, one: Publication, ids: Sequence[str], began: float, epoch: int) -> None:
        self._published += 1
        ended = self._now()
        for order, (event_id, event) in enumerate(zip(ids, one.events, strict=True)):
            self._model.published[event_id] = Published(
                event_id,
                event,
                one.organisation,
                began,
                ended,
                self._published,
                order,
                epoch,
                bool(one.after),
            )


def token(organisation: UUID) -> str:
    """Return a token that outlives every clock of a schedule."""
    claims = {
        "sub": "schedules",
        "org_id": str(organisation),
        "roles": ["publisher", "org_admin"],
        "exp": int(time.time()) + YEARS,
    }
    return jwt.encode(claims, SECRET, algorithm="HS256")
