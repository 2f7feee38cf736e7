"""The SQL of the store: read from `.sql` files beside this module, with the schema's name put in.

    sql/migrations/NNNN_name.sql   applied once each, in the order of their numbers
    sql/functions/*.sql            `create or replace`, applied again as a whole whenever one of them changed
    sql/queries/*.sql              named statements, each after a line `-- name: get_subscription`

The files write `hookd.` wherever the schema's name qualifies something, in code and in strings. `Statements`
replaces that and `schema hookd` by the configured name: so one database can hold several independent cells. A
statement that would still name `hookd` is refused, since it would reach into another cell.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources

SCHEMA = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,47}")
QUALIFIER = re.compile(
    r"""
      (?<! [\w.$] ) hookd (?= \. )     # hookd.event, 'hookd.event'::regclass, 'hookd.' || name, hookd.{table}
    | (?<= \bschema[ ] ) hookd \b      # create schema hookd, in schema hookd
    """,
    re.VERBOSE,
)
LEFT_OVER = re.compile(r"\bhookd\b", re.IGNORECASE)
NAME_LINE = re.compile(r"^--[ \t]*name:[ \t]*(.*?)[ \t]*$", re.MULTILINE)
NAME = re.compile(r"[a-z][a-z0-9_]*")
MIGRATION_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


class StatementError(Exception):
    """The `.sql` files contradict themselves, or a statement was asked for that none of them has."""


class UnknownStatement(StatementError, KeyError):
    """No query file has a statement of that name."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered change of the schema; the checksum is that of the file as it is written."""

    number: int
    name: str
    sql: str
    checksum: str

    def __str__(self) -> str:
        return f"{self.number:04}_{self.name}"


def valid_schema(name: str) -> str:
    """Return `name` if it can be a schema's name without quotes, else raise `ValueError`.

    Words that SQL reserves pass here; `migrate` refuses them, since only the server knows its list.
    """
    if not SCHEMA.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot be the schema's name: use 1 to 48 lower-case letters, digits and underscores,"
            " not starting with a digit or with pg_"
        )
    return name


class Statements(Mapping[str, str]):
    """The migrations, functions and named queries for one schema. Use `load`, which keeps them.

    `files` maps paths below `sql/` to their text; left out, the files installed with this package are read.
    """

    def __init__(self, schema: str, files: Mapping[str, str] | None = None) -> None:
        self.schema = valid_schema(schema)
        files = installed_files() if files is None else files
        migrations: list[Migration] = []
        functions: list[tuple[str, str]] = []
        self._queries: dict[str, str] = {}
        for path, text in sorted(files.items()):
            folder, _, name = path.rpartition("/")
            if folder == "migrations":
                migrations.append(self._migration(path, name, text))
            elif folder == "functions":
                functions.append((name, text))
            elif folder == "queries":
                self._add_queries(path, text)
            else:
                raise StatementError(f"{path}: put it into migrations/, functions/ or queries/")
        self.migrations = tuple(migrations)
        if [one.number for one in migrations] != list(range(1, len(migrations) + 1)):
            raise StatementError(
                "the numbers of the migrations must be 0001, 0002 and so on, each once; there are "
                + ", ".join(map(str, migrations))
            )
        self.functions = tuple((name, self._placed(f"functions/{name}", text)) for name, text in functions)
        self.functions_checksum = _checksum("\0".join(part for pair in functions for part in pair))

    def substitute(self, text: str) -> str:
        """Return `text` with the schema's name in the place of `hookd`, wherever that qualifies a name."""
        return QUALIFIER.sub(self.schema, text)

    def _placed(self, path: str, text: str) -> str:
        """Return `text` as `substitute` does; raise `StatementError` if it still names hookd after that."""
        if left := LEFT_OVER.search(_code(QUALIFIER.sub("", text))):
            raise StatementError(
                f"{path}: {left.group()!r} stays as it is under every schema's name: write `hookd.` right"
                " before what it qualifies"
            )
        return self.substitute(text)

    def __getitem__(self, name: str) -> str:
        try:
            return self._queries[name]
        except KeyError:
            near = get_close_matches(name, self._queries, n=3)
            hint = f"; there is {', '.join(near)}" if near else ""
            raise UnknownStatement(f"no statement {name!r} in daemon/store/sql/queries/{hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._queries)

    def __len__(self) -> int:
        return len(self._queries)

    def _migration(self, path: str, file: str, text: str) -> Migration:
        match = MIGRATION_FILE.fullmatch(file)
        if match is None:
            raise StatementError(f"{path}: name it NNNN_what_it_does.sql")
        return Migration(int(match[1]), match[2], self._placed(path, text), _checksum(text))

    def _add_queries(self, path: str, text: str) -> None:
        preamble, *parts = NAME_LINE.split(text)
        if _code(preamble):
            raise StatementError(f"{path}: there is SQL before the first line '-- name: some_name'")
        for name, body in zip(parts[::2], parts[1::2], strict=True):
            if not NAME.fullmatch(name):
                raise StatementError(
                    f"{path}: name the statement {name!r} with lower-case letters, digits and _"
                )
            if name in self._queries:
                raise StatementError(
                    f"{path}: another statement has the name {name!r}; choose one that is free"
                )
            if not _code(body):
                raise StatementError(f"{path}: there is no SQL below '-- name: {name}'")
            self._queries[name] = self._placed(f"{path}: {name}", body).strip()


@cache
def load(schema: str) -> Statements:
    """Return the installed statements for `schema`, and keep them. Errors: `ValueError`, `StatementError`."""
    return Statements(schema)


@cache
def installed_files() -> Mapping[str, str]:
    """Return the text of every `.sql` file of this package by its path below `sql/`."""
    root = resources.files("daemon.store") / "sql"
    if not root.is_dir():
        raise StatementError("the package's sql directory is missing; install hookd again")
    return {
        f"{folder.name}/{file.name}": file.read_text(encoding="utf-8")
        for folder in root.iterdir()
        if folder.is_dir()
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    }


def _code(text: str) -> str:
    """Return what is left of `text` without its comments and white space at its ends."""
    return "\n".join(line.partition("--")[0] for line in text.splitlines()).strip()


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
