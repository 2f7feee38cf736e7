"""Faults of the stock server (hypercorn 0.18, quart-trio 0.12), each shown there first and then cured here.

When a test of the stock server fails, its fault is gone upstream and the cure may go too.
"""

# Covers api.commits.

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import trio
from hypercorn.config import Config
from hypercorn.logging import AccessLogAtoms
from hypercorn.trio import serve
from quart_trio import QuartTrio

from api.bodies import read_body
from api.bytes_in_hand import BytesInHand
from api.connection import GRACE, Connection, ServerLimits
from api.quart_app import Api, current_request
from api.services import ApiSettings
from tests.support.api_harness import TYPES, Answer, RawClient, Running, World, request, serving, token

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

BIG = 64 * 1024 * 1024
PATIENCE = 0.4  # seconds without which "never" cannot be told from "not yet"


class Sample:
    """What the sample application saw."""

    def __init__(self) -> None:
        self.entered = trio.Event()
        self.go_on = trio.Event()
        self.outcome = "none"


def sample(kind: type[QuartTrio], seen: Sample) -> QuartTrio:
    app = kind("sample", static_folder=None)
    if isinstance(app, Api):
        app.bytes_in_hand = BytesInHand(4 * BIG, 4 * BIG)

    @app.get("/")
    async def root() -> str:
        return "ok"

    @app.get("/big")
    async def big() -> bytes:
        return b"x" * BIG

    @app.route("/wait", methods=["GET", "POST"])
    async def wait() -> str:
        seen.entered.set()
        try:
            await seen.go_on.wait()
        except trio.Cancelled:
            seen.outcome = "cancelled"
            raise
        seen.outcome = "finished"
        return "done"

    return app


@asynccontextmanager
async def stock(app: QuartTrio, **settings: Any) -> AsyncIterator[Running]:
    """Serve with the stock server for the length of the block."""
    config = Config.from_mapping(bind=["127.0.0.1:0"], errorlog=None, graceful_timeout=0.1, **settings)
    stop, stopped = trio.Event(), trio.Event()

    async def run(task_status: trio.TaskStatus[list[str]]) -> None:
        await serve(app, config, shutdown_trigger=stop.wait, task_status=task_status)
        stopped.set()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            [address] = await nursery.start(run)
            yield Running(address.removeprefix("http://"), stop, stopped)
            nursery.cancel_scope.cancel()


# 1. After an answer the connection is never closed.


@pytest.mark.parametrize("header", ["X-Nothing: x", "Connection: close"])
async def test_stock_never_closes_after_an_answer(header: str) -> None:
    async with stock(sample(QuartTrio, Sample()), keep_alive_timeout=0.05) as server:
        client = await server.connect()
        assert (await client.get("/", header)).status == 200
        assert not await client.closed(PATIENCE)


@pytest.mark.parametrize("header", ["X-Nothing: x", "Connection: close"])
async def test_a_connection_closes_when_idle_or_asked_to(header: str) -> None:
    idle = 0.05 if header.startswith("X") else 30
    async with serving(sample(Api, Sample()), ServerLimits(idle_timeout=idle)) as server:
        client = await server.connect()
        assert (await client.get("/", header)).status == 200
        assert await client.closed()


async def test_stock_takes_the_whole_grace_to_stop() -> None:
    async with stock(sample(QuartTrio, Sample())) as server:
        client = await server.connect()
        await client.get("/")
        began = trio.current_time()
        server.stop.set()
        await server.stopped.wait()
        assert trio.current_time() - began >= 0.1


async def test_stop_does_not_wait_for_idle_connections() -> None:
    async with serving(sample(Api, Sample()), ServerLimits(drain_timeout=3600)) as server:
        answered, fresh = await server.connect(), await server.connect()
        await answered.get("/")
        server.stop.set()
        with trio.fail_after(30):
            await server.stopped.wait()
        assert await answered.closed()
        assert await fresh.closed()


# 2. An exception in one connection ends the server.


def h2_request(path: str) -> bytes:
    http = h2.connection.H2Connection(
        config=h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
    )
    http.initiate_connection()
    pseudo = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "x")]
    http.send_headers(1, pseudo, end_stream=True)
    return http.data_to_send()


async def test_stock_ends_when_one_connection_fails() -> None:
    async def send_odd_path() -> None:
        async with stock(sample(QuartTrio, Sample())) as server:
            await (await server.connect()).send(h2_request("/é"))
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await send_odd_path()
    assert caught.group_contains(UnicodeDecodeError)


