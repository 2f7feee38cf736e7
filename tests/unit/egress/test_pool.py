import socket
from collections.abc import Iterator
from uuid import uuid4

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from daemon.egress.pool import Pool
from daemon.egress.socket_stream import SocketStream
from daemon.egress.url import Origin

ORG, OTHER = uuid4(), uuid4()
A = (Origin("https", "a.test", 443), ORG)
B = (Origin("https", "b.test", 443), ORG)


class Wires:
    """Makes streams and keeps their other ends."""

    def __init__(self) -> None:
        self.peers: dict[SocketStream, socket.socket] = {}
        self.sockets: dict[SocketStream, socket.socket] = {}

    def __call__(self) -> SocketStream:
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        stream = SocketStream(ours)
        self.peers[stream] = peer
        self.sockets[stream] = ours
        return stream

    def is_closed(self, stream: SocketStream) -> bool:
        return self.sockets[stream].fileno() == -1

    def close(self) -> None:
        for sock in [*self.peers.values(), *self.sockets.values()]:
            sock.close()


@pytest.fixture
def streams() -> Iterator[Wires]:
    made = Wires()
    yield made
    made.close()


async def test_the_last_used_connection_of_the_origin_is_taken_first(streams: Wires) -> None:
    pool = Pool()
    first, second, other = streams(), streams(), streams()
    pool.give(A, first, trio.current_time())
    pool.give(B, other, trio.current_time())
    pool.give(A, second, trio.current_time())
    assert [
        pool.take(A, trio.current_time()),
        pool.take(A, trio.current_time()),
        pool.take(A, trio.current_time()),
    ] == [second, first, None]
    assert pool.take((Origin("http", "b.test", 443), ORG), trio.current_time()) is None
    assert pool.take((B[0], OTHER), trio.current_time()) is None
    assert pool.take((B[0], None), trio.current_time()) is None
    assert pool.take(B, trio.current_time()) is other
    assert len(pool) == 0


async def test_idle_connections_expire(streams: Wires, mock_clock: MockClock) -> None:
    pool = Pool(idle_timeout=30)
    stream = streams()
    pool.give(A, stream, trio.current_time())
    mock_clock.jump(30)
    assert pool.take(A, trio.current_time()) is None
    assert streams.is_closed(stream)


async def test_busy_connections_grow_too_old(streams: Wires, mock_clock: MockClock) -> None:
    pool = Pool(idle_timeout=30, max_age=60)
    stream = streams()
    for _ in range(2):
        pool.give(A, stream, trio.current_time())
        mock_clock.jump(25)
        assert pool.take(A, trio.current_time()) is stream
    mock_clock.jump(25)
    pool.give(A, stream, trio.current_time())
    assert streams.is_closed(stream)
    assert pool.take(A, trio.current_time()) is None


@pytest.mark.parametrize("event", ["data", "close"])
async def test_a_connection_on_which_something_came_is_not_taken(streams: Wires, event: str) -> None:
    pool = Pool()
    good, bad = streams(), streams()
    pool.give(A, good, trio.current_time())
    pool.give(A, bad, trio.current_time())
    if event == "data":
        streams.peers[bad].send(b"HTTP/1.1 200 OK\r\n\r\n")
    else:
        streams.peers[bad].close()
    assert pool.take(A, trio.current_time()) is good
    assert streams.is_closed(bad)


async def test_the_longest_unused_makes_room(streams: Wires) -> None:
    pool = Pool(max_idle=2)
    made = [streams() for _ in range(3)]
    theirs, third = (A[0], OTHER), (A[0], None)
    for stream, peer in zip(made, (A, theirs, third), strict=True):
        pool.give(peer, stream, trio.current_time())
    assert [streams.is_closed(stream) for stream in made] == [True, False, False]
    assert pool.take(A, trio.current_time()) is None
    assert len(pool) == 2


async def test_one_organisation_cannot_take_the_place_of_all_others(streams: Wires) -> None:
    pool = Pool(max_idle=8)
    theirs = [streams() for _ in range(4)]
    for stream in theirs:
        pool.give((A[0], OTHER), stream, trio.current_time())
    greedy = [streams() for _ in range(100)]
    for number, stream in enumerate(greedy):
        origin = Origin("https", f"{number}.test", 443)
        pool.give((origin, ORG), stream, trio.current_time())
    assert not any(streams.is_closed(stream) for stream in theirs)
    assert [streams.is_closed(stream) for stream in greedy] == [True] * 96 + [False] * 4
    assert len(pool) == 8


async def test_the_sweep_closes_what_nobody_asks_for(streams: Wires, mock_clock: MockClock) -> None:
    pool = Pool(idle_timeout=30)
    old, young = streams(), streams()
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.serve)
        pool.give(A, old, trio.current_time())
        mock_clock.jump(20)
        pool.give(B, young, trio.current_time())
        mock_clock.jump(10)
        await wait_all_tasks_blocked()
        assert streams.is_closed(old)
        assert not streams.is_closed(young)
        nursery.cancel_scope.cancel()
    assert streams.is_closed(young)


async def test_a_closed_pool_keeps_nothing(streams: Wires) -> None:
    pool = Pool()
    kept, late = streams(), streams()
    pool.give(A, kept, trio.current_time())
    pool.close()
    pool.give(A, late, trio.current_time())
    assert streams.is_closed(kept)
    assert streams.is_closed(late)
    assert pool.take(A, trio.current_time()) is None


async def test_nothing_is_kept_of_a_distrusted_peer_for_a_while(streams: Wires) -> None:
    pool = Pool(max_age=300.0, max_idle=2)
    idle, kept = streams(), streams()
    pool.give(A, idle, 0.0)
    pool.give(B, kept, 0.0)
    pool.distrust(A, 0.0)
    assert streams.is_closed(idle)
    late = streams()
    pool.give(A, late, 1.0)
    assert (streams.is_closed(late), streams.is_closed(kept), len(pool)) == (True, False, 1)
    again = streams()
    again.opened = 299.0
    pool.give(A, again, 300.0)
    assert pool.take(A, 301.0) is again


async def test_the_distrusted_are_bounded(streams: Wires) -> None:
    pool = Pool(max_idle=2)
    for number in range(3):
        pool.distrust((Origin("https", f"{number}.test", 443), ORG), 0.0)
    forgotten, remembered = streams(), streams()
    pool.give((Origin("https", "0.test", 443), ORG), forgotten, 1.0)
    pool.give((Origin("https", "2.test", 443), ORG), remembered, 1.0)
    assert (streams.is_closed(forgotten), streams.is_closed(remembered)) == (False, True)
