"""A pooler as PgBouncer 1.18 is in transaction mode: each transaction gets whichever session is free.

It refuses startup parameters that it does not know, and prepared statements stay behind in the session.
"""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import trio

SSL_REQUEST = 80877103
KNOWN = {"user", "database", "client_encoding", "application_name", "DateStyle", "TimeZone"} | {
    "standard_conforming_strings"
}
END_OF_DESCRIPTION = b"TnE"
"""RowDescription, NoData, ErrorResponse."""


@asynccontextmanager
async def pooling(url: str) -> AsyncIterator[str]:
    """Give the URL of a pooler before the Postgres of `url`, which listens on a Unix socket."""
    parts = urlsplit(url)
    directory = parse_qs(parts.query)["host"][0]
    pooler = _Pooler(f"{directory}/.s.PGSQL.5432", parts.username or "postgres", parts.path[1:])
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, pooler.serve, 0)
        port = listeners[0].socket.getsockname()[1]
        yield f"postgresql://{pooler.user}@127.0.0.1:{port}/{pooler.database}"
        nursery.cancel_scope.cancel()


class _Wire:
    """Messages of the protocol, one at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = b""

    async def exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = await self.stream.receive_some()
            if not data:
                raise trio.BrokenResourceError
            self._buffer += data
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    async def message(self) -> tuple[bytes, bytes]:
        """Return the type of the next message and all of it."""
        head = await self.exactly(5)
        return head[:1], head + await self.exactly(struct.unpack("!i", head[1:])[0] - 4)

    async def startup(self) -> bytes:
        length = await self.exactly(4)
        return await self.exactly(struct.unpack("!i", length)[0] - 4)


class _Pooler:
    def __init__(self, path: str, user: str, database: str) -> None:
        self._path, self.user, self.database = path, user, database
        self._idle: list[_Wire] = []
        self._greeting = b""

    async def serve(self, stream: trio.SocketStream) -> None:
        client = _Wire(stream)
        session: _Wire | None = None
        try:
            if not await self._greet(client):
                return
            while True:
                kind, message = await client.message()
                if kind == b"X":
                    return
                session = session or await self._session()
                await session.stream.send_all(message)
                if kind in b"SQ" and await _answer(session, client, b"Z") == b"I":
                    self._idle.append(session)
                    session = None
                elif kind == b"H":
                    await _answer(session, client, END_OF_DESCRIPTION)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            if session is not None:
                await trio.aclose_forcefully(session.stream)

    async def _greet(self, client: _Wire) -> bool:
        payload = await client.startup()
        if struct.unpack("!i", payload[:4])[0] == SSL_REQUEST:
            await client.stream.send_all(b"N")
            payload = await client.startup()
        names = payload[4:].split(b"\0")[:-2:2]
        unknown = [name.decode() for name in names if name.decode() not in KNOWN]
        if unknown:
            text = f"unsupported startup parameter: {unknown[0]}"
            fields = f"SFATAL\0VFATAL\0C08P01\0M{text}\0\0".encode()
            await client.stream.send_all(b"E" + struct.pack("!i", 4 + len(fields)) + fields)
            return False
        self._idle.append(await self._session())
        key = b"K" + struct.pack("!iii", 12, 1, 1)
        await client.stream.send_all(self._greeting + key + b"Z" + struct.pack("!i", 5) + b"I")
        return True

    async def _session(self) -> _Wire:
        """Return the session that was used last of those that are free, or else a new one."""
        if self._idle:
            return self._idle.pop()
        session = _Wire(await trio.open_unix_socket(self._path))
        payload = struct.pack("!i", 196608) + f"user\0{self.user}\0database\0{self.database}\0\0".encode()
        await session.stream.send_all(struct.pack("!i", 4 + len(payload)) + payload)
        greeting = b""
        while (answer := await session.message())[0] != b"Z":
            greeting += answer[1] if answer[0] in b"RS" else b""
        self._greeting = greeting
        return session


async def _answer(session: _Wire, client: _Wire, last: bytes) -> bytes:
    """Pass messages on up to one of the kinds `last`; return the end of that."""
    while True:
        kind, message = await session.message()
        await client.stream.send_all(message)
        if kind in last:
            return message[-1:]
