"""Whether Postgres lets a daemon have the connections that its work needs, before that work stands still."""

import logging

from daemon.config.model import Config
from daemon.process.state import StartError
from daemon.store.database import OWN_CONNECTIONS, Connection, Database

logger = logging.getLogger("hookd")


async def check_connections(connection: Connection, database: Database, config: Config) -> None:
    """Compare what is allowed with what is needed (a unit's body).

    Error: `StartError` if not even the least fits. Behind a pooler nothing is known.
    """
    if not database.sessions.direct:
        return
    (row,) = await connection.fetch(database.sql("connection_limits"))
    limits = {
        f"the account {row['account']} (alter role ... connection limit)": row["of_account"],
        f"the database {row['database']} (alter database ... connection limit)": row["of_database"],
        "the server (max_connections)": row["of_server"],
    }
    allowed, whose = min((limit, whose) for whose, limit in limits.items() if limit is not None)
    problem = shortage(allowed, whose, processes=config.daemon.processes, pool_size=config.database.pool_size)
    if allowed < config.daemon.processes * (OWN_CONNECTIONS + 1):
        raise StartError(problem)
    if problem:
        logger.warning("%s", problem)


def shortage(allowed: int, whose: str, *, processes: int, pool_size: int) -> str:
    """Return what is wrong and what to do; "" if all that may be needed is allowed."""
    needed = processes * (pool_size + OWN_CONNECTIONS)
    if allowed >= needed:
        return ""
    several = f"{processes} processes with " if processes > 1 else ""
    each = f"{several}pool_size = {pool_size} and {OWN_CONNECTIONS} for the queue"
    smaller = allowed // processes - OWN_CONNECTIONS
    lower = f"lower pool_size in [database] to {smaller}, or " if smaller > 0 else ""
    return (
        f"hookd may need {needed} connections ({each}), and {whose} allows {allowed}: {lower}allow {needed}"
    )
