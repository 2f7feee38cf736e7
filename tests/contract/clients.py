"""Clients that are generated from the served document, each driven against a daemon that really delivers.

Generated code is made in a directory of its own, anew each time.
"""

import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from uuid import uuid4

import httpx

from api.ndjson import MEDIA_TYPES
from tests.contract.tools import Tools, run
from tests.support.daemon import Daemon, running, token
from tests.support.receiver import receiving

HERE = Path(__file__).parent
ROLES = ("org_admin", "publisher", "platform")
Generated = Callable[[Tools, Path, Path], Awaitable[list[str]]]
"""Makes a client in a directory from a document; returns the command that drives it."""


async def clients(tools: Tools, work: Path, database: str) -> bool:
    """Generate each client and drive it; tell whether all was well."""
    settings = {"hosts__rate": 1000, "hosts__burst": 1000, "logging__level": "warning"}
    async with receiving() as receiver, running(work, database, **settings) as daemon:
        document = work / "openapi.json"
        async with httpx.AsyncClient(trust_env=False) as client:
            document.write_bytes((await client.get(daemon.address + "/openapi.json")).content)
        good = True
        for name, generate in CLIENTS.items():
            target = tools.build / name
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            try:
                await drive(tools, daemon, receiver.url(f"/{name}"), await generate(tools, document, target))
                print(f"{name} client: good")
            except (subprocess.CalledProcessError, AssertionError) as error:
                print(f"{name} client: FAILED: {error}")
                good = False
        return await daemon.stop() == 0 and good


async def drive(tools: Tools, daemon: Daemon, receiver: str, command: list[str]) -> None:
    """Run a client for an organisation of its own; raise unless it did what it should, and once."""
    org_id = uuid4()
    environ = {"HOOKD": daemon.address, "TOKEN": token(org_id, *ROLES), "RECEIVER": receiver}
    await run(tools, command, environ)
    async with daemon.client(org_id) as client:
        [subscription] = (await client.get("/webhooks/")).json()["data"]
        replays = (await client.get(f"/webhooks/{subscription['id']}/replays")).json()["data"]
    # A client that takes an answer for an error sends its request again.
    assert len(replays) == 2, f"it asked for {len(replays)} replays, not for 2"


async def python(tools: Tools, document: Path, target: Path) -> list[str]:
    """openapi-python-client, with its defaults: it knows no streams of lines, and says so."""
    generator = [tools.python("openapi-python-client"), "generate", "--meta=none"]
    output = await run(tools, [*generator, f"--path={document}", f"--output-path={target / 'hookd_client'}"])
    warned = re.findall(r"^WARNING .*\n+(.*)", output, re.MULTILINE)
    assert set(warned) <= {f"Unsupported content type {kind}" for kind in MEDIA_TYPES}, output
    program = shutil.copy(HERE / "python/client.py", target)
    return [tools.python("python"), str(program)]


async def typescript(tools: Tools, document: Path, target: Path) -> list[str]:
    """openapi-typescript with openapi-fetch, compiled by tsc's strict mode."""
    for name in ("typescript/client.ts", "typescript/tsconfig.json", "npm/package.json"):
        shutil.copy(HERE / name, target)
    (target / "node_modules").symlink_to(tools.node_modules)
    await run(tools, [tools.node("openapi-typescript"), str(document), f"--output={target / 'openapi.ts'}"])
    await run(tools, [tools.node("tsc"), "--project", str(target)])
    return ["node", str(target / "out/client.js")]


async def go(tools: Tools, document: Path, target: Path) -> list[str]:
    """OpenAPI Generator's Go, with its defaults."""
    generator = [tools.python("openapi-generator-cli"), "generate", "--generator-name=go"]
    properties = "--additional-properties=packageName=hookd,withGoMod=false"
    only = "--global-property=apis,models,supportingFiles,apiTests=false,modelTests=false"
    await run(
        tools, [*generator, f"--input-spec={document}", f"--output={target / 'hookd'}", properties, only]
    )
    shutil.copy(HERE / "go/main.go", target)
    (target / "go.mod").write_text("module contract\n\ngo 1.23\n")
    for command in ("vet", "build"):
        await run(tools, ["go", command, f"-C={target}", *(["-o=client"] if command == "build" else []), "."])
    return [str(target / "client")]


CLIENTS: Mapping[str, Generated] = {"python": python, "typescript": typescript, "go": go}
