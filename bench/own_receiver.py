"""A receiver for machines without nginx: reads requests with a Content-Length and answers 200, no more.

    python -m bench.own_receiver PORT CONTROL KEY_FILE ADDRESS…

CONTROL is a port of 127.0.0.1 on which is told how many connections and requests have come. KEY_FILE ""
means no TLS.
"""

import asyncio
import ssl
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Receiving(asyncio.Protocol):
    """One connection."""

    accepted = 0
    served = 0

    def __init__(self) -> None:
        self._missing = 0
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        Receiving.accepted += 1

    def data_received(self, data: bytes) -> None:
        """Answer each request that has come whole."""
        while data:
            if self._missing:
                taken = min(self._missing, len(data))
                self._missing -= taken
                data = data[taken:]
                if self._missing:
                    return
            else:
                data = self._rest + data
                head, end, after = data.partition(b"\r\n\r\n")
                if not end:
                    self._rest = data
                    return
                self._rest = b""
                length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
                body = int(length or 0)
                data, self._missing = after[body:], max(0, body - len(after))
                if self._missing:
                    return
            Receiving.served += 1
            self._transport.write(ANSWER)


async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Tell how many connections and requests have come."""
    text = f"{Receiving.accepted} {Receiving.served}"
    writer.write(f"HTTP/1.0 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
    await writer.drain()
    writer.close()


async def serve(port: int, control: int, key_file: str, addresses: list[str]) -> None:
    """Serve until the process is ended."""
    context = None
    if key_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(key_file)
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Receiving, addresses, port, ssl=context, backlog=1024)]
    servers.append(await asyncio.start_server(tell, "127.0.0.1", control))
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
