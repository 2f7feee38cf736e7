"""Write the pages of docs/reference/ that the code itself knows: configuration, commands and metrics.

    python -m tools.reference

A test (`tests/unit/test_docs_reference.py`) fails while one of them is not what this would write.
"""

import argparse
import ast
import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from textwrap import dedent
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from prometheus_client.metrics_core import Metric

from api.metrics import Exposition
from daemon.cli.help_text import WIDTH
from daemon.cli.main import build_parser
from daemon.config.durations import format_duration, format_size
from daemon.config.kinds import Choice, Duration, Kind, Number, Size, Switch, Text, Whole
from daemon.config.model import SECTIONS
from daemon.config.sections.base import Section
from daemon.config.sections.hosts import HostOverride
from daemon.config.toml_text import toml_value
from daemon.metrics import Metrics
from daemon.process.reload import LIVE
from daemon.store.observation import Holder, Observation, Sight

REFERENCE = Path(__file__).parents[1] / "docs/reference"
NOTE = "<!-- Written by `python -m tools.reference`; change what it reads instead. -->"
_WORDS = {Switch: "`true` or `false`", Text: "text", Whole: "whole number", Number: "number"}

CONFIGURATION = f"""\
# Configuration

{NOTE}

Each setting stands in [config.toml](../../config.toml) at its default, with a comment. The daemon takes
`--config PATH`, else `HOOKD_CONFIG`, else `/etc/hookd/config.toml`, else the defaults, and says which
(`./config.toml` is for `hookd dev`). Each key can also be set by `--set section.key=value` and by the
environment (`HOOKD_SECTION__KEY`), which go before the file.

`hookd check-config` shows what is in force and whence, and opens every file that is named; all mistakes
are told at once. SIGHUP reloads: the new configuration is checked whole and taken at once, or not at
all. The log names what needs a restart, as the last column below does.

```toml
[database]
url = "postgresql://hookd@db.internal/platform"
password_file = "/etc/hookd/database.password"

[auth]
algorithms = ["ES256"]
public_key_file = "/etc/hookd/issuer.pem"

[delivery]
retry_schedule = ["5s", "1m", "10m", "1h", "6h"]

[hosts]
rate = 200

[[hosts.override]]
match = "*.example.com"
rate = 10
in_flight = 4
```

Durations are written as `"250ms"`, `"30s"`, `"5m"`, `"1h30m"`, `"5d"`, or as a number of seconds; sizes
as `"64KiB"`, `"1MiB"`, or as a number of bytes. Where the meaning below speaks of seconds or bytes,
either will do.
"""
COMMANDS = f"""\
# Commands and exit codes

{NOTE}

| exit code | |
|---|---|
| 0 | done |
| 1 | failed; standard error says why and what to do |
| 2 | wrong usage or configuration; systemd does not start the daemon again for it |
| 130 | ended by Ctrl-C |

What each command says with `--help`:
"""
METRICS = f"""\
# Metrics

{NOTE}

At `/metrics`, without a token, on the API's address or, with `metrics.bind`, on one of their own; as
Prometheus' text or OpenMetrics. No label ever holds a URL, a host or an id. [Watch
it](../how-to/watch.md) says which of them to alert on.

What is said *of the whole database* is the same from each daemon on it: take the maximum, not the sum.
Where Postgres does not answer in time, those are absent, and `hookd_database_up` is 0.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of a section: its default as TOML writes it, what it may be, what it means."""

    name: str
    default: str
    takes: str
    meaning: str


def pages() -> dict[str, str]:
    """Return the text of each page that is written here, by its name."""
    return {"configuration.md": configuration(), "commands.md": commands(), "metrics.md": metrics()}


def configuration() -> str:
    """Return the page of all settings."""
    parts = [CONFIGURATION]
    for name, section in SECTIONS.items():
        parts.append(f"## `[{name}]`\n\n{_sentence(section)}\n")
        parts.append(_settings_table(list(settings(section)), LIVE.get(name, set())))
        if name == "hosts":
            override = list(settings(HostOverride))
            parts.append(f"### `[[hosts.override]]`\n\n{_sentence(HostOverride)}\n")
            parts.append(_settings_table(override, {one.name for one in override}))
    return "\n".join(parts)


