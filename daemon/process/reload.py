"""SIGHUP: the configuration is read again, checked and swapped at once; after an error the old one stays."""

import logging
import time
from collections.abc import Iterable, Mapping

from daemon.config.config_error import ConfigError
from daemon.config.load import Loaded
from daemon.config.model import Config
from daemon.config.state import state_directory
from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.process.application import Application
from daemon.process.master_key import refuse_other_master_keys
from daemon.process.master_key_file import MasterKeyError, master_key_file
from daemon.process.named_files import contents, file_problems
from daemon.process.systemd import notify
from daemon.schemas import SchemaError, load_schemas
from daemon.store.database import DatabaseUnavailable, RetryTransaction

logger = logging.getLogger("hookd.config")

LIVE = {
    "api": {"max_body", "max_batch", "rate", "burst", "cors_origins"},
    "events": {"types", "schemas", "max_bytes", "max_depth", "max_values"},
    "delivery": {
        "timeout",
        "retry_schedule",
        "own_retries",
        "own_retry_min",
        "own_retry_total",
        "retry_jitter",
        "disable_after",
        "retry_after_max",
        "replay_rate",
    },
    "daemon": {"stop_timeout"},
    "hosts": {"rate", "burst", "in_flight", "override"},
    "egress": {"https_only", "ports"},
    "signing": {"header_prefix", "secret_overlap", "secret_overlap_max"},
    "retention": {"events", "attempts"},
    "logging": {"level", "access"},
}
"""The keys that take effect at once; the others need a restart."""
FOREVER = 365 * 86400.0


async def serve_reload(application: Application, loaded: Loaded, hangup: AutoResetEvent) -> None:
    """Read the configuration again whenever `hangup` is set."""
    at_start = contents(application.config)
    while True:
        if await hangup.wait(FOREVER):
            notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            await _reload(application, loaded, at_start)
            notify("READY=1")


async def _reload(application: Application, loaded: Loaded, at_start: Mapping[str, bytes]) -> None:
    try:
        again = loaded.again()
        wanted, problems = again.config, file_problems(again)
        if problems:
            raise ConfigError(problems)
        schemas = load_schemas(wanted.events.schemas)
        if "signing.master_key_file" in _other_content(wanted, at_start):
            # What the next start would refuse is told now, while the old key is in use.
            file = master_key_file(wanted, state_directory(wanted.state.directory))
            await refuse_other_master_keys(application.database, file)
    except (ConfigError, SchemaError, MasterKeyError, DatabaseUnavailable, RetryTransaction) as error:
        for problem in str(error).splitlines():
            logger.error("not reloaded: %s", problem)
        application.metrics.reload_successful = False
        return
    now, later = differences(application.config, wanted)
    if schemas != application.schemas and "events.schemas" not in now:
        now.append("events.schemas")  # the same files with other content
    later += [key for key in _other_content(wanted, at_start) if key not in later]
    application.config = merged(application.config, wanted, now)
    application.schemas = schemas
    application.targets.forget()
    logging.getLogger("hookd").setLevel(application.config.logging.level.upper())
    try:
        await application.apply_rules()
    except (DatabaseUnavailable, RetryTransaction) as error:
        logger.error("the database has not heard of the new rules; send SIGHUP again: %s", error)
    application.metrics.reload_successful = True
    application.metrics.reloaded_at = application.clock.now()
    logger.info("reloaded: %s", ", ".join(now) or "nothing has changed that can change now")
    if later:
        logger.warning("to take effect, these need a restart: %s", ", ".join(later))


def _other_content(wanted: Config, at_start: Mapping[str, bytes]) -> list[str]:
    """Return the keys whose files are not what they were at the start."""
    return [key for key, digest in contents(wanted).items() if digest != at_start.get(key)]


def differences(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """Return the keys in which the two differ: those that take effect at once, and the others."""
    now: list[str] = []
    later: list[str] = []
    for section in type(old).model_fields:
        before, after = getattr(old, section), getattr(new, section)
        for key in type(before).model_fields:
            if getattr(before, key) != getattr(after, key):
                (now if key in LIVE.get(section, ()) else later).append(f"{section}.{key}")
    return now, later


def merged(old: Config, new: Config, keys: Iterable[str]) -> Config:
    """Return `old` with the `keys` (section.key) of `new`."""
    sections: dict[str, dict[str, object]] = {}
    for name in keys:
        section, _, key = name.partition(".")
        sections.setdefault(section, {})[key] = getattr(getattr(new, section), key)
    return old.model_copy(
        update={name: getattr(old, name).model_copy(update=changed) for name, changed in sections.items()}
    )
