"""Reads the configuration: defaults, then a file, then the environment, then `--set`; the later wins."""

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_origin

from pydantic import ValidationError

from daemon.config import toml_text
from daemon.config.config_error import ConfigError
from daemon.config.model import SECTIONS, Config
from daemon.config.problems import explain, syntax_problem

__all__ = ["ConfigError", "Loaded", "load"]

PREFIX = "HOOKD_"
HERE = Path("config.toml")
INSTALLED = Path("/etc/hookd/config.toml")


@dataclass(frozen=True)
class Loaded:
    """A configuration and where it came from."""

    config: Config
    origins: Mapping[str, str]
    """For each key: "config.toml line 12", "environment HOOKD_DATABASE__URL", "--set" or "default"."""
    path: Path | None
    """The file that was read, if any."""
    sets: Sequence[str] = ()
    """The `--set` that overruled it."""

    def again(self) -> "Loaded":
        """Return what the file says now, with the same environment and `--set`. Error: `ConfigError`."""
        return load(self.path, sets=self.sets)


class Refused(ConfigError):
    """Settings are not good; `rest` is what the others come to, so that more can be said of those."""

    def __init__(self, problems: Sequence[str], rest: Loaded | None) -> None:
        super().__init__(problems)
        self.rest = rest


@dataclass(frozen=True)
class _Setting:
    """One value from outside the file; `origin` says whence."""

    origin: str
    section: str
    key: str
    raw: str


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    sets: Sequence[str] = (),
    here: bool = False,
) -> Loaded:
    """Return the whole, checked configuration.

    `path` is what `--config` named; else HOOKD_CONFIG, /etc/hookd/config.toml; `here`: before that last one
    ./config.toml. `sets` are the `--set section.key=value`. Raises ConfigError with everything that is wrong.
    """
    found = _find(path, environ, here)
    text = _read(found) if found else ""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([syntax_problem(str(found), str(error))]) from None
    except RecursionError:
        raise ConfigError([f"{found}: is nested too deeply: no setting needs that, look for '[['"]) from None

    problems: list[str] = []
    origins: dict[toml_text.Path, str] = {
        key: f"{found} line {line}" for key, line in toml_text.key_lines(text).items()
    }
    # Later sources win; a section that is no table stays, so that its own fault is told.
    for setting in (*_from_environment(environ), *_from_sets(sets, problems)):
        table = data.setdefault(setting.section, {})
        if isinstance(table, dict):
            table[setting.key] = _value(setting)
            _set_origin(origins, setting)

    def where(key: toml_text.Path) -> str:
        # A fault within a list or table has no line of its own: that of what holds it serves.
        while key and key not in origins:
            key = key[:-1]
        return origins.get(key, "default")

    named = {".".join(key): origins.get(key, "default") for key in all_keys()}
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        problems += [explain(one, data, where) for one in error.errors(include_url=False)]
        # What is right beside the faults says what the daemon would do once they are mended.
        rest = _without_faults(data, error)
        raise Refused(problems, Loaded(rest, named, found, sets) if rest else None) from None
    if problems:
        raise ConfigError(problems)
    return Loaded(config, named, found, sets)


def _without_faults(data: Mapping[str, Any], error: ValidationError) -> Config | None:
    """Return the configuration without the settings that `error` is about, if that is one."""
    faulty = {one["loc"][:2] for one in error.errors(include_url=False)}
    rest = {
        section: {key: value for key, value in table.items() if (section, key) not in faulty}
        for section, table in data.items()
        if isinstance(table, dict) and (section,) not in faulty
    }
    try:
        return Config.model_validate(rest)
    except ValidationError:
        return None


def all_keys() -> Iterator[tuple[str, str]]:
    """Yield every (section, key) that there is."""
    for section, model in SECTIONS.items():
        for key in model.model_fields:
            yield section, key


def _find(path: Path | None, environ: Mapping[str, str], here: bool) -> Path | None:
    named = path or (Path(environ["HOOKD_CONFIG"]) if environ.get("HOOKD_CONFIG") else None)
    if named is None:
        searched = (HERE, INSTALLED) if here else (INSTALLED,)
        return next((candidate for candidate in searched if _exists(candidate)), None)
    if not _exists(named):
        by = "--config" if path else "HOOKD_CONFIG"
        raise ConfigError([f"{named}: there is no such file: correct {by}, or leave it out for the defaults"])
    return named


def _exists(path: Path) -> bool:
    """Tell whether there is a file; one that may not be looked for is no reason to take another."""
    try:
        return path.exists()
    except OSError as error:
        remedy = "let the user that runs hookd read it, or name another file with --config"
        raise ConfigError([f"{path}: cannot be looked for ({error.strerror}): {remedy}"]) from None


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        remedy = f"let the user that runs hookd read it ({error.strerror})"
        raise ConfigError([f"{path}: cannot be read: {remedy}"]) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: is not UTF-8: save the file in that encoding"]) from None


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Setting]:
    for name, raw in sorted(environ.items()):
        section, separator, key = name.removeprefix(PREFIX).lower().partition("__")
        if name.startswith(PREFIX) and separator:
            yield _Setting(f"environment {name}", section, key, raw)


def _from_sets(sets: Sequence[str], problems: list[str]) -> Iterator[_Setting]:
    for text in sets:
        name, equals, raw = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if equals and dot and section and key:
            yield _Setting("--set", section, key, raw.strip())
        else:
            problems.append(f"--set: {name!r} is not section.key=value: write --set delivery.timeout=10s")


def _value(setting: _Setting) -> Any:
    """Return what the text stands for: a TOML value, or (always so for an unquoted text setting) itself."""
    is_quoted = setting.raw[:1] in ('"', "'")
    if _is_text(setting) and not is_quoted:
        return setting.raw
    try:
        parsed = tomllib.loads(f"value = {setting.raw}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return setting.raw
    return parsed["value"] if len(parsed) == 1 else setting.raw


def _is_text(setting: _Setting) -> bool:
    model = SECTIONS.get(setting.section)
    field = model.model_fields.get(setting.key) if model else None
    return field is not None and (field.annotation is str or get_origin(field.annotation) is Literal)


def _set_origin(origins: dict[toml_text.Path, str], setting: _Setting) -> None:
    """Forget what the file said about this key and all that is below it."""
    key = (setting.section, setting.key)
    for below in [path for path in origins if path[:2] == key]:
        del origins[below]
    origins[key] = setting.origin
    origins.setdefault((setting.section,), setting.origin)