async def test_stock_ends_when_data_follows_an_answer() -> None:
    async def send_late_data() -> None:
        async with stock(sample(QuartTrio, Sample())) as server:
            http = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True))
            http.initiate_connection()
            pseudo = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "x")]
            http.send_headers(1, pseudo)
            client = await server.connect()
            await client.send(http.data_to_send())
            answered = False
            while not answered:
                events = http.receive_data(await client.stream.receive_some(65536))
                answered = any(isinstance(event, h2.events.StreamEnded) for event in events)
            # a DATA frame by hand: the client's own state machine knows better
            await client.send(b"\x00\x00\x01\x00\x01\x00\x00\x00\x01x")
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup):
        await send_late_data()


async def test_stock_ends_when_bytes_follow_a_refused_websocket() -> None:
    async def send_early_bytes() -> None:
        async with stock(sample(QuartTrio, Sample())) as server:
            client = await server.connect()
            await client.send(request("GET", "/", *upgrade("websocket")) + b"\x81\x05hello")
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup):
        await send_early_bytes()


async def test_stock_speaks_http2_in_the_clear() -> None:
    async with stock(sample(QuartTrio, Sample())) as server:
        client = await server.connect()
        await client.send(h2_request("/"))
        assert not (await client.stream.receive_some(65536)).startswith(b"HTTP/1.1")


def upgrade(protocol: str) -> tuple[str, ...]:
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    return ("Connection: Upgrade", f"Upgrade: {protocol}", key, "Sec-WebSocket-Version: 13")


async def test_http2_is_refused() -> None:
    async with serving(sample(Api, Sample())) as server:
        client = await server.connect()
        await client.send(h2_request("/é"))
        answer = await client.answer()
        assert (answer.status, answer.headers["content-type"]) == (505, "application/problem+json")
        assert await client.closed()
        assert (await (await server.connect()).get()).status == 200


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
async def test_an_upgrade_is_ignored(protocol: str) -> None:
    async with serving(sample(Api, Sample())) as server:
        client = await server.connect()
        assert (await client.get("/", *upgrade(protocol))).body == b"ok"
        assert (await client.get("/")).body == b"ok"
        await client.send(b"\x81\x05hello\r\n\r\n")
        assert (await client.answer()).status == 400


async def test_an_exception_in_one_connection_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(sample(Api, Sample())) as server:
        healthy, broken = await server.connect(), await server.connect()
        await healthy.get()
        await broken.get()
        await trio.testing.wait_all_tasks_blocked()
        original = Connection.enter

        def fail_once(self: Connection, phase: Any) -> None:
            monkeypatch.setattr(Connection, "enter", original)
            raise RuntimeError("deliberate")

        monkeypatch.setattr(Connection, "enter", fail_once)
        with caplog.at_level(logging.ERROR, "hookd.api"):
            await broken.send(request("GET", "/"))
            assert await broken.closed()
        assert "deliberate" in caplog.text
        assert (await healthy.get()).status == 200


# 3. A client that stops reading blocks shutdown and cancellation.


async def test_stock_waits_for_a_client_that_does_not_read() -> None:
    async with stock(sample(QuartTrio, Sample())) as server:
        client = await server.connect()
        await client.send(request("GET", "/big"))
        await trio.testing.wait_all_tasks_blocked(0.05)
        server.stop.set()
        with trio.move_on_after(PATIENCE):
            await server.stopped.wait()
        assert not server.stopped.is_set()
        await client.stream.aclose()


async def test_a_client_that_does_not_read_meets_the_write_timeout() -> None:
    async with serving(sample(Api, Sample()), ServerLimits(write_timeout=0.1)) as server:
        client = await server.connect()
        await client.send(request("GET", "/big"))
        await trio.testing.wait_all_tasks_blocked(0.05)  # the answer is under way
        await trio.sleep(PATIENCE)
        received = 0
        with suppress(trio.BrokenResourceError):
            while data := await client.stream.receive_some(1 << 20):
                received += len(data)
        assert received < BIG


async def test_a_client_that_does_not_read_cannot_delay_the_stop() -> None:
    async with serving(sample(Api, Sample()), ServerLimits(drain_timeout=0.1)) as server:
        client = await server.connect()
        await client.send(request("GET", "/big"))
        await trio.testing.wait_all_tasks_blocked(0.05)
        server.stop.set()
        with trio.fail_after(30):
            await server.stopped.wait()