def settings(section: type[Section]) -> Iterator[Setting]:
    """Yield the keys of a section, in the model's order."""
    annotations, meanings = inspect.get_annotations(section), attribute_docstrings(section)
    shown = section().model_dump(mode="json") if section is not HostOverride else {}
    for key, annotation in annotations.items():
        if key.startswith("_") or key == "model_config":
            continue
        default = toml_value(shown[key]) if key in shown else "not given"
        yield Setting(key, default, takes(annotation), meanings[key])


def takes(annotation: Any) -> str:
    """Return in words what values a key may have."""
    origin, given = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kinds = [one for one in given[1:] if isinstance(one, Kind)]
        return kind_in_words(kinds[0]) if kinds else takes(given[0])
    if origin in (Union, UnionType):
        return takes(next(one for one in given if one is not type(None)))
    if origin is tuple:
        return "tables" if given[0] is HostOverride else f"list: {takes(given[0])}"
    if origin is dict:
        return f"table: {takes(given[1])} for each {takes(given[0])}"
    raise TypeError(f"{annotation} is of no kind that is known here")


def kind_in_words(kind: Kind) -> str:
    """Return in words what values a kind takes."""
    match kind:
        case Choice():
            return ", ".join(f'`"{word}"`' for word in kind.words)
        case Duration():
            return f"duration, {format_duration(kind.low)} to {format_duration(kind.high)}"
        case Size():
            return f"size, {format_size(kind.low)} to {format_size(kind.high)}"
        case Whole() | Number():
            return f"{_WORDS[type(kind)]}, {kind.low:,} to {kind.high:,}"
        case _:
            return _WORDS[type(kind)]


def attribute_docstrings(section: type[Section]) -> dict[str, str]:
    """Return the docstring of each attribute, as one line; Python itself keeps none."""
    (node,) = ast.parse(dedent(inspect.getsource(section))).body
    assert isinstance(node, ast.ClassDef)
    found = {}
    for statement, following in zip(node.body, node.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            text = ast.literal_eval(following.value)
            found[ast.unparse(statement.target)] = " ".join(text.split())
    return found


def commands() -> str:
    """Return the page of all commands: their help, as wide as anybody sees it."""
    os.environ["COLUMNS"] = str(WIDTH)
    parser = build_parser()
    parts = [COMMANDS]
    (choices,) = [
        action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    ]
    for name, command in {"hookd": parser, **choices}.items():
        title = "hookd" if command is parser else f"hookd {name}"
        parts.append(f"## `{title}`\n\n```text\n{command.format_help().rstrip()}\n```\n")
    return "\n".join(parts)


def metrics() -> str:
    """Return the page of all metrics that a daemon on a database that answers may show."""
    everything = Metrics()
    everything.stood = lambda: {"routing": 0.0}
    values: dict[str, Any] = dict.fromkeys((one.name for one in fields(Observation)), 0)
    values["holders"] = [Holder("backend", 1, 1.0)]
    seen = Sight(answers=True, writable=True, queue=Observation(**values))
    rows = [_metric_row(one) for one in Exposition(everything, seen).collect()]
    own = [row for row in rows if row[0].startswith("`hookd_")]
    other = [row for row in rows if row not in own]
    head = ("metric", "kind", "labels", "")
    return "\n".join(
        [
            METRICS,
            _table(head, own),
            "## Of the process\n",
            "As every Prometheus client for Python tells them.\n",
            _table(head, other),
        ]
    )


def _metric_row(metric: Metric) -> tuple[str, ...]:
    """Return name, kind, labels and meaning, as a scrape shows them."""
    suffix = {"counter": "_total", "info": "_info"}.get(metric.type, "")
    labels = list(getattr(metric, "_labelnames", ()))
    if metric.type == "info":
        labels = [name for sample in metric.samples for name in sample.labels]
    return (
        f"`{metric.name}{suffix}`",
        metric.type,
        ", ".join(f"`{label}`" for label in labels),
        metric.documentation,
    )


def _settings_table(shown: list[Setting], live: set[str]) -> str:
    rows = [
        (
            f"`{one.name}`",
            f"`{one.default}`" if one.default != "not given" else one.default,
            one.takes,
            one.meaning,
            "" if one.name in live else "restart",
        )
        for one in shown
    ]
    return _table(("key", "default", "takes", "meaning", "change"), rows)


def _sentence(section: type) -> str:
    text = " ".join((section.__doc__ or "").split()).partition(":")[2].strip()
    return text[:1].upper() + text[1:] if text else ""


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return (
        "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
        + "\n"
    )


def main() -> int:
    """Write the pages that have changed, and say which."""
    for name, text in pages().items():
        path = REFERENCE / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
