"""Real deliveries, before, during and after a rotation, each with what a receiver is to make of it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from standardwebhooks import Webhook

from tests.support.daemon import running
from tests.support.receiver import Received, Receiver, receiving

_EVENT = {"type": "match.proposed", "data": {"name": "Zoë \u2028 \U0001f600", "score": 1.5e-7, "n": 2**70}}
_ROLES = ("org_admin", "publisher")


@dataclass(frozen=True, slots=True)
class Case:
    """A request as it came, or as somebody has changed it, and the secret of the receiver that gets it."""

    name: str
    good: bool
    secret: str
    identifier: str
    timestamp: str
    signature: str
    body: str

    def line(self) -> str:
        """Return it as the programs read it; the body is ASCII without a tab or the end of a line."""
        return "\t".join((self.secret, self.identifier, self.timestamp, self.signature, self.body))


def case(name: str, secret: str, request: Received, *, good: bool = True) -> Case:
    """Return a request as it came, at a receiver that has `secret`."""
    headers = request.headers
    return Case(
        name,
        good,
        secret,
        headers["webhook-id"],
        headers["webhook-timestamp"],
        headers["webhook-signature"],
        request.body.decode("ascii"),
    )


async def collect(work: Path, database: str) -> list[Case]:
    """Run a daemon that delivers, rotate the secret meanwhile, and return what came of it."""
    org_id = uuid4()
    async with receiving() as receiver, running(work, database, logging__level="warning") as daemon:
        first = await daemon.register(org_id, receiver.url())
        path = f"/webhooks/{first['id']}"
        async with daemon.client(org_id, *_ROLES) as client:
            before = await delivered(client, receiver)
            second = await rotated(client, path)
            during = await delivered(client, receiver)
            (await client.delete(f"{path}/previous-secret")).raise_for_status()
            after = await delivered(client, receiver)
            own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
            await rotated(client, path, {"secret": own})
            brought = await delivered(client, receiver)
        assert await daemon.stop() == 0
    assert len(during.headers["webhook-signature"].split()) == 2
    assert len(after.headers["webhook-signature"].split()) == 1
    old, new = first["secret"], second
    return [
        case("before a rotation", old, before),
        case("during it, the old secret", old, during),
        case("during it, the new secret", new, during),
        case("after it, the new secret", new, after),
        case("a secret that was brought", own, brought),
        case("before it, the new secret", new, before, good=False),
        case("after it, the old secret", old, after, good=False),
        *forged(case("", old, before, good=False)),
    ]


def forged(genuine: Case) -> list[Case]:
    """Return what an attacker, or a careless proxy, makes of a genuine request."""
    hour = int(genuine.timestamp) - 3600
    key = Webhook(genuine.secret)
    stale = key.sign(genuine.identifier, datetime.fromtimestamp(hour, UTC), genuine.body)
    early = key.sign(genuine.identifier, datetime.fromtimestamp(hour + 7200, UTC), genuine.body)
    spaced = genuine.body.replace(":", ": ", 1)
    return [
        replace(genuine, name="another body", body=genuine.body.replace("match", "catch", 1)),
        replace(genuine, name="the body written anew", body=spaced),
        replace(genuine, name="another id", identifier=str(UUID(int=7))),
        replace(genuine, name="another time", timestamp=str(int(genuine.timestamp) + 1)),
        replace(genuine, name="signed an hour ago", timestamp=str(hour), signature=stale),
        replace(genuine, name="signed an hour ahead", timestamp=str(hour + 7200), signature=early),
        replace(genuine, name="no signature that is known", signature="v9,AAAA v1a,AAAA"),
        replace(genuine, name="half a signature", signature=genuine.signature[:20]),
    ]


async def delivered(client: httpx.AsyncClient, receiver: Receiver) -> Received:
    """Publish an event and return the request that came of it."""
    answer: dict[str, Any] = (await client.post("/events", json=_EVENT)).raise_for_status().json()
    found: list[Received] = []

    def come() -> bool:
        found[:] = [request for request in receiver.requests if request.event_id == answer["id"]]
        return bool(found)

    await receiver.until(come, 30)
    return found[0]


async def rotated(client: httpx.AsyncClient, path: str, body: dict[str, str] | None = None) -> str:
    """Rotate the secret and return the new one."""
    answer = (await client.post(f"{path}/rotate-secret", json=body)).raise_for_status()
    return str(answer.json()["secret"])
