"""The tools of the contract: where tools/setup_contract.sh has put them, and which versions they are."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.contract.browser import program


@dataclass(frozen=True, slots=True)
class Tools:
    """`environment`: the Python environment that has them; `build`: where code is generated."""

    environment: Path
    build: Path

    def python(self, name: str) -> str:
        """Return a program of the Python environment."""
        return str(self.environment / "bin" / name)

    @property
    def node_modules(self) -> Path:
        """Where npm has put its packages."""
        return self.environment / "node/node_modules"

    def node(self, name: str) -> str:
        """Return a program of an npm package."""
        return str(self.node_modules / ".bin" / name)

    @property
    def path(self) -> str:
        """PATH: what the machine has, and what the environment has besides."""
        return f"{os.environ['PATH']}:{self.environment / 'bin'}"

    def versions(self) -> str:
        """Return the versions of all, one a line."""
        commands = {
            "schemathesis": [self.python("schemathesis"), "--version"],
            "openapi-python-client": [self.python("openapi-python-client"), "--version"],
            "python": [self.python("python"), "--version"],
            "openapi-typescript": [self.node("openapi-typescript"), "--version"],
            "tsc": [self.node("tsc"), "--version"],
            "spectral": [self.node("spectral"), "--version"],
            "redocly": [self.node("redocly"), "--version"],
            "node": ["node", "--version"],
            "openapi-generator": [self.python("openapi-generator-cli"), "version"],
            "java": ["java", "--version"],
            "go": ["go", "version"],
            "chromium": [program() or "chromium", "--version"],
        }
        return "\n".join(f"{name:<22} {self._version(command)}" for name, command in commands.items())

    def _version(self, command: list[str]) -> str:
        if shutil.which(command[0], path=self.path) is None:
            return "not found"
        done = subprocess.run(
            command,
            check=False,
            text=True,
            capture_output=True,
            env={**os.environ, "PATH": self.path},
        )
        found = re.search(r"\d+\.\d+[\w.+-]*", done.stdout)
        return found[0] if found else (done.stdout or done.stderr).strip()


async def run(tools: Tools, command: list[str], environ: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed; where it fails, print that and raise."""
    done = await trio.run_process(
        command,
        check=False,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PATH": tools.path, **(environ or {})},
    )
    output = done.stdout.decode()
    if done.returncode:
        print(output)
        done.check_returncode()
    return output
