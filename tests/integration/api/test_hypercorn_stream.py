"""Answers that are sent whole, in parts, and those that fail between the two."""

from collections.abc import Awaitable, Callable

import h11
import pytest
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart import Response

from api.quart_app import Api, ApiConnection
from tests.support.api_harness import RawClient, request, serving

Say = Callable[[ASGISendCallable], Awaitable[None]]
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


def body(text: bytes, *, more: bool = False) -> dict[str, object]:
    return {"type": "http.response.body", "body": text, "more_body": more}


async def whole(send: ASGISendCallable) -> None:
    await send(START)  # type: ignore[arg-type]
    await send(body(b"all of it"))  # type: ignore[arg-type]


async def in_parts(send: ASGISendCallable) -> None:
    await send(START)  # type: ignore[arg-type]
    await send(body(b"all ", more=True))  # type: ignore[arg-type]
    await send(body(b"of it"))  # type: ignore[arg-type]


async def with_blanks(send: ASGISendCallable) -> None:
    await send({**START, "headers": [(b"x-note", b" blanks around ")]})  # type: ignore[arg-type]
    await send(body(b""))  # type: ignore[arg-type]


async def longer_than_told(send: ASGISendCallable) -> None:
    await send({**START, "headers": [(b"content-length", b"2")]})  # type: ignore[arg-type]
    await send(body(b"more"))  # type: ignore[arg-type]


async def shorter_than_told(send: ASGISendCallable) -> None:
    await send({**START, "headers": [(b"content-length", b"9")]})  # type: ignore[arg-type]
    await send(body(b"less"))  # type: ignore[arg-type]


async def without_content(send: ASGISendCallable) -> None:
    await send({**START, "status": 204, "headers": []})  # type: ignore[arg-type]
    await send(body(b"never sent"))  # type: ignore[arg-type]


async def fails_with_the_head(send: ASGISendCallable) -> None:
    await send(START)  # type: ignore[arg-type]
    raise RuntimeError("there is no body")


async def leaves_after_the_head(send: ASGISendCallable) -> None:
    await send(START)  # type: ignore[arg-type]


async def fails_with_the_body(send: ASGISendCallable) -> None:
    await send(START)  # type: ignore[arg-type]
    await send(body(b"all ", more=True))  # type: ignore[arg-type]
    raise RuntimeError("there is no rest")


def saying(say: Say) -> Api:
    """Return an application that answers every request with `say`."""

    class Saying(ApiConnection):
        async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await say(send)

    app = Api("saying", static_folder=None)
    app.asgi_http_class = Saying
    return app


@pytest.mark.parametrize("say", [whole, in_parts])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_answer_is_the_same_whole_and_in_parts(say: Say, method: str) -> None:
    async with serving(saying(say)) as server:
        client = await server.connect()
        for _ in range(2):
            await client.send(request(method, "/"))
            answer = await client.answer(method)
            assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")
            assert answer.body == (b"" if method == "HEAD" else b"all of it")
            assert "date" in answer.headers


async def test_a_status_without_content_has_none() -> None:
    async with serving(saying(without_content)) as server:
        client = await server.connect()
        for _ in range(2):
            answer = await client.get()
            assert (answer.status, answer.body) == (204, b"")


async def test_blanks_around_a_value_are_not_sent() -> None:
    async with serving(saying(with_blanks)) as server:
        client = await server.connect()
        assert (await client.get()).headers["x-note"] == "blanks around"


@pytest.mark.parametrize("say", [longer_than_told, shorter_than_told])
async def test_an_answer_of_another_length_than_it_says_ends_its_connection_and_no_more(
    say: Say, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(saying(say)) as server:
        client = await server.connect()
        with pytest.raises((EOFError, h11.RemoteProtocolError)):
            await client.get()
        await _still_serves(await server.connect())
    assert {record.getMessage() for record in caplog.records} == {
        "a request ended in an unexpected error; its connection is closed"
    }


@pytest.mark.parametrize("say", [fails_with_the_head, leaves_after_the_head])
async def test_a_head_without_a_body_becomes_a_500(say: Say) -> None:
    async with serving(saying(say)) as server:
        client = await server.connect()
        assert (await client.get()).status == 500
        assert await client.closed()


async def test_an_answer_that_fails_amid_its_body_ends_the_connection() -> None:
    async with serving(saying(fails_with_the_body)) as server:
        client = await server.connect()
        with pytest.raises(h11.RemoteProtocolError):
            await client.get()
        await _still_serves(await server.connect())


async def _still_serves(client: RawClient) -> None:
    with pytest.raises((EOFError, h11.RemoteProtocolError)):
        await client.get()


async def test_a_request_that_was_refused_for_what_follows_it_is_not_handled() -> None:
    handled: list[None] = []

    async def noted(send: ASGISendCallable) -> None:
        handled.append(None)
        await whole(send)

    async with serving(saying(noted)) as server:
        client = await server.connect()
        lead = request("POST", "/", "Connection: close", body=b"all")
        await client.send(lead + b"more")
        assert (await client.answer()).status == 400
        assert await client.closed()
    assert not handled


async def test_an_answer_of_many_parts_that_quart_makes_is_sent_as_it_comes() -> None:
    app = Api("parts", static_folder=None)

    @app.get("/")
    async def parts() -> Response:
        async def made() -> object:
            for number in range(3):
                yield f"{number} "

        return Response(made())  # type: ignore[arg-type]

    async with serving(app) as server:
        client = await server.connect()
        for _ in range(2):
            assert (await client.get()).body == b"0 1 2 "
