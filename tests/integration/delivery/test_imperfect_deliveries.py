"""A daemon and receivers whose answers have faults: what their status says happens, and the owner is told."""

import gzip
from pathlib import Path
from typing import Any
from uuid import uuid4

import trio

from tests.support.daemon import running
from tests.support.egress_harness import read_request, receiver
from tests.support.publishing import publish_many
from tests.support.receiver import Received, Reply, receiving

QUICK = {"delivery__retry_schedule": ["1h"], "delivery__timeout": "500ms"}
ANSWERS = {
    "/short": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", "succeeded", 200),
    "/lines": (
        b"HTTP/1.1 202 Accepted\nX-Request-Id: 7\nContent-Length: 2\nContent-Length: 2\n\nok",
        "succeeded",
        202,
    ),
    "/gone": (b"HTTP/1.1 410 Gone\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nno", "failed", 410),
    "/packed": (
        b"HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: 24\r\n\r\n" + gzip.compress(b"busy"),
        "failed",
        500,
    ),
    "/later": (b"HTTP/1.1 503 Busy\r\nRetry-After: 7200\r\nContent-Length: -1\r\n\r\nno", "failed", 503),
}
NOTES = {
    "/packed": None,
    "/short": "the body is shorter than its Content-Length",
    "/lines": "lines end without CR; Content-Length comes more than once",
    "/gone": "the last chunk of the body is missing",
    "/later": "Content-Length is not a number",
}


async def test_the_history_tells_what_was_imperfect(tmp_path: Path, postgres_url: str) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        request = await read_request(stream)
        await stream.send_all(ANSWERS[request.split(b" ", 2)[1].decode()][0])

    org = uuid4()
    async with receiver(handler) as port, running(tmp_path, postgres_url, **QUICK) as daemon:
        paths = {}
        for path in ANSWERS:
            made = await daemon.register(org, f"http://127.0.0.1:{port}{path}")
            paths[path] = f"/webhooks/{made['id']}"
        await publish_many(postgres_url, org, 1)
        async with daemon.client(org, "org_admin") as client:
            for path, (_, status, code) in ANSWERS.items():
                found: list[Any] = []
                with trio.fail_after(15):
                    while not found:
                        found = (await client.get(f"{paths[path]}/deliveries")).json()["data"]
                [listed] = found
                assert (listed["status"], listed["response_status"], listed["note"]) == (
                    status,
                    code,
                    NOTES[path],
                )
                whole = (await client.get(f"{paths[path]}/deliveries/{listed['delivery_id']}")).json()
                [attempt] = whole["attempts"]
                assert attempt["note"] == NOTES[path]
                if path == "/lines":
                    assert attempt["response_headers"]["x-request-id"] == "7"
                if path == "/packed":
                    assert attempt["response_excerpt"] == "(in gzip, not shown)"
                if path == "/later":
                    assert attempt["response_headers"]["retry-after"] == "7200"
                    assert whole["waiting"]["until"] > listed["attempted_at"]
            gone = (await client.get(paths["/gone"])).json()
            assert (gone["is_active"], gone["disabled_reason"]) == (False, "gone")
            tested = (await client.post(f"{paths['/short']}/test")).json()
            assert tested.get("delivered") is True, tested
            assert (tested["note"], tested["response_headers"]) == (NOTES["/short"], {})


async def test_a_good_receiver_leaves_no_note(tmp_path: Path, postgres_url: str) -> None:
    async def answer(request: Received) -> Reply:
        return Reply(200, {"Content-Type": "text/plain", "X-Request-Id": "7"})

    org = uuid4()
    async with receiving(answer) as good, running(tmp_path, postgres_url, **QUICK) as daemon:
        path = f"/webhooks/{(await daemon.register(org, good.url()))['id']}/deliveries"
        await publish_many(postgres_url, org, 1)
        async with daemon.client(org, "org_admin") as client:
            found: list[Any] = []
            with trio.fail_after(15):
                while not found:
                    found = (await client.get(path)).json()["data"]
            [attempt] = (await client.get(f"{path}/{found[0]['delivery_id']}")).json()["attempts"]
    assert (attempt["note"], attempt["response_headers"]) == (None, {"x-request-id": "7"})
