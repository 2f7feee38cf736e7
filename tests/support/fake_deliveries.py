"""A history in memory for tests of the API."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import trio

from daemon.store.history import AttemptFilter, AttemptPage, Delivery, History, PendingPage


@dataclass
class FakeDeliveries(History):
    """Gives what it was made with; `asked` keeps what was asked for. `refusal` is raised by a redelivery."""

    attempt_page: AttemptPage | None = None
    pending_page: PendingPage | None = None
    found: Delivery | None = None
    made: UUID | None = None
    refusal: Exception | None = None
    asked: list[object] = field(default_factory=list)

    async def attempts(
        self, org_id: UUID, subscription_id: UUID, wanted: AttemptFilter, *, limit: int, below: UUID | None
    ) -> AttemptPage | None:
        await trio.lowlevel.checkpoint()
        self.asked.append((wanted, limit, below))
        return self.attempt_page

    async def pending(
        self,
        org_id: UUID,
        subscription_id: UUID,
        event_type: str | None,
        *,
        limit: int,
        after: tuple[datetime, UUID] | None,
    ) -> PendingPage | None:
        await trio.lowlevel.checkpoint()
        self.asked.append((event_type, limit, after))
        return self.pending_page

    async def delivery(self, org_id: UUID, subscription_id: UUID, delivery_id: UUID) -> Delivery | None:
        await trio.lowlevel.checkpoint()
        return self.found

    async def retry_now(self, org_id: UUID, subscription_id: UUID, delivery_id: UUID) -> bool:
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        return self.found is not None

    async def redeliver(self, org_id: UUID, subscription_id: UUID, delivery_id: UUID) -> UUID | None:
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        return self.made
