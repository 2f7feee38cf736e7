"""TOML as text: values written out, and the lines on which keys stand (which `tomllib` does not tell)."""

import json
import tomllib
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]


def toml_value(value: Any) -> str:
    """Return `value` (of TOML's types) as it is written on the right of "="."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items())
        return "{ " + pairs + " }" if pairs else "{}"
    return str(value)


def toml_key(key: str) -> str:
    """Return `key` as it is written on the left of "=": bare where that is allowed."""
    bare = key.isascii() and key.replace("-", "a").replace("_", "a").isalnum()
    return key if bare else toml_value(key)


def key_lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, of each key and table header in `text`, which must be valid TOML.

    A path has the names down to the key, and for the tables of an array their index:
    ("hosts", "override", 0, "rate").
    """
    lines = text.replace("\r\n", "\n").split("\n")
    found: dict[Path, int] = {}
    last: dict[Path, int] = {}
    table: Path = ()
    for number, statement in _statements(lines):
        content = tomllib.loads(statement)
        if not statement.lstrip().startswith("["):
            for path in _paths(content):
                found.setdefault(table + path, number)
            continue
        is_array = statement.lstrip().startswith("[[")
        table = ()
        *parents, name = list(_paths(content))[-1]
        for part in parents:
            table = _enter((*table, part), last)
        table = (*table, name)
        found.setdefault(table, number)
        if is_array:
            last[table] = last.get(table, -1) + 1
        table = _enter(table, last)
        found.setdefault(table, number)
    return found


def _statements(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield each header and assignment with the number of its first line; a value may take many lines."""
    rest = iter(enumerate(lines, start=1))
    for number, line in rest:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        statement = line
        while not _is_complete(statement):
            # Only a line that can close a value is worth another look: a long list stays linear.
            for _, line in rest:
                statement += "\n" + line
                if any(closer in line for closer in ("]", "}", '"""', "'''")):
                    break
            else:
                return
        yield number, statement


def _is_complete(statement: str) -> bool:
    try:
        tomllib.loads(statement)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _paths(table: dict[str, Any]) -> Iterator[Path]:
    for name, value in table.items():
        yield (name,)
        if isinstance(value, dict):
            for path in _paths(value):
                yield (name, *path)


def _enter(path: Path, last: dict[Path, int]) -> Path:
    return (*path, last[path]) if path in last else path
