"""The application's answers on one connection, and the task in which each is made."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from typing import Protocol

import trio
from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope

logger = logging.getLogger("hookd.api")


class Phase(Enum):
    """What a connection waits for: its next request, the rest of one, our answer, or its end."""

    IDLE = auto()
    READING = auto()
    ANSWERING = auto()
    CLOSING = auto()


class Reader(Protocol):
    """The connection, in whose task its requests are read."""

    phase: Phase

    @property
    def pauses(self) -> bool:
        """Tell whether nothing more is read before the answer."""

    async def ask_for_body(self) -> None:
        """Tell a client that keeps its body back that it may come."""

    def enter(self, phase: Phase) -> None:
        """Note what the connection waits for now."""


class Answers(TaskGroup):
    """Runs the application for Hypercorn's streams: for a request that has come whole in the reader's own
    task, else beside it, in the connection's nursery.

    A task of its own costs two turns of the loop, which others fill. `reader_answers`: the reader is at it.
    """

    def __init__(self, nursery: trio.Nursery, reader: Reader) -> None:
        super().__init__()
        self._nursery: trio.Nursery = nursery
        self._reader = reader
        self._next: Callable[[], Awaitable[None]] | None = None
        self.reader_answers = False

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Have the application answer one request; the result takes what the client sends as it is read."""
        # Room for one piece and the end: who does not read a body does not fill the memory with it.
        arriving, pieces = trio.open_memory_channel[ASGIReceiveEvent](2)

        async def receive() -> ASGIReceiveEvent:
            try:
                with suppress(trio.WouldBlock):
                    return pieces.receive_nowait()
                await self._reader.ask_for_body()
                return await pieces.receive()
            except trio.EndOfChannel:
                return {"type": "http.disconnect"}

        async def deliver(event: ASGIReceiveEvent) -> None:
            if event["type"] != "http.request":
                arriving.close()  # never waits, and frees a reader that does
                self._next = None  # who was refused for what followed the request is not to see it done
                return
            if not event["more_body"]:
                self._reader.enter(Phase.ANSWERING)
                if self._reader.pauses:
                    self._begin_beside()
            # Once the answer is given, nobody wants the rest of the body.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                try:
                    arriving.send_nowait(event)
                except trio.WouldBlock:
                    self._begin_beside()
                    await arriving.send(event)

        self._next = partial(self._run_app, app, scope, receive, send)
        return deliver

    async def begin(self, *, beside: bool) -> None:
        """Answer the request that has come whole, or begin to answer one of which some has come.

        `beside`: in any case in a task of its own, for the reader is being cancelled.
        """
        if beside or self._reader.phase is not Phase.ANSWERING:
            self._begin_beside()
        elif self._next is not None:
            answer, self._next = self._next, None
            self.reader_answers = True
            try:
                await answer()
            finally:
                self.reader_answers = False

    def _begin_beside(self) -> None:
        if self._next is not None:
            self._nursery.start_soon(self._next)
            self._next = None

    async def _run_app(
        self,
        app: AppWrapper,
        scope: Scope,
        receive: Callable[[], Awaitable[ASGIReceiveEvent]],
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> None:
        try:
            await app(scope, receive, send, trio.to_thread.run_sync, trio.from_thread.run)
        except Exception:
            repeats = {"repeats_as": "requests that ended in an unexpected error"}
            logger.exception(
                "a request ended in an unexpected error; its connection is closed", extra=repeats
            )
            await send(None)  # Hypercorn answers 500 if there was no answer yet
            self._reader.enter(Phase.CLOSING)
        else:
            await send(None)  # Hypercorn ends what the application left open
