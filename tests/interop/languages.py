"""The languages of docs/how-to/verify.md: how the snippet of each is built into a program, and its versions.

A program is the snippet as the document has it, and a `main` beside it that asks it about each line it reads.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs/how-to/verify.md"
_LIBRARY = "import importlib.metadata as m; print('standardwebhooks', m.version('standardwebhooks'))"
_JAVA_LIBRARY = "com.standardwebhooks:standardwebhooks:1.1.1"


@dataclass(frozen=True, slots=True)
class Language:
    """`needs`: programs it does not go without. `build` puts a snippet into a directory, returns a command.

    `versions`: commands that print them, after it was built.
    """

    needs: tuple[str, ...]
    remedy: str
    build: Callable[[str, Path], list[str]]
    versions: tuple[tuple[str, ...], ...]

    def missing(self) -> list[str]:
        """Return which of its programs this machine lacks."""
        return [program for program in self.needs if shutil.which(program) is None]


def snippets() -> Mapping[str, str]:
    """Return the document's snippets by language."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert len({language for language, _ in found}) == len(found), "one snippet a language"
    return dict(found)


def run(target: Path, *command: str) -> str:
    """Run a command in a directory; return what it printed, or raise with it."""
    done = subprocess.run(
        command,
        check=False,
        cwd=target,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "CARGO_TERM_COLOR": "never"},
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def python(snippet: str, target: Path) -> list[str]:
    (target / "verify.py").write_text(snippet)
    return [sys.executable, "main.py"]


def javascript(snippet: str, target: Path) -> list[str]:
    (target / "verify.mjs").write_text(snippet)
    run(target, "npm", "ci", "--silent", "--no-audit", "--no-fund")
    return ["node", "main.mjs"]


def go(snippet: str, target: Path) -> list[str]:
    (target / "verify.go").write_text(f"package main\n\n{snippet}")
    run(target, "go", "vet", ".")
    run(target, "go", "build", "-o=interop", ".")
    return ["./interop"]


def java(snippet: str, target: Path) -> list[str]:
    (target / "Verify.java").write_text(snippet)
    run(target, "mvn", "-q", "dependency:copy", f"-Dartifact={_JAVA_LIBRARY}", "-DoutputDirectory=lib")
    run(target, "javac", "-Xlint:all", "-Werror", "-cp", "lib/*", "Main.java", "Verify.java")
    return ["java", "-cp", "lib/*:.", "Main"]


def rust(snippet: str, target: Path) -> list[str]:
    (target / "verify.rs").write_text(snippet)
    run(target, "cargo", "build", "--quiet")
    return ["target/debug/interop"]


def php(snippet: str, target: Path) -> list[str]:
    (target / "verify.php").write_text(snippet)
    return ["php", "-d", "error_reporting=-1", "-d", "display_errors=stderr", "main.php"]


def ruby(snippet: str, target: Path) -> list[str]:
    (target / "verify.rb").write_text(snippet)
    return ["ruby", "-w", "main.rb"]


LANGUAGES: Mapping[str, Language] = {
    "python": Language(
        (),
        "",
        python,
        (
            (sys.executable, "--version"),
            (sys.executable, "-c", _LIBRARY),
        ),
    ),
    "javascript": Language(
        ("node", "npm"),
        "install Node.js 20 with npm",
        javascript,
        (("node", "--version"), ("npm", "ls", "standardwebhooks")),
    ),
    "go": Language(("go",), "install Go 1.23 or later", go, (("go", "version"), ("go", "list", "-m", "all"))),
    "java": Language(
        ("java", "javac", "mvn"),
        "apt-get install default-jdk-headless maven",
        java,
        (("java", "--version"), ("ls", "lib")),
    ),
    "rust": Language(
        ("cargo",),
        "install Rust with cargo",
        rust,
        (("rustc", "--version"), ("cargo", "tree", "--depth=1", "--prefix=none")),
    ),
    "php": Language(("php",), "apt-get install php-cli", php, (("php", "--version"),)),
    "ruby": Language(("ruby",), "apt-get install ruby", ruby, (("ruby", "--version"),)),
}
