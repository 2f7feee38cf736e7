"""The OpenAPI document under the rules of Spectral and of Redocly: lint/ has those that are off, and why."""

import json
import subprocess
from pathlib import Path

from api.openapi import Facts, document
from daemon.config.model import Config
from tests.contract.tools import Tools, run

HERE = Path(__file__).parent / "lint"
FACTS = Facts(tuple(Config().events.types), Config().api.max_batch)


async def lint(tools: Tools) -> bool:
    """Run both over the document, any finding being a fault; tell whether there was none."""
    tools.build.mkdir(parents=True, exist_ok=True)
    target = tools.build / "openapi.json"
    target.write_text(json.dumps(document(FACTS), indent=2))
    commands = {
        "spectral": ["lint", f"--ruleset={HERE / 'spectral.yaml'}", "--fail-severity=hint"],
        "redocly": ["lint", f"--config={HERE / 'redocly.yaml'}"],
    }
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    good = True
    for name, arguments in commands.items():
        try:
            await run(tools, [tools.node(name), *arguments, str(target)], quiet)
            print(f"{name}: good")
        except subprocess.CalledProcessError:
            print(f"{name}: FAILED")
            good = False
    return good
