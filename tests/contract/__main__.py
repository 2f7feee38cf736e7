"""What the daemon serves, held against its own OpenAPI document by tools that know nothing else of it.

    python -m tests.contract [--tools .venv-contract/bin] [--cases 5000]

Schemathesis makes up requests, good and bad, and judges the answers with all its checks; then a client that
openapi-python-client generates sends the examples of the platform's page. Exits with 1 on any failure.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import trio

from tests.support.daemon import Daemon, running, token
from tests.support.postgres import fresh_database, migrated_template, reachable_directory, server

HERE = Path(__file__).parent
ROLES = ("org_admin", "publisher", "platform")
NOWHERE = "127.0.0.1:9"
"""No name server answers here, so that nothing is sent to the hosts that URLs name."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.contract", description=__doc__)
    parser.add_argument("--tools", type=Path, default=HERE.parents[1] / ".venv-contract/bin")
    parser.add_argument("--cases", type=int, default=5000, help="the fewest cases that will do")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    with (
        reachable_directory() as directory,
        server(directory) as url,
        fresh_database(url, migrated_template(url)) as database,
        tempfile.TemporaryDirectory() as work,
    ):
        return trio.run(contract, options, Path(work), database)


async def contract(options: argparse.Namespace, work: Path, database: str) -> int:
    settings = {
        "egress__resolver": NOWHERE,
        "egress__allow_networks": [],
        "egress__deny_networks": ["0.0.0.0/0", "::/0"],  # a made-up URL may have an address for a host
        "logging__level": "warning",
    }
    async with running(work, database, **settings) as daemon:
        good = await schemathesis(options, daemon, work)
        good &= await generated_client(options, daemon, work)
        status = await daemon.stop()
        unexpected = [line for line in daemon.log.read_text().splitlines() if "failed unexpectedly" in line]
        for line in unexpected[:10]:
            print(line)
        print(f"the daemon stopped with {status}; unexpected errors in its log: {len(unexpected)}")
        good &= status == 0 and not unexpected
    print("contract: good" if good else "contract: FAILED")
    return 0 if good else 1


async def schemathesis(options: argparse.Namespace, daemon: Daemon, work: Path) -> bool:
    """Run it over the served document with a token that has every role; tell whether all was well."""
    org_id, report, config = uuid4(), work / "events.ndjson", work / "schemathesis.toml"
    config.write_text(
        (HERE / config.name).read_text().replace("HOOKS", str(HERE / "hooks.py"))
        + await seeded(daemon, org_id)
    )
    command = [
        str(options.tools / "schemathesis"),
        f"--config-file={config}",
        "run",
        f"{daemon.address}/openapi.json",
        "--checks=all",
        "--mode=all",
        f"--header=Authorization: Bearer {token(org_id, *ROLES)}",
        f"--max-examples={max(20, options.cases // 15)}",
        "--continue-on-failure",
        "--request-timeout=30",
        f"--report-ndjson-path={report}",
        "--no-color",
    ]
    if options.seed is not None:
        command.append(f"--seed={options.seed}")
    done = await trio.run_process(command, check=False, cwd=work)
    statuses = answered(report)
    cases, broken = sum(statuses.values()), sum(n for code, n in statuses.items() if code >= 500)
    print(f"schemathesis: exit {done.returncode}, {cases} answers, {broken} of them 5xx: {statuses}")
    return done.returncode == 0 and cases >= options.cases and not broken


async def seeded(daemon: Daemon, org_id: UUID) -> str:
    """Make a delivery, which no answer to a made-up request leads to; return the settings that do."""
    async with daemon.client(org_id, *ROLES) as client:
        subscription = (await daemon.register(org_id, "https://example.com/seed"))["id"]
        event = {"type": "match.proposed", "data": {"candidate": 7}}
        (await client.post("/events", json=event)).raise_for_status()
        base = f"/webhooks/{subscription}"
        attempts: list[dict[str, str]] = []
        with trio.fail_after(30):
            while not attempts:
                await trio.sleep(0.2)
                attempts = (await client.get(f"{base}/deliveries")).json()["data"]
    return f"""
[[operations]]
include-operation-id = ["getDelivery", "redeliver"]
phases.stateful.enabled = false
[operations.parameters]
"path.subscription_id" = "{subscription}"
"path.delivery_id" = "{attempts[0]["delivery_id"]}"
"""


def answered(report: Path) -> dict[int, int]:
    """Return how many answers of each status a report tells of."""
    statuses: dict[int, int] = {}

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            response = value.get("response")
            if isinstance(response, dict) and isinstance(response.get("status_code"), int):
                code = response["status_code"]
                statuses[code] = statuses.get(code, 0) + 1
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    with report.open() as lines:
        for line in lines:
            walk(json.loads(line))
    return dict(sorted(statuses.items()))


async def generated_client(options: argparse.Namespace, daemon: Daemon, work: Path) -> bool:
    """Generate a client from the served document and send the page's examples with it."""
    async with httpx.AsyncClient(trust_env=False) as client:
        (work / "openapi.json").write_bytes((await client.get(daemon.address + "/openapi.json")).content)
    target = work / "client"
    generator = [
        str(options.tools / "openapi-python-client"),
        "generate",
        "--meta=none",
        f"--config={HERE / 'client.yaml'}",
    ]
    made = await trio.run_process(
        [*generator, f"--path={work / 'openapi.json'}", f"--output-path={target / 'hookd_client'}"],
        check=False,
        env={**os.environ, "PATH": f"{options.tools.resolve()}:{os.environ['PATH']}"},
        capture_stdout=True,
        stderr=subprocess.STDOUT,
    )
    said = made.stdout.decode()
    print(said)
    if made.returncode or "WARNING" in said:
        return False
    environ = {
        **os.environ,
        "PYTHONPATH": str(target),
        "HOOKD": daemon.address,
        "TOKEN": token(uuid4(), *ROLES),
    }
    command = [str(options.tools / "python"), str(HERE / "client_examples.py")]
    return (await trio.run_process(command, check=False, env=environ)).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
