"""A receiver that hangs: takes connections and requests at all local addresses, and answers none.

    python -m bench.silent_receiver PORT

Listens on every address, so that each of 127.0.0.0/8 is a host that hangs.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import end, first_line, spawn
from bench.receiving import addresses, free_port


@contextmanager
def silent(directory: Path, *, hosts: int) -> Iterator[list[str]]:
    """Run one for the block and give a URL for each host. Error: `CannotRun`."""
    directory.mkdir(parents=True)
    listened = addresses(hosts)
    port, log = free_port("0.0.0.0"), directory / "receiver.log"
    process = spawn([sys.executable, "-m", "bench.silent_receiver", str(port)], log)
    first_line(process, log)
    try:
        yield [f"http://{one}:{port}/hook" for one in listened]
    finally:
        end(process)


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    # A plain Protocol drops what comes and closes only when the other end does.
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "0.0.0.0", port, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
