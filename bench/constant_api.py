"""A Quart-Trio handler that reads the body and answers a constant, under stock Hypercorn: to compare with.

    python -m bench.constant_api

Prints its address when it is ready.
"""

import socket

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import request
from quart_trio import QuartTrio

from daemon.uuid7 import uuid7

app = QuartTrio(__name__)
ANSWER = {"id": str(uuid7())}


@app.post("/events")
async def events() -> tuple[dict[str, str], int]:
    """Answer as POST /events does."""
    await request.get_data()
    return ANSWER, 202


async def main() -> None:
    """Serve until SIGTERM."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        config = Config()
        config.bind = [f"fd://{sock.fileno()}"]
        config.accesslog = config.errorlog = None
        async with trio.open_nursery() as nursery:
            binds = await nursery.start(serve, app, config)
            print(f"ready on {sock.getsockname()[1]} ({len(binds)} listener)", flush=True)


if __name__ == "__main__":
    trio.run(main)
