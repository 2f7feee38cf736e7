"""What the daemon serves, held against its own OpenAPI document by tools that know nothing else of it.

    python -m tests.contract [--cases 5000] [--only lint|pages|clients|cases]

Linters judge the document; clients in several languages are generated and driven; Schemathesis makes up
requests, good and bad, and judges the answers with all its checks; and axe-core looks at the page for people.
Exits with 1 on any failure.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import trio

from api.reference.catalogue import OPERATIONS
from api.reference.deliveries import DELIVERY_ID
from api.reference.operation import Parameter
from api.reference.parameters import CURSOR, IF_MATCH
from tests.contract.clients import ROLES, clients
from tests.contract.lint import lint
from tests.contract.pages import pages
from tests.contract.tools import Tools
from tests.support.daemon import Daemon, running, token
from tests.support.postgres import fresh_database, migrated_template, reachable_directory, server

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PARTS = ("lint", "pages", "clients", "cases")
NOWHERE = "127.0.0.1:9"
"""No name server answers here, so that nothing is sent to the hosts that URLs name."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.contract", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="this part alone")
    parser.add_argument("--cases", type=int, default=5000, help="the fewest cases that will do")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--phases", default="examples,coverage,fuzzing,stateful", help="of Schemathesis")
    options = parser.parse_args()
    tools = Tools(ROOT / ".venv-contract", ROOT / "build/contract")
    print(tools.versions(), flush=True)
    good = True
    if options.only in (None, "lint"):
        good &= trio.run(lint, tools)
    with (
        reachable_directory() as directory,
        server(directory) as url,
        tempfile.TemporaryDirectory() as work,
    ):
        template = migrated_template(url)
        if options.only in (None, "pages"):
            with fresh_database(url, template) as database:
                good &= trio.run(pages, tools, Path(work), database)
        if options.only in (None, "clients"):
            with fresh_database(url, template) as database:
                good &= trio.run(clients, tools, Path(work), database)
        if options.only in (None, "cases"):
            with fresh_database(url, template) as database:
                good &= trio.run(cases, options, tools, Path(work), database)
    print("contract: good" if good else "contract: FAILED")
    return 0 if good else 1


async def cases(options: argparse.Namespace, tools: Tools, work: Path, database: str) -> bool:
    """Run Schemathesis against a daemon that sends nothing; tell whether all was well."""
    settings = {
        "egress__resolver": NOWHERE,
        "egress__allow_networks": [],
        "egress__deny_networks": ["0.0.0.0/0", "::/0"],  # a made-up URL may have an address for a host
        "logging__level": "warning",
    }
    async with running(work, database, **settings) as daemon:
        good = await schemathesis(options, tools, daemon, work)
        status = await daemon.stop()
        unexpected = [line for line in daemon.log.read_text().splitlines() if "failed unexpectedly" in line]
        for line in unexpected[:10]:
            print(line)
        print(f"the daemon stopped with {status}; unexpected errors in its log: {len(unexpected)}")
        return good and status == 0 and not unexpected


async def schemathesis(options: argparse.Namespace, tools: Tools, daemon: Daemon, work: Path) -> bool:
    """Run it over the served document with a token that has every role; tell whether all was well."""
    org_id, report, config = uuid4(), work / "events.ndjson", work / "schemathesis.toml"
    text = (HERE / config.name).read_text().replace("HOOKS", str(HERE / "hooks.py"))
    text = text.replace("LISTS", taking(CURSOR)).replace("CONDITIONAL", taking(IF_MATCH))
    config.write_text(text + await seeded(daemon, org_id))
    command = [
        tools.python("schemathesis"),
        f"--config-file={config}",
        "run",
        f"{daemon.address}/openapi.json",
        "--checks=all",
        f"--phases={options.phases}",
        "--mode=all",
        f"--header=Authorization: Bearer {token(org_id, *ROLES)}",
        f"--max-examples={max(20, options.cases // 10)}",
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


def taking(parameter: Parameter) -> str:
    """Return the operations that take a parameter, as TOML."""
    return json.dumps([one.name for one in OPERATIONS if parameter in one.parameters])


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
include-operation-id = {taking(DELIVERY_ID)}
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


if __name__ == "__main__":
    sys.exit(main())
