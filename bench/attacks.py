"""What one organisation may do to harm others, as strongly as its rights allow.

A `Plan` prepares while the daemon runs; its steps are then done over and over, each by a thread of its own,
until the attack ends. What the daemon refuses is part of the attack.
"""

import json
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Event
from uuid import UUID, uuid4

import httpx

from bench.hookd import EVENT_TYPE, Hookd
from bench.postgres import connected

WHOLE_BODY = 8 * 2**20
"""Bytes: `api.max_body` as shipped."""
EVENT_TYPE_JSON = json.dumps(EVENT_TYPE)
ALL_BUT_ONE = b"[" + b" " * (WHOLE_BODY - 2)
LAST = 19
"""The nice value of who gives way to all others."""
PREPARED_WITHIN = 60
"""Seconds."""
LOCKS = ("hookd.register", "hookd.replays", "hookd.replay")


@dataclass(frozen=True, slots=True)
class Field:
    """Where it takes place. `shared`: scheme and authority of the host that the others use, too."""

    daemon: Hookd
    database_url: str
    shared: str
    org: UUID
    others: Sequence[UUID]


Step = Callable[[], object]
Plan = Callable[[Field], list[Step]]


def filters(field: Field) -> list[Step]:
    """Filters as dear as they may be on the largest events, and the registering of some that are dearer."""
    client = _client(field)
    dear = " && ".join(f"exists($.a[*] ? (@ == {n}))" for n in range(8))
    for _ in range(40):
        _register(client, f"{field.shared}/hook", filter=dear)
    event = {"type": EVENT_TYPE, "data": {"a": list(range(30_000))}}
    terms = " + ".join("$.n % $.m" for _ in range(60))
    hostile = [
        f"({terms}) < 0",
        "((1e131071/7)%(1e65000/3)) > $.a",
        "$.a[*]" + ".abs()" * 160 + " > 1",
        "-" * 900 + "$.a > 1",
    ]
    registering = _client(field)

    def register() -> None:
        with ThreadPoolExecutor(12) as at_once:
            for one in hostile * 3:
                at_once.submit(_register, registering, f"{field.shared}/hook", filter=one)
        time.sleep(1)

    return [partial(_publish, client, event), partial(_publish, _client(field), event), register]


def impatient(field: Field) -> list[Step]:
    """A timeout that nobody can keep, and the wrong protocol, at the host of others."""
    client = _client(field)
    for _ in range(75):
        _register(client, f"{field.shared}/slow", timeout=0.1)
        _register(client, field.shared.replace("http://", "https://") + "/hook", timeout=0.1)
    return [partial(_publish, client, {"type": EVENT_TYPE, "data": {}}, pause=0.5)]


def values(field: Field) -> list[Step]:
    """Bodies of the greatest length that hold as many values as fit."""
    head = f'{{"type":{EVENT_TYPE_JSON},"data":['.encode()
    empty = head + b"[]," * ((WHOLE_BODY - len(head)) // 3 - 1) + b"[]]}"
    item = b'{"type":%s,"data":{}},' % EVENT_TYPE_JSON.encode()
    twice = b"[" + item * (WHOLE_BODY // len(item) - 2) + b'{"type":"a","type":"b"}]'
    return [
        partial(_post, _client(field), "/events", content=body) for body in (empty, twice) for _ in range(3)
    ]


def uploads(field: Field) -> list[Step]:
    """A hundred and twenty bodies that are never finished, and begun anew where they are refused."""
    return [partial(_unfinished, field)] * 120


def slow(field: Field) -> list[Step]:
    """Four hundred subscriptions at the host of others, answered after 14 seconds, which is in time."""
    client = _client(field)
    for _ in range(400):
        _register(client, f"{field.shared}/slow")
    return [partial(_publish, client, {"type": EVENT_TYPE, "data": {}}, pause=0.2)]


def tests(field: Field) -> list[Step]:
    """Tests of a receiver, of which each is several requests, one after the other."""
    client = _client(field)
    path = f"/webhooks/{_register(client, f'{field.shared}/quick')}/test"
    return [partial(_post, _client(field), path, json={"conformance": True}) for _ in range(4)]


def locks(field: Field) -> list[Step]:
    """A role without rights takes each advisory lock that it can guess."""

    def hold() -> None:
        role = f"stranger_{uuid4().hex[:8]}"
        with connected(field.database_url) as sql:
            sql.execute(f"create role {role}; set role {role}")
            for name in LOCKS:
                for org in field.others:
                    sql.value(
                        "select pg_try_advisory_lock(hashtextextended($1, uuid_hash($2)))::text", name, org
                    )
            time.sleep(1)
            sql.execute(f"reset role; drop role {role}")

    return [hold]


def names(field: Field) -> list[Step]:
    """Four hundred host names of which no nameserver tells."""
    client = _client(field)
    for _ in range(400):
        _register(client, f"http://{uuid4().hex}.silent.test/")
    return [partial(_publish, client, {"type": EVENT_TYPE, "data": {}}, pause=0.2)]


ATTACKS: Mapping[str, Plan] = {
    "filters": filters,
    "impatient": impatient,
    "values": values,
    "uploads": uploads,
    "slow": slow,
    "tests": tests,
    "locks": locks,
    "names": names,
}


@contextmanager
def under(plan: Plan, field: Field) -> Iterator[None]:
    """Prepare the plan, then do each of its steps over and over for the block.

    All of it is done by a process of its own that gives way to everybody else: in life an attacker computes
    on a machine of his own, and what his client takes from this one is nothing that hookd does to others.
    """
    processes = multiprocessing.get_context("fork")
    ready, over = processes.Event(), processes.Event()
    attacker = processes.Process(target=_attack, args=(plan, field, ready, over), daemon=True)
    attacker.start()
    try:
        if not ready.wait(timeout=PREPARED_WITHIN):
            raise RuntimeError("the attack was not prepared in time: see what its process wrote above")
        yield
    finally:
        over.set()
        attacker.join(timeout=30)
        attacker.kill()


def _attack(plan: Plan, field: Field, ready: Event, over: Event) -> None:
    os.nice(LAST)
    steps = plan(field)

    def work(step: Step) -> None:
        while not over.is_set():
            with suppress(httpx.HTTPError, OSError):
                step()

    threads = [threading.Thread(target=work, args=(step,), daemon=True) for step in steps]
    for thread in threads:
        thread.start()
    ready.set()
    over.wait()


def _client(field: Field) -> httpx.Client:
    return field.daemon.client(field.org, "org_admin", "publisher")


def _register(client: httpx.Client, url: str, **more: object) -> str:
    answer = client.post("/webhooks/", json={"url": url, "events": [EVENT_TYPE], **more})
    found: str = answer.json().get("id", "")
    return found


def _publish(client: httpx.Client, event: object, pause: float = 0.0) -> None:
    _post(client, "/events", json=event)
    time.sleep(pause)


def _post(client: httpx.Client, path: str, **more: object) -> None:
    if "content" in more:
        more["headers"] = {"content-type": "application/json"}
    answer = client.post(path, **more)  # type: ignore[arg-type]
    if answer.status_code == 429:
        time.sleep(min(1.0, float(answer.headers.get("retry-after", "1"))))


def _unfinished(field: Field) -> None:
    """Send all of a body but its last byte, as fast as it is taken, and wait for what becomes of it."""
    host, _, port = field.daemon.address.removeprefix("http://").rpartition(":")
    token = field.daemon.token(field.org, "publisher")
    head = (
        f"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {WHOLE_BODY}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        connection.sendall(ALL_BUT_ONE)
        connection.recv(4096)
    time.sleep(2)
