"""The server's bounds and manners, over real sockets."""

# Covers api.http1.

import json
import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from api.connection import ServerLimits
from api.listeners import CannotListen, inherited_listeners, open_listeners
from api.quart_app import Api
from api.services import ApiSettings
from tests.support.api_harness import TYPES, Answer, Running, World, request, serving, token


def problem(answer: Answer, status: int) -> dict[str, object]:
    """Return the problem document of an answer that must have `status`."""
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, object] = json.loads(answer.body)
    assert document["status"] == status
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["detail"]
    return document


def gated() -> tuple[Api, trio.Event, trio.Event]:
    """Return an application whose one handler waits, the event that it was entered, and its gate."""
    app = Api("gated", static_folder=None)
    entered, gate = trio.Event(), trio.Event()

    @app.get("/wait")
    async def wait() -> str:
        entered.set()
        await gate.wait()
        return "done"

    return app, entered, gate


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"hello there\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: nine\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\nContent-length: 0\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
)
async def test_what_is_not_http_gets_a_problem_and_the_end(sent: bytes, status: int) -> None:
    async with serving(World().app()) as server:
        client = await server.connect()
        await client.send(sent)
        problem(await client.answer(), status)
        assert await client.closed()


@pytest.mark.parametrize(
    "line",
    [
        "GET //webhooks HTTP/1.1",
        "GET /webhooks// HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "CONNECT example.com:443 HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http://[/x HTTP/1.1",
        "GET ?x HTTP/1.1",
        "GET /%00%ff HTTP/1.1",
        "GET /%2e%2e/etc HTTP/1.1",
        "BREW /webhooks HTTP/1.1",
        "TRACE / HTTP/1.1",
    ],
)
async def test_odd_targets_and_methods_get_a_client_error(line: str) -> None:
    async with serving(World().app()) as server:
        client = await server.connect()
        await client.send(f"{line}\r\nHost: [::bad\r\n\r\n".encode())
        answer = await client.answer()
        assert 400 <= answer.status < 500 or line.startswith("OPTIONS")


async def test_a_header_that_dribbles_gets_408() -> None:
    async with serving(World().app(), ServerLimits(read_timeout=0.15, idle_timeout=30)) as server:
        client = await server.connect()
        await client.send(b"GET /health/live HTTP/1.1\r\n")
        async with trio.open_nursery() as nursery:

            async def dribble() -> None:
                while True:
                    await client.send(b"X: x\r\n")
                    await trio.sleep(0.02)

            nursery.start_soon(dribble)
            problem(await client.answer(), 408)
            nursery.cancel_scope.cancel()


async def test_a_body_that_dribbles_gets_408() -> None:
    async with serving(World().app(), ServerLimits(read_timeout=0.15)) as server:
        client = await server.connect()
        headers = ("Content-Type: application/json", f"Authorization: Bearer {token('publisher')}")
        await client.send(request("POST", "/events", *headers, "Content-Length: 100") + b'{"type"')
        problem(await client.answer("POST"), 408)
        assert await client.closed()


async def test_a_slow_answer_is_not_cut_by_the_read_or_idle_timeout() -> None:
    app, entered, gate = gated()
    async with serving(app, ServerLimits(read_timeout=0.05, idle_timeout=0.05)) as server:
        client = await server.connect()
        await client.send(request("GET", "/wait"))
        await entered.wait()
        await trio.sleep(0.15)
        gate.set()
        assert (await client.answer()).body == b"done"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving(World().app()) as server:
        client = await server.connect()
        await client.send(request("GET", "/health/live") + request("GET", "/nothing"))
        received = b""
        while received.count(b"HTTP/1.1 ") < 2 or b"not-found" not in received:
            received += await client.stream.receive_some(65536)
        assert received.index(b"HTTP/1.1 200") < received.index(b"HTTP/1.1 404")


async def test_a_refusal_without_reading_a_short_body_keeps_the_connection() -> None:
    async with serving(World().app()) as server:
        client = await server.connect()
        for _ in range(3):
            await client.send(request("POST", "/events", body=b'{"type": "x"}'))
            answer = await client.answer("POST")
            assert (answer.status, "connection" in answer.headers) == (401, False)


async def test_a_refusal_reaches_a_client_that_goes_on_sending() -> None:
    async with serving(World().app()) as server:
        client = await server.connect()
        await client.send(request("POST", "/events", "Content-Length: 100000000"))
        async with trio.open_nursery() as nursery:

            async def push() -> None:
                try:
                    while True:
                        await client.send(b"x" * 65536)
                except trio.BrokenResourceError:
                    pass

            nursery.start_soon(push)
            answer = await client.answer("POST")
            assert (answer.status, answer.headers["connection"]) == (401, "close")
            nursery.cancel_scope.cancel()


