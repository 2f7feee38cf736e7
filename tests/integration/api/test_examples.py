"""Every example of the documents is sent to a running daemon, and the answers are what the documents say."""

# Covers api.reference.deliveries, api.reference.endpoint_tests, api.reference.events, api.reference.service,
# api.reference.signing_secrets, api.reference.subscriptions.

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import trio

from api.reference.catalogue import OPERATIONS
from api.reference.operation import JSON_TYPE, Example, Operation
from api.reference.parameters import DELIVERY, SUBSCRIPTION
from api.reference.replays import REPLAY
from tests.support.daemon import Daemon, running, token
from tests.support.receiver import Received, Receiver, Reply, receiving
from tests.support.reference import Reference, Samples

ROLES = ("org_admin", "publisher", "platform")
NO_NAMESERVER = "127.0.0.1:9"  # the hosts that examples name are not to be looked up


async def unwell(request: Received) -> Reply:
    return Reply(204 if request.headers["x-alter-event"] == "webhook.test" else 503)


@dataclass
class Scene:
    """A daemon, an organisation, and a delivery and a replay of it."""

    daemon: Daemon
    receiver: Receiver
    client: httpx.AsyncClient
    org: UUID
    subscription: str
    delivery: str
    replay: str

    async def identifiers(self, example: str) -> dict[str, str]:
        """Return real identifiers for those of the examples; subscriptions are new if they can be."""
        subscription = self.subscription
        if DELIVERY not in example and REPLAY not in example:
            subscription = (await self.daemon.register(self.org, self.receiver.url()))["id"]
        return {SUBSCRIPTION: subscription, DELIVERY: self.delivery, REPLAY: self.replay}


@asynccontextmanager
async def scene(directory: Path, url: str) -> AsyncIterator[Scene]:
    org = uuid4()
    async with (
        receiving(unwell) as receiver,
        running(directory, url, egress__resolver=NO_NAMESERVER) as daemon,
        daemon.client(org, *ROLES) as client,
    ):
        subscription = (await daemon.register(org, receiver.url(), ["*"]))["id"]
        event = {"type": "match.proposed", "data": {"candidate": 7}}
        (await client.post("/events", json=event)).raise_for_status()
        base = f"/webhooks/{subscription}"
        attempts: list[dict[str, Any]] = []
        with trio.fail_after(30):
            while not attempts:
                await trio.sleep(0.02)
                attempts = (await client.get(f"{base}/deliveries")).json()["data"]
        replay = (await client.post(f"{base}/replay", json={"from": "2026-01-01T00:00:00Z"})).json()["id"]
        delivery = attempts[0]["delivery_id"]
        yield Scene(daemon, receiver, client, org, subscription, delivery, replay)


def replaced(text: str, identifiers: dict[str, str]) -> str:
    for example, real in identifiers.items():
        text = text.replace(example, real)
    return text


async def send(scene: Scene, operation: Operation, example: Example) -> httpx.Response:
    path = operation.path
    for parameter in operation.parameters:
        path = path.replace(f"{{{parameter.name}}}", str(parameter.example))
    headers = dict(example.headers)
    content: dict[str, Any] = {}
    if example.body is not None and example.media_type == JSON_TYPE:
        content = {"json": example.body}
    elif example.body is not None:
        content = {"content": example.body}
        headers["Content-Type"] = example.media_type
    url = replaced(path, await scene.identifiers(path))
    return await scene.client.request(
        operation.method, url, params=dict(example.query) or None, headers=headers, **content
    )


async def test_every_example_gets_an_answer_as_described(tmp_path: Path, postgres_url: str) -> None:
    async with scene(tmp_path, postgres_url) as stage:
        reference = Reference((await stage.client.get("/openapi.json")).json())
        for operation in OPERATIONS:
            for name, example in operation.examples.items():
                answer = await send(stage, operation, example)
                assert answer.status_code == example.status, f"{operation.name} {name}: {answer.text}"
                reference.check(operation, answer)
                if operation.name == "testWebhook":
                    assert answer.json()["delivered"]


