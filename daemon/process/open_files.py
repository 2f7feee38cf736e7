"""How many files the process may have open: each connection, in or out, is one."""

import logging
import resource

from daemon.config.model import Config
from daemon.egress.happy_eyeballs import AT_ONCE
from daemon.egress.resolver import MAX_LOOKUPS as LOOKUPS
from daemon.store.database import OWN_CONNECTIONS

logger = logging.getLogger("hookd")

_BESIDES = 100
_MIN_IDLE = 256
# For each request under way, and for many hosts in turn: one that is closed before its host's next turn was
# of no use.
_IDLE_EACH, _IDLE_MANY = 8, 2048


def raise_open_files(config: Config) -> None:
    """Raise the soft limit to the hard one, and warn where that is not enough for the configuration.

    The usual soft limit of 1024 is there for programs that call select(2); this one does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    needed = open_files_needed(config)
    if hard != resource.RLIM_INFINITY and hard < needed:
        logger.warning(
            "the process may have %d files open, and the configuration may come to need %d: raise the limit "
            "(LimitNOFILE= in the unit, ulimit -Hn) or lower api.max_connections or delivery.concurrency",
            hard,
            needed,
        )


def open_files_needed(config: Config) -> int:
    """Return how many the API's connections and those that are on their way out, the requests under way and
    those kept for reuse, look-ups of names, and the database's may come to. Several attempts for one
    connection are under way where a host does not answer.
    """
    unanswered = int(config.delivery.concurrency * config.delivery.unanswered_share)
    receivers = config.delivery.concurrency + _MIN_IDLE + 2 * LOOKUPS + (AT_ONCE - 1) * unanswered
    return 3 * config.api.max_connections + receivers + config.database.pool_size + OWN_CONNECTIONS + _BESIDES


def idle_connections(config: Config) -> int:
    """Return how many idle connections to receivers may be kept, as far as the limit allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(_IDLE_MANY, _IDLE_EACH * config.delivery.concurrency)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(_MIN_IDLE, min(wanted, soft - open_files_needed(config)))