async def test_a_declared_length_over_the_limit_gets_413_at_once() -> None:
    world = World(settings=ApiSettings(TYPES, max_body=1000))
    async with serving(world.app()) as server:
        client = await server.connect()
        headers = ("Content-Type: application/json", f"Authorization: Bearer {token('publisher')}")
        await client.send(request("POST", "/events", *headers, "Content-Length: 1001"))
        problem(await client.answer("POST"), 413)


async def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    async with serving(World().app()) as server:
        client = await server.connect()
        headers = ("Content-Type: application/json", f"Authorization: Bearer {token('publisher')}")
        body = json.dumps({"type": TYPES[0], "data": None}).encode()
        length = f"Content-Length: {len(body)}"
        await client.send(request("POST", "/events", *headers, length, "Expect: 100-continue"))
        assert (await client.stream.receive_some(65536)).startswith(b"HTTP/1.1 100 ")
        await client.send(body)
        assert (await client.answer("POST")).status == 202


async def test_http_1_0_is_answered_and_closed() -> None:
    async with serving(World().app()) as server:
        client = await server.connect()
        await client.send(b"GET /health/live HTTP/1.0\r\n\r\n")
        assert (await client.answer()).status == 200
        assert await client.closed()


async def test_stop_lets_a_request_under_way_finish_and_takes_no_new_connection() -> None:
    app, entered, gate = gated()
    async with serving(app) as server:
        client = await server.connect()
        await client.send(request("GET", "/wait"))
        await entered.wait()
        server.stop.set()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError):
            await server.connect()
        assert not server.stopped.is_set()
        gate.set()
        answer = await client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"done", "close")
        await server.stopped.wait()


async def test_stop_cuts_what_does_not_end_in_time() -> None:
    app, entered, _ = gated()
    async with serving(app, ServerLimits(drain_timeout=0.1)) as server:
        client = await server.connect()
        await client.send(request("GET", "/wait"))
        await entered.wait()
        server.stop.set()
        await server.stopped.wait()
        assert await client.closed()


# Where it listens.


async def test_a_port_in_use_is_named_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=rf":{port}: another process .*api\.bind"):
            await open_listeners(f"127.0.0.1:{port}")


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.1:99999", "8080", "unix:relative", "192.0.2.1:0"])
async def test_a_bad_address_is_told_with_a_remedy(bind: str) -> None:
    with pytest.raises(CannotListen, match=r"api\.bind"):
        await open_listeners(bind)


async def get_live(server: Running) -> int:
    return (await (await server.connect()).get("/health/live")).status


async def test_a_unix_socket_is_served_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with serving(World().app(), bind=f"unix:{path}") as server:
        assert server.address == f"unix:{path}"
        assert await get_live(server) == 200
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        server.stop.set()
        await server.stopped.wait()
    assert not path.exists()


async def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(World().app(), bind=f"unix:{path}") as server:
        assert await get_live(server) == 200


async def test_a_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with serving(World().app(), bind=f"unix:{path}") as server:
        with pytest.raises(CannotListen, match="another process listens"):
            await open_listeners(f"unix:{path}")
        assert await get_live(server) == 200


async def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(CannotListen, match="a file is there"):
        await open_listeners(f"unix:{path}")
    assert path.read_text() == "data"


async def test_the_path_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    first = await open_listeners(f"unix:{path}")
    path.unlink()
    second = await open_listeners(f"unix:{path}")
    first.close()
    assert path.exists()
    second.close()
    assert not path.exists()


async def test_a_socket_from_systemd_is_served() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given, socket.socket() as spare:
        number = os.dup2(given.fileno(), spare.fileno())
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "api"}
        listeners = inherited_listeners(environ, first=number)
        spare.detach()
        assert listeners is not None
        assert environ == {}
        assert listeners.addresses() == [f"127.0.0.1:{given.getsockname()[1]}"]
        listeners.close()


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}],
)
async def test_sockets_for_another_process_are_not_taken(environ: dict[str, str]) -> None:
    assert inherited_listeners(environ) is None
    assert environ == {}


async def test_what_systemd_passes_must_listen() -> None:
    with socket.socket() as idle, socket.socket() as spare:
        number = os.dup2(idle.fileno(), spare.fileno())
        spare.detach()
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        with pytest.raises(CannotListen, match="ListenStream="):
            inherited_listeners(environ, first=number)