async def test_slow_clients_do_not_hold_up_the_stop() -> None:
    app = sample(Api, Sample())

    @app.post("/read")
    async def read() -> bytes:
        return await read_body(current_request().incoming, limit=100)

    async with serving(app, ServerLimits(drain_timeout=3600)) as server:
        starts = [
            b"",
            b"GET / HTTP/1.1\r\n",
            request("POST", "/read", "Content-Length: 9"),
            request("GET", "/big"),
        ]
        for sent in starts:
            await (await server.connect()).send(sent)
        await trio.testing.wait_all_tasks_blocked(0.05)
        server.stop.set()
        with trio.fail_after(30):
            await server.stopped.wait()


# 4. No limit on connections, and a failed start-up reported as a success.


def failing(kind: type[QuartTrio]) -> QuartTrio:
    app = sample(kind, Sample())

    @app.before_serving
    async def fail() -> None:
        raise RuntimeError("deliberate")

    return app


async def test_stock_reports_started_before_a_failed_start_up() -> None:
    reported = trio.Event()

    async def start() -> None:
        async with stock(failing(QuartTrio)):
            reported.set()
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup):
        await start()
    assert reported.is_set()


async def test_a_failed_start_up_is_no_start() -> None:
    reported = trio.Event()

    async def start() -> None:
        async with serving(failing(Api)):
            reported.set()

    with pytest.raises(BaseExceptionGroup) as caught:
        await start()
    assert caught.group_contains(RuntimeError, match="deliberate")
    assert not reported.is_set()


async def open_clients(server: Running, count: int) -> list[RawClient]:
    clients = [await server.connect() for _ in range(count)]
    for client in clients:
        await client.send(request("GET", "/wait"))
    return clients


async def test_stock_takes_any_number_of_connections() -> None:
    seen = Sample()
    async with stock(sample(QuartTrio, seen)) as server:
        clients = await open_clients(server, 20)
        await trio.testing.wait_all_tasks_blocked(0.05)
        seen.go_on.set()
        assert {(await client.answer()).status for client in clients} == {200}


async def test_connections_beyond_the_limit_get_503() -> None:
    seen = Sample()
    async with serving(sample(Api, seen), ServerLimits(max_connections=2)) as server:
        clients = await open_clients(server, 2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        refused = await server.connect()
        answer: Answer = await refused.get()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert await refused.closed()
        seen.go_on.set()
        assert [(await client.answer()).status for client in clients] == [200, 200]


async def test_an_idle_connection_makes_room_for_a_new_one() -> None:
    async with serving(sample(Api, Sample()), ServerLimits(max_connections=2)) as server:
        oldest, newer = await server.connect(), await server.connect()
        assert (await oldest.get()).status == 200
        assert (await newer.get()).status == 200
        assert (await (await server.connect()).get()).status == 200
        assert await oldest.closed()
        assert (await newer.get()).status == 200


async def hang(server: Running, count: int, sent: bytes) -> list[RawClient]:
    clients = [await server.connect() for _ in range(count)]
    for client in clients:
        await client.send(sent)
    await trio.testing.wait_all_tasks_blocked(0.05)
    return clients


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_whoever_has_not_sent_a_header_makes_room_oldest_first(sent: bytes) -> None:
    async with serving(sample(Api, Sample()), ServerLimits(max_connections=3)) as server:
        oldest, *others = await hang(server, 3, sent)
        assert (await (await server.connect()).get()).status == 200
        if sent:
            assert (await oldest.answer()).status == 408
        assert await oldest.closed()
        for other in others[1:]:
            await other.send(request("GET", "/") if not sent else b"x\r\n\r\n")
            assert (await other.answer()).status == 200


async def test_a_body_that_does_not_come_makes_room_and_is_told() -> None:
    async with serving(World().app(), ServerLimits(max_connections=2)) as server:
        headers = ("Content-Type: application/json", f"Authorization: Bearer {token('publisher')}")
        start = request("POST", "/events", *headers, "Content-Length: 100") + b"{"
        oldest, _ = await hang(server, 2, start)
        assert (await (await server.connect()).get("/health/live")).status == 200
        assert (await oldest.answer("POST")).status == 408
        assert await oldest.closed()


async def test_a_body_that_keeps_the_pace_makes_no_room() -> None:
    length = 2_000_000
    async with serving(World().app(), ServerLimits(max_connections=1, read_timeout=GRACE / 2)) as server:
        client = await server.connect()
        headers = ("Content-Type: application/json", f"Authorization: Bearer {token('publisher')}")
        await client.send(request("POST", "/events", *headers, f"Content-Length: {length}"))
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                while True:  # for longer than the read timeout, and than the next client waits
                    await client.send(b"x" * 20_000)
                    await trio.sleep(GRACE / 10)

            nursery.start_soon(upload)
            assert (await (await server.connect()).get("/health/live")).status == 503
            nursery.cancel_scope.cancel()
        await client.send(b"x" * length)
        assert (await client.answer("POST")).status == 400


async def test_who_does_not_take_an_answer_makes_room() -> None:
    async with serving(sample(Api, Sample()), ServerLimits(max_connections=2)) as server:
        await hang(server, 2, request("GET", "/big"))
        for _ in range(2):
            assert (await (await server.connect()).get()).status == 200


async def test_who_waits_for_our_answer_makes_no_room() -> None:
    seen = Sample()
    async with serving(sample(Api, seen), ServerLimits(max_connections=1, read_timeout=0.1)) as server:
        client = await server.connect()
        # The handler does not read the body, so it is not the client's time that passes.
        await client.send(request("POST", "/wait", "Content-Length: 1000000") + b"x" * 140_000)
        await seen.entered.wait()
        await trio.sleep(GRACE)
        assert (await (await server.connect()).get()).status == 503
        seen.go_on.set()
        assert (await client.answer("POST")).body == b"done"


# 5. A client's half-close cancels the handler.


async def half_close(server: Running, seen: Sample) -> RawClient:
    client = await server.connect()
    await client.send(request("GET", "/wait"))
    await seen.entered.wait()
    await client.stream.send_eof()
    await trio.testing.wait_all_tasks_blocked(0.05)
    seen.go_on.set()
    await trio.testing.wait_all_tasks_blocked(0.05)
    return client


async def test_stock_cancels_the_handler_at_half_close() -> None:
    seen = Sample()
    async with stock(sample(QuartTrio, seen)) as server:
        await half_close(server, seen)
        assert seen.outcome == "cancelled"


async def test_stock_cancels_the_handler_when_the_client_goes() -> None:
    seen = Sample()
    async with stock(sample(QuartTrio, seen)) as server:
        client = await server.connect()
        await client.send(request("GET", "/wait"))
        await seen.entered.wait()
        await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert seen.outcome == "cancelled"


async def test_half_close_cancels_nothing_and_is_answered() -> None:
    seen = Sample()
    async with serving(sample(Api, seen)) as server:
        client = await half_close(server, seen)
        assert seen.outcome == "finished"
        assert (await client.answer()).body == b"done"
        assert await client.closed()


async def test_a_client_that_goes_cancels_nothing() -> None:
    seen = Sample()
    async with serving(sample(Api, seen)) as server:
        client = await server.connect()
        await client.send(request("GET", "/wait"))
        await seen.entered.wait()
        await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.05)
        seen.go_on.set()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert seen.outcome == "finished"


