"""Check what README and the documents show: settings that exist, and commands and options that exist.

    python -m tools.check_readme README.md docs

A directory stands for all Markdown below it. ```toml blocks must load as a configuration. In ```console,
```bash and ```sh blocks, each call of `hookd` must have a subcommand and options that exist; in a console
block with "$ " prompts, only those lines are commands. ```sql blocks are counted only: a test runs them.
"""

import argparse
import difflib
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from daemon.config.load import ConfigError, load

SUMMARY = "{toml} TOML blocks, {commands} commands, {sql} SQL blocks"
SHELLS = ("console", "bash", "sh", "shell")
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}) *(?P<language>[\w-]*)")
_ASSIGNMENT = re.compile(r"\w+=")
_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
_SEPARATORS = set("();<>|&")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the number of its first line of content, and that content."""

    language: str
    line: int
    lines: list[str]


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a Markdown text."""
    numbered = iter(enumerate(text.splitlines(), start=1))
    for number, line in numbered:
        opening = _FENCE.match(line)
        if not opening:
            continue
        content = []
        for _, inner in numbered:
            if inner.strip().startswith(opening["fence"]):
                break
            content.append(inner.removeprefix(opening["indent"]))
        yield Block(opening["language"].lower(), number + 1, content)


def check_toml(block: Block, name: str) -> list[str]:
    """Return what is wrong with a configuration; line numbers are those of the whole text."""
    with TemporaryDirectory() as directory:
        path = Path(directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n" * (block.line - 1) + "\n".join([*block.lines, ""]))
        try:
            load(path, environ={})
        except ConfigError as error:
            return [problem.replace(f"{directory}/", "") for problem in error.problems]
    return []


def commands(block: Block) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the words after `hookd` of each call of it in a shell block."""
    prompted = block.language == "console" and any(line.startswith("$ ") for line in block.lines)
    numbered = iter(enumerate(block.lines, start=block.line))
    for number, line in numbered:
        if prompted and not line.startswith("$ "):
            continue
        while line.endswith("\\"):
            line = line[:-1] + next(numbered, (0, ""))[1]
        for words in _calls(line.removeprefix("$ ")):
            yield number, words


def check_command(words: list[str], parser: argparse.ArgumentParser) -> str | None:
    """Return what is wrong with a call of `hookd` that has these words, or None."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return None
        if word.startswith("-") and word != "-":
            option, equals, _ = word.partition("=")
            action = parser._option_string_actions.get(option)
            if action is None:
                return (
                    f"{parser.prog} has no option {option}{_nearest(option, parser._option_string_actions)}"
                )
            count = action.nargs if isinstance(action.nargs, int) else 1
            if not equals:
                del rest[:count]
            continue
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                if word not in action.choices:
                    return f"{parser.prog} has no subcommand {word}{_nearest(word, action.choices)}"
                parser = action.choices[word]
                break
    return None


def check(text: str, parser: argparse.ArgumentParser, name: str = "README.md") -> tuple[list[str], str]:
    """Return the problems of a text, and a line that says how much was looked at."""
    problems, counts = counted(text, parser, name)
    return problems, SUMMARY.format(**counts)


def counted(text: str, parser: argparse.ArgumentParser, name: str) -> tuple[list[str], Counter[str]]:
    """Return the problems of a text, and how much of each kind was looked at."""
    problems = []
    counts = Counter(toml=0, commands=0, sql=0)
    for block in blocks(text):
        if block.language == "toml":
            counts["toml"] += 1
            problems += check_toml(block, name)
        elif block.language == "sql":
            counts["sql"] += 1
        elif block.language in SHELLS:
            for line, words in commands(block):
                counts["commands"] += 1
                problem = check_command(words, parser)
                if problem:
                    problems.append(f"{name} line {line}: {problem}")
    return problems, counts


def _calls(line: str) -> Iterator[list[str]]:
    """Yield the words after `hookd` in each simple command of a line, also in $(…)."""
    for inner in _SUBSTITUTION.findall(line):
        yield from _calls(inner)
    lexer = shlex.shlex(_SUBSTITUTION.sub("SUBSTITUTED", line), posix=True, punctuation_chars=True)
    lexer.commenters = "#"
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return  # an open quote: not a command line by itself
    simple: list[str] = []
    for word in [*words, ";"]:
        if not set(word) <= _SEPARATORS:
            simple.append(word)
            continue
        while simple and (_ASSIGNMENT.match(simple[0]) or simple[0] in ("sudo", "exec", "time")):
            del simple[0]
        if simple and simple[0].rpartition("/")[2] == "hookd":
            yield simple[1:]
        simple = []


def _nearest(word: str, known: object) -> str:
    close = (
        difflib.get_close_matches(word, [str(one) for one in known], n=1) if isinstance(known, dict) else []
    )
    return f": did you mean {close[0]}?" if close else ""


def documents(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that are meant: a directory stands for all Markdown below it."""
    for path in paths:
        yield from sorted(path.rglob("*.md")) if path.is_dir() else [path]


def main() -> int:
    """Check what the command line names, and return the exit code."""
    from daemon.cli.main import build_parser

    problems: list[str] = []
    counts = Counter[str]()
    parser = build_parser()
    for path in documents(map(Path, sys.argv[1:])):
        found, looked_at = counted(path.read_text(), parser, str(path))
        problems += found
        counts.update(looked_at)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{' '.join(sys.argv[1:])}: good ({SUMMARY.format(**counts)})")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
