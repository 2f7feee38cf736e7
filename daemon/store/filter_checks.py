"""Filters that were stored before they were checked: they are now, before anything evaluates them."""

from dataclasses import dataclass
from uuid import UUID

from daemon.filters import FilterRefused, path_of, shown
from daemon.store.database import Connection
from daemon.store.statements import Statements

AT_ONCE = 1000
TOLD = 20


@dataclass(frozen=True, slots=True)
class FilterProblems:
    """How many subscriptions have a filter that is not evaluated, and of the oldest why."""

    count: int = 0
    told: tuple[tuple[UUID, str], ...] = ()

    def __str__(self) -> str:
        named = [f"{subscription_id}: {problem}" for subscription_id, problem in self.told]
        if self.count > len(named):
            named.append(f"and {self.count - len(named)} more")
        return (
            f"subscriptions with a filter that is not evaluated: {self.count}. Their events end in the"
            f" history as filter_failed; let the owners change the filters, and replay ({'; '.join(named)})"
        )


async def check_filters(connection: Connection, statements: Statements) -> FilterProblems:
    """Check what was not checked yet, in the caller's transaction, and return all that has a problem."""
    while rows := await connection.fetch(statements["unchecked_filters"], AT_ONCE):
        found = [_checked(row["filter"]) for row in rows]
        await connection.execute(
            statements["filters_checked"],
            [row["id"] for row in rows],
            [path for path, _ in found],
            [problem for _, problem in found],
        )
    rows = await connection.fetch(statements["filter_problems"], TOLD)
    told = tuple((row["id"], row["filter_problem"]) for row in rows)
    return FilterProblems(rows[0]["count"] if rows else 0, told)


def _checked(text: str) -> tuple[str | None, str | None]:
    """Return the path of a stored filter, or why it is refused."""
    try:
        return path_of(shown(text)), None
    except FilterRefused as error:
        return None, str(error)