# 6. A body that nobody reads is taken into memory.


async def push(server: Running, pieces: int) -> int:
    """Send a chunked body to a handler that does not read it; return how many pieces of 64 KiB went."""
    client = await server.connect()
    await client.send(request("POST", "/wait", "Transfer-Encoding: chunked"))
    sent = 0
    with trio.move_on_after(PATIENCE):
        for _ in range(pieces):
            await client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 1
    return sent


async def test_a_body_that_nobody_reads_stays_with_the_client() -> None:
    async with serving(sample(Api, Sample())) as server:
        assert await push(server, 400) < 400


async def test_413_comes_before_a_chunked_body_ends() -> None:
    world = World(settings=ApiSettings(TYPES, max_body=100_000))
    async with serving(world.app()) as server:
        client = await server.connect()
        authorization = f"Authorization: Bearer {token('publisher')}"
        headers = ("Transfer-Encoding: chunked", "Content-Type: application/json", authorization)
        await client.send(request("POST", "/events", *headers))
        for _ in range(4):
            await client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        answer = await client.answer("POST")
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await client.closed()


# 7. The access log copies the environment for each request.


async def test_stock_copies_the_environment_into_each_log_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKD_SAMPLE", "copied")
    scope: Any = {
        "headers": [],
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "scheme": "http",
    }
    assert AccessLogAtoms(scope, {"status": 200, "headers": []}, 0.0)["{hookd_sample}e"] == "copied"


async def test_one_line_is_logged_for_each_request(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(World().app()) as server:
        with caplog.at_level(logging.DEBUG, "hookd.api"):
            await (await server.connect()).get(
                "/health/live", "X-Request-Id: mine", "Authorization: Bearer x.y.z"
            )
            await trio.testing.wait_all_tasks_blocked()
    [record] = [record for record in caplog.records if record.name == "hookd.api"]
    logged = vars(record)
    assert (logged["method"], logged["route"], logged["status"]) == ("GET", "/health/live", 200)
    assert (logged["request_id"], logged["org"]) == ("mine", None)
    assert logged["duration_ms"] >= 0
    assert "x.y.z" not in str(logged)
