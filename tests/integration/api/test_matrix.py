"""Every operation of the running daemon against every kind of caller: who gets which status."""

# Covers api.access.

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import httpx

from tests.support.daemon import Daemon, running, token
from tests.support.publishing import rows
from tests.support.receiver import receiving

ABSENT = "01890000-0000-7000-8000-000000000000"
EVENT = {"type": "match.proposed", "data": {"n": 1}}
SINCE = {"from": "2020-01-01T00:00:00Z"}


@dataclass(frozen=True)
class Operation:
    """`path` may hold {webhook}, {delivery}, {replay}. `role`: the one that may, any, or none ("token")."""

    method: str
    path: str
    good: int
    role: str = "any"
    body: object = None
    bad: object = None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


HOOK = "/webhooks/{webhook}"
OPERATIONS = [
    Operation(
        "POST", "/webhooks/", 201, "org_admin", {"url": "http://127.0.0.1:9999/", "events": ["*"]}, {"url": 1}
    ),
    Operation("GET", "/webhooks/", 200),
    Operation("GET", "/webhooks/events", 200, "token"),
    Operation("GET", HOOK, 200),
    Operation("PATCH", HOOK, 200, "org_admin", {"description": "x"}, {"is_active": "yes"}),
    Operation("POST", f"{HOOK}/test", 200, "org_admin", {}, {"conformance": 1}),
    Operation("POST", f"{HOOK}/rotate-secret", 200, "org_admin", {}, {"secret": 1}),
    Operation("DELETE", f"{HOOK}/previous-secret", 204, "org_admin"),
    Operation("GET", f"{HOOK}/deliveries", 200),
    Operation("GET", f"{HOOK}/deliveries/{{delivery}}", 200),
    Operation("POST", f"{HOOK}/deliveries/{{delivery}}/retry", 409, "org_admin"),  # it has ended
    Operation("POST", f"{HOOK}/deliveries/{{delivery}}/redeliver", 202, "org_admin"),
    Operation("POST", f"{HOOK}/replay", 202, "org_admin", SINCE, {"from": "yesterday"}),
    Operation("GET", f"{HOOK}/replays", 200),
    Operation("GET", f"{HOOK}/replays/{{replay}}", 200),
    Operation("POST", f"{HOOK}/replays/{{replay}}/cancel", 200, "org_admin"),
    Operation("DELETE", HOOK, 204, "org_admin"),
    Operation("POST", "/events", 202, "publisher", EVENT, {"type": "match.proposed"}),
]
CASES = ("good", "no token", "bad token", "wrong role", "other org", "bad body", "not found")


def expected(operation: Operation, case: str) -> int | None:
    """Return the status that a case must get; None where there is no such case."""
    has_id = "{" in operation.path
    match case:
        case "good":
            return operation.good
        case "no token" | "bad token":
            return 401
        case "wrong role":
            return None if operation.role == "token" else 403
        case "bad body":
            return 422 if operation.bad is not None else None
    return 404 if has_id else None


async def ask(
    daemon: Daemon, operation: Operation, case: str, org: UUID, ids: Mapping[str, str]
) -> httpx.Response:
    """Make one request as the case wants it."""
    caller = uuid4() if case == "other org" else org
    wrong = {"any": "owner", "org_admin": "viewer"}.get(operation.role, "org_admin")
    right = {"any": ["viewer"], "token": []}.get(operation.role, [operation.role])
    roles = [wrong] if case == "wrong role" else right
    headers = {"Authorization": f"Bearer {token(caller, *roles)}"}
    if case == "bad token":
        headers["Authorization"] += "x"
    if case == "no token":
        headers = {}
    known = dict.fromkeys(ids, ABSENT) if case == "not found" else ids
    body = operation.bad if case == "bad body" else operation.body
    content = None if body is None else json.dumps(body).encode()
    if content is not None:
        headers["Content-Type"] = "application/json"
    async with httpx.AsyncClient(base_url=daemon.address, trust_env=False, timeout=30) as client:
        return await client.request(
            operation.method, operation.path.format(**known), headers=headers, content=content
        )


async def test_who_may_do_what(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with receiving() as receiver, running(tmp_path, postgres_url) as daemon:
        made = await daemon.register(org, receiver.url())
        async with daemon.client(org, "publisher", "org_admin") as client:
            await client.post("/events", json=EVENT)
            await receiver.until(lambda: len(receiver.requests) == 1, 15)
            replay = await client.post(f"/webhooks/{made['id']}/replay", json=SINCE)
        ids = {
            "webhook": made["id"],
            "delivery": receiver.requests[0].headers["x-alter-delivery"],
            "replay": replay.json()["id"],
        }
        table: dict[tuple[str, str], int] = {}
        order = [case for case in CASES if case != "good"] + ["good"]  # a good DELETE comes last of all
        for operation in sorted(OPERATIONS, key=lambda one: one.method == "DELETE" and one.path == HOOK):
            for case in order:
                if expected(operation, case) is not None:
                    answer = await ask(daemon, operation, case, org, ids)
                    table[operation.name, case] = answer.status_code
                    if answer.status_code >= 400:
                        assert answer.headers["content-type"] == "application/problem+json"
                        assert answer.json()["detail"]
        await daemon.stop()
    show(table)
    wanted = {(one.name, case): expected(one, case) for one in OPERATIONS for case in CASES}
    assert table == {key: status for key, status in wanted.items() if status is not None}
    assert (
        await rows(postgres_url, "select id from hookd.subscription where id = $1", UUID(ids["webhook"]))
        == []
    )


def show(table: Mapping[tuple[str, str], int]) -> None:
    """Print the statuses that were seen."""
    print()
    print(f"{'':58}" + "".join(f"{case:>12}" for case in CASES))
    for operation in OPERATIONS:
        seen = [str(table.get((operation.name, case), "-")) for case in CASES]
        print(f"{operation.name:58}" + "".join(f"{status:>12}" for status in seen))
