"""A nameserver that knows one name and is silent about all others.

python -m bench.nameserver PORT ADDRESS
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rrset

from bench.processes import end, first_line, spawn
from bench.receiving import free_port

KNOWN = "heard.test"


class Answering(asyncio.DatagramProtocol):
    """Answers questions about KNOWN."""

    def __init__(self, address: str) -> None:
        self._address = address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to answer."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Answer, or keep silent."""
        asked = dns.message.from_wire(data)
        question = asked.question[0]
        if question.name.to_text(omit_final_dot=True).lower() != KNOWN:
            return
        answer = dns.message.make_response(asked)
        answer.flags |= dns.flags.RA
        if question.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(question.name, 5, "IN", "A", self._address))
        self._transport.sendto(answer.to_wire(), addr)


@contextmanager
def nameserver(directory: Path, address: str) -> Iterator[str]:
    """Run one for the block, which knows `KNOWN` at `address`; give its own address. Error: `CannotRun`."""
    directory.mkdir(parents=True)
    port, log = free_port("127.0.0.1"), directory / "nameserver.log"
    process = spawn([sys.executable, "-m", "bench.nameserver", str(port), address], log)
    first_line(process, log)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        end(process)


async def serve(port: int, address: str) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Answering(address), ("127.0.0.1", port))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
