"""What is wrong with a configuration, in words: where, which key, which value, what is allowed."""

import difflib
import re
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from daemon.config.masking import masked
from daemon.config.model import SECTIONS, Config
from daemon.config.sections.base import ConfigConflict
from daemon.config.sections.hosts import HostOverride
from daemon.config.toml_text import Path, toml_value

_VALUE_LENGTH = 80


def explain(error: ErrorDetails, data: dict[str, Any], where: Callable[[Path], str]) -> str:
    """Return one line about what pydantic found in `data`; `where` tells from which source a key came."""
    path: Path = tuple(part for part in error["loc"] if part != "[key]")
    cause = error.get("ctx", {}).get("error")
    match error["type"]:
        case "extra_forbidden":
            return f"{where(path)}: {_unknown(path)}"
        case "missing":
            return f"{where(path[:-1])}: {key_name(path)} is missing: add it"
        case "model_type" | "dict_type":
            complaint = "is not a table" + (f": write [{path[0]}] on a line of its own" * (len(path) == 1))
        case "tuple_type":
            complaint = "is not a list: put brackets around it, such as [1, 2] or []"
        case "too_long":
            complaint = f"has too many items: allowed is {error['ctx']['max_length']}"
        case _:
            complaint = str(cause or error["msg"])
    if isinstance(cause, ConfigConflict):
        path = (*path, cause.key)
    return f"{where(path)}: {key_name(path)}{_shown(path, data)} {complaint}"


def key_name(path: Path) -> str:
    """Return the usual way to write a path: hosts.override[1].rate."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def syntax_problem(name: str, message: str) -> str:
    """Return the line for a syntax error, with the place, which `tomllib` puts last, at its front."""
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if not place:
        return f"{name}: is not TOML: {message}"
    return f"{name}:{place[1]}:{place[2]}: is not TOML: {message[: place.start()]}"


def _shown(path: Path, data: dict[str, Any]) -> str:
    value: Any = data
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return ""
    text = toml_value(masked(path, value))
    return " = " + (text if len(text) <= _VALUE_LENGTH else text[: _VALUE_LENGTH - 1] + "…")


def _unknown(path: Path) -> str:
    """Say what was probably meant by an unknown key or section; its value, maybe a secret, is not shown."""
    *parents, name = path
    model: type[BaseModel] = Config
    if parents:
        model = HostOverride if len(parents) > 1 else SECTIONS[str(parents[0])]
    known = list(model.model_fields)
    wrong = f'unknown section "{name}"' if not parents else f'unknown key "{key_name(path)}"'
    close = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.6)
    if close:
        return f'{wrong}: did you mean "{key_name((*parents, close[0]))}"?'
    elsewhere = [section for section, keys in SECTIONS.items() if name in keys.model_fields]
    if elsewhere:
        return f'{wrong}: did you mean "{elsewhere[0]}.{name}"?'
    return f"{wrong}: known are {', '.join(known)}"
