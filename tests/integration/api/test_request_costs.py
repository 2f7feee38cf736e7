"""What a request costs those who come with it: garbage to collect, and turns of the loop."""

import gc

import pytest
import trio

from api.connection import Connection
from api.quart_app import Api
from tests.support.api_harness import request, serving


def tasks() -> tuple[Api, list[trio.lowlevel.Task]]:
    """Return an application that notes the task of each request that it answers."""
    app = Api("tasks", static_folder=None)
    seen: list[trio.lowlevel.Task] = []

    @app.route("/plain", methods=["GET", "POST"])
    async def plain() -> str:
        seen.append(trio.lowlevel.current_task())
        return "plain"

    @app.get("/of/<int:number>")
    async def varying(number: int) -> str:
        return str(number)

    return app, seen


async def test_requests_leave_no_cycles_behind() -> None:
    app, _ = tasks()
    async with serving(app) as server:
        client = await server.connect()
        await client.get("/plain")
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                assert (await client.get("/plain")).body == b"plain"
            left = gc.collect()
        finally:
            gc.enable()
    assert left < 50


async def test_a_route_that_is_known_is_the_same_route() -> None:
    app, _ = tasks()
    async with serving(app) as server:
        client = await server.connect()
        for _ in range(2):
            assert (await client.get("/plain")).body == b"plain"
            assert (await client.get("/plain/")).body == b"plain"
            assert [(await client.get(f"/of/{number}")).body for number in (1, 2)] == [b"1", b"2"]
            for path in ("/unknown", "/of/x"):
                assert (await client.get(path)).status == 404
            await client.send(request("HEAD", "/plain"))
            answer = await client.answer("HEAD")
            assert (answer.status, answer.body) == (200, b"")
            await client.send(request("DELETE", "/plain"))
            assert (await client.answer()).status == 405
            await client.send(request("OPTIONS", "/plain"))
            assert (await client.answer()).headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert set(app.plain_routes) == {(method, "/plain") for method in ("GET", "HEAD")}


async def test_routes_are_found_whatever_the_host_field_says() -> None:
    app, _ = tasks()
    async with serving(app) as server:
        for host in ("a" * 300, "[::1", "\xe4 b:99999", ""):
            for path, status in (("/plain", 200), ("/of/1", 200), ("/unknown", 404)):
                client = await server.connect()
                await client.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
                assert (await client.answer()).status == status, (host, path)


async def test_a_request_that_has_come_whole_is_answered_by_who_read_it() -> None:
    app, seen = tasks()
    async with serving(app) as server:
        client = await server.connect()
        for _ in range(2):
            await client.get("/plain")
        await client.send(request("POST", "/plain", body=b"a body"))
        assert (await client.answer()).status == 200
    assert len(set(seen)) == 1


@pytest.mark.parametrize(
    "pieces",
    [
        (request("GET", "/plain") * 2,),
        (request("POST", "/plain", "Content-Length: 2"), b"a", b"b"),
        (request("POST", "/plain", "Transfer-Encoding: chunked") + b"1\r\na\r\n" * 5 + b"0\r\n\r\n",),
        (request("GET", "/plain", "Connection: Upgrade", "Upgrade: h2c"),),
        (request("POST", "/plain", "Expect: 100-continue", "Content-Length: 2"), b"ab"),
        (request("POST", "/plain", "Content-Length: 2") + b"ab" + request("GET", "/plain"),),
    ],
    ids=["pipelined", "in pieces", "chunked", "upgrade", "continue", "body and next"],
)
async def test_other_requests_are_answered_beside_the_reader(pieces: tuple[bytes, ...]) -> None:
    app, seen = tasks()
    async with serving(app) as server:
        client = await server.connect()
        await client.get("/plain")
        for piece in pieces:
            await client.send(piece)
            await trio.testing.wait_all_tasks_blocked()
        assert (await client.answer()).body == b"plain"
        last = await server.connect()
        assert (await last.get("/plain")).body == b"plain"
    assert len(set(seen)) == 3


async def test_an_answer_by_the_reader_may_end_the_connection() -> None:
    app, _ = tasks()
    async with serving(app) as server:
        client = await server.connect()
        assert (await client.get("/plain", "Connection: close")).body == b"plain"
        assert await client.closed()


async def test_a_deadline_in_the_turn_in_which_a_request_comes_does_not_cut_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Api("slow", static_folder=None)

    @app.get("/")
    async def handler() -> str:
        await trio.lowlevel.checkpoint()
        return "whole"

    receive = Connection._receive

    async def too_late(self: Connection) -> bytes:
        data = await receive(self)
        self._clock.cancel()
        return data

    monkeypatch.setattr(Connection, "_receive", too_late)
    async with serving(app) as server:
        client = await server.connect()
        assert (await client.get("/")).body == b"whole"
        assert await client.closed()


async def test_what_comes_behind_the_last_request_does_not_reset_its_answer() -> None:
    app = Api("gated", static_folder=None)
    entered, gate = trio.Event(), trio.Event()

    @app.get("/")
    async def handler() -> str:
        entered.set()
        await gate.wait()
        return "last"

    async with serving(app) as server:
        client = await server.connect()
        await client.send(request("GET", "/", "Connection: close"))
        await entered.wait()
        await client.send(request("GET", "/") * 100)
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.answer()).body == b"last"
        assert await client.stream.receive_some(1) == b"", "an end, and no reset"