async def test_answers_to_bad_requests_are_as_described(tmp_path: Path, postgres_url: str) -> None:
    async with scene(tmp_path, postgres_url) as stage:
        reference = Reference((await stage.client.get("/openapi.json")).json())
        nobody = httpx.AsyncClient(base_url=stage.daemon.address, trust_env=False)
        powerless = stage.daemon.client(stage.org, "of another service")
        async with nobody, powerless:
            for operation in OPERATIONS:
                if operation.roles is None:
                    continue
                real = await stage.identifiers(operation.path)
                path = operation.path.format(
                    subscription_id=real[SUBSCRIPTION], delivery_id=real[DELIVERY], replay_id=real[REPLAY]
                )
                answers = {401: await nobody.request(operation.method, path)}
                if operation.roles:
                    answers[403] = await powerless.request(operation.method, path)
                if "{" in operation.path:
                    missing = operation.path.format(
                        subscription_id=uuid4(), delivery_id=uuid4(), replay_id=uuid4()
                    )
                    body = next(iter(operation.examples.values())).body
                    answers[404] = await stage.client.request(operation.method, missing, json=body)
                if operation.body:
                    answers[415] = await stage.client.request(operation.method, path, content="a=1")
                    answers[422] = await stage.client.request(operation.method, path, json={"x": 1})
                for status, answer in answers.items():
                    assert answer.status_code == status, f"{operation.name}: {answer.text}"
                    reference.check(operation, answer)


async def test_the_shell_lines_of_the_page_work_as_they_stand(tmp_path: Path, postgres_url: str) -> None:
    settings = tmp_path / ".curlrc"
    settings.write_text('silent\nshow-error\nmax-time = 30\nwrite-out = "\\n%{http_code}"\n')
    async with scene(tmp_path, postgres_url) as stage:
        page = await stage.client.get("/docs")
        lines = [sample for sample in Samples(page.text).found if sample.startswith("curl ")]
        assert len(lines) > sum(len(operation.examples) for operation in OPERATIONS)
        await stage.daemon.register(stage.org, stage.receiver.url())
        first = (await stage.client.get("/webhooks/", params={"limit": 1})).json()
        environ = {
            **os.environ,
            "CURL_HOME": str(tmp_path),
            "NO_PROXY": "*",
            "HOOKD": stage.daemon.address,
            "TOKEN": token(stage.org, *ROLES),
            "NEXT_CURSOR": first["next_cursor"],
        }
        for line in lines:
            command = ["sh", "-c", replaced(line, await stage.identifiers(line))]
            done = await trio.run_process(
                command, capture_stdout=True, capture_stderr=True, env=environ, check=False
            )
            status = done.stdout.decode().rpartition("\n")[2]
            assert done.returncode == 0, f"{line}: {done.stderr.decode()}"
            assert status.startswith("2"), f"{line}: {done.stdout.decode()}"


async def test_the_document_and_the_page_are_sent_once(tmp_path: Path, postgres_url: str) -> None:
    async with running(tmp_path, postgres_url) as daemon, daemon.client(uuid4()) as client:
        for path in ("/openapi.json", "/docs", "/docs/", "/docs/docs.css", "/docs/docs.js", "/docs/icon.svg"):
            first = await client.get(path)
            assert first.status_code == 200
            again = await client.get(path, headers={"If-None-Match": f'"x", W/{first.headers["etag"]}'})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == first.headers["etag"]
            head = await client.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == str(len(first.content))
        assert (await client.get("/docs/../app.py")).status_code == 404
        assert (await client.get("/docs/docs.html")).status_code == 404
        root = await client.get("/")
        assert (root.status_code, root.headers["location"], root.content) == (302, "/docs", b"")
        assert (await client.post("/")).status_code == 405
        policy = (await client.get("/docs")).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'")
