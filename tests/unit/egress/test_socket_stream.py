import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from daemon.egress.shared_epoll import SharedEpoll
from daemon.egress.socket_stream import SocketStream


@dataclass(slots=True)
class Kept:
    """A kept stream, its other end, and what it is told by."""

    stream: SocketStream
    peer: socket.socket
    epoll: SharedEpoll


@asynccontextmanager
async def kept() -> AsyncIterator[Kept]:
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    stream, epoll = SocketStream(ours), SharedEpoll()
    stream.keep(epoll)
    with peer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(epoll.serve)
            with trio.fail_after(30):
                yield Kept(stream, peer, epoll)
            nursery.cancel_scope.cancel()
        stream.close()


async def test_each_piece_is_told_of() -> None:
    async with kept() as k, trio.open_nursery() as nursery:
        got: list[bytes] = []

        async def read() -> None:
            while data := await k.stream.receive(100):
                got.append(data)

        nursery.start_soon(read)
        for piece in (b"a", b"b" * 100, b"c"):
            await wait_all_tasks_blocked()
            k.peer.send(piece)
        await wait_all_tasks_blocked()
        k.peer.close()
    assert got == [b"a", b"b" * 100, b"c"]


@pytest.mark.parametrize("size", [2, 4, 100])
async def test_what_came_at_once_is_read_to_its_end(size: int) -> None:
    # The kernel tells but once of the bytes and the end behind them.
    async with kept() as k:
        k.peer.send(b"abcd")
        k.peer.close()
        await wait_all_tasks_blocked()
        got = b""
        while data := await k.stream.receive(size):
            got += data
        assert got == b"abcd"


async def test_the_end_is_heard_though_it_comes_after_the_news_of_the_bytes() -> None:
    async with kept() as k:
        k.peer.send(b"abcd")
        await wait_all_tasks_blocked()
        k.peer.close()  # nobody has been told of this when the bytes are read
        assert await k.stream.receive(100) == b"abcd"
        assert await k.stream.receive(100) == b""


async def test_a_reset_is_an_error_and_not_a_wait() -> None:
    async with kept() as k:
        k.stream.close()
        listener = socket.create_server(("127.0.0.1", 0))
        ours = socket.create_connection(listener.getsockname())
        ours.setblocking(False)
        peer, _ = listener.accept()
        listener.close()
        stream = SocketStream(ours)
        stream.keep(k.epoll)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        with pytest.raises(ConnectionResetError):
            await stream.receive(100)
        stream.close()


async def test_nobody_is_told_again_of_what_is_left_unread() -> None:
    told: list[int] = []
    epoll = SharedEpoll()
    ours, peer = socket.socketpair()
    with ours, peer:
        epoll.watch(ours.fileno(), told.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(epoll.serve)
            peer.send(b"a")
            await wait_all_tasks_blocked()
            await wait_all_tasks_blocked()
            assert len(told) == 1
            nursery.cancel_scope.cancel()
        epoll.forget(ours.fileno())


async def test_a_cancelled_wait_takes_nothing_along() -> None:
    async with kept() as k:
        with trio.CancelScope() as scope:
            scope.cancel()
            await k.stream.receive(100)
        k.peer.send(b"late")
        await wait_all_tasks_blocked()  # a task that no longer waits is not woken out of its next wait
        assert await k.stream.receive(100) == b"late"


async def test_an_interrupted_wait_fails_and_one_more_can_be_had() -> None:
    async with kept() as k, trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await k.stream.receive(100)
            assert await k.stream.receive(100) == b"x"

        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        k.stream.interrupt()
        await wait_all_tasks_blocked()
        k.peer.send(b"x")


async def test_what_came_before_the_interruption_was_heard_is_read() -> None:
    async with kept() as k, trio.open_nursery() as nursery:

        async def read() -> None:
            assert await k.stream.receive(100) == b"x"

        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        k.peer.send(b"x")
        await wait_all_tasks_blocked()
        k.stream.interrupt()


async def test_each_read_lets_others_have_a_turn_and_can_be_interrupted_though_there_is_always_more() -> None:
    async with kept() as k, trio.open_nursery() as nursery:
        reads = turns = 0
        interrupted = trio.Event()

        async def read() -> None:
            nonlocal reads
            with suppress(trio.ClosedResourceError):
                while await k.stream.receive(1):
                    reads += 1
            interrupted.set()

        k.peer.send(b"x" * 1000)
        nursery.start_soon(read)
        while reads < 100:
            await trio.lowlevel.checkpoint()
            turns += 1
        assert turns >= reads - 1  # either may be the first in a turn of the loop
        while not interrupted.is_set():  # who has just been woken does not hear it, and is asked again
            k.stream.interrupt()
            await trio.lowlevel.checkpoint()
        assert reads < 1000


@pytest.mark.parametrize("wait", [SocketStream.wait_for_either, SocketStream.wait_for_room])
async def test_a_send_that_is_stuck_can_be_interrupted(
    wait: Callable[[SocketStream], Awaitable[None]],
) -> None:
    async with kept() as k, trio.open_nursery() as nursery:
        assert k.stream.send_now(b"x" * 10_000_000)

        async def write() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await wait(k.stream)

        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        k.stream.interrupt()


async def test_a_closed_wire_hears_nothing_of_the_next_one_with_its_number() -> None:
    async with kept() as k:
        k.stream.close()
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        with peer:
            again = SocketStream(ours)
            again.keep(k.epoll)
            peer.send(b"x")
            assert await again.receive(100) == b"x"
            again.close()
            again.close()


@pytest.mark.parametrize("size", [1, 100])
async def test_a_kept_wire_is_quiet_until_something_comes(size: int) -> None:
    async with kept() as k:
        assert k.stream.is_quiet()
        k.peer.send(b"x")
        assert await k.stream.receive(size) == b"x"
        assert k.stream.is_quiet()
        k.peer.send(b"unasked")
        assert not k.stream.is_quiet(), "though the loop has not been told yet"
        await wait_all_tasks_blocked()
        assert not k.stream.is_quiet()


async def test_a_kept_wire_is_not_quiet_once_its_peer_has_closed() -> None:
    async with kept() as k:
        k.peer.send(b"x")
        assert await k.stream.receive(100) == b"x"
        k.peer.close()
        await wait_all_tasks_blocked()
        assert not k.stream.is_quiet()
