"""Where the embedded Postgres lives: its directories, the account that runs it, and its binaries.

Postgres refuses to run as root. Started by root, the server runs as an unprivileged account (`hookd`, else
`postgres`, else `nobody`), and what that account must reach may lie below a directory closed to it, as /root
usually is. Nobody else's directory is opened for that: the binaries, or the data, go below `SHARED`.
"""

import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from daemon.explained_error import ExplainedError
from daemon.store.embedded_binaries import find_installation, open_copy
from daemon.store.embedded_locks import LockTimeout

SHARED = Path("/var/lib/hookd-postgres")
ACCOUNTS = ("hookd", "postgres", "nobody")
SOCKET_NAME = ".s.PGSQL.5432"
SUN_PATH = 107
"""Bytes that a Unix socket's path may have (`sun_path` of unix(7), less its final NUL)."""


class EmbeddedError(ExplainedError):
    """The embedded Postgres cannot be used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The system account that owns the data and runs the server; `switch` when it is not the caller's own."""

    uid: int
    gid: int
    switch: bool


@dataclass(frozen=True, slots=True)
class Home:
    """What one server needs. The caller owns `place`; the account owns `data` below it and `sockets`."""

    place: Path
    binaries: Path
    account: Account
    sockets: Path

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def log(self) -> Path:
        return self.place / "server.log"


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn the operating system's errors in the block into `EmbeddedError`s that name `what` failed."""
    try:
        yield
    except OSError as error:
        raise EmbeddedError(
            f"{what}: {error.strerror} ({error.filename}): set directory in [state] of config.toml to one"
            " that this user may write and that has room"
        ) from error
    except LockTimeout as error:
        raise EmbeddedError(f"{what}: {error}, then start again") from error


def settle(state: Path) -> Path:
    """Return the directory of the server that belongs to the state directory `state`, made if need be.

    It is `state/postgres`; if the account that is to run the server cannot reach that, it is a new directory
    below `SHARED`, and `state/postgres` a symbolic link to it.
    """
    state = state.absolute()
    state.mkdir(mode=0o755, parents=True, exist_ok=True)
    name = state / "postgres"
    if not name.exists():
        if os.geteuid() == 0 and not reachable(state, _unprivileged_account()):
            _settle_elsewhere(name)
        else:
            name.mkdir(mode=0o711, exist_ok=True)
    place = name.resolve()
    owner = place.stat().st_uid
    if owner != os.geteuid():
        # Root must not write where somebody else may have put symbolic links, nor leave files of its own.
        raise EmbeddedError(
            f"{place} belongs to the user {_user_name(owner)}: start hookd as that user, for instance with"
            f" 'sudo -u {_user_name(owner)}', or set directory in [state] of config.toml to one of your own"
        )
    place.chmod(0o711)
    return place


def furnish(place: Path) -> Home:
    """Return what a server in `place` needs, made if need be. The caller holds the start lock."""
    account = _account(place / "data")
    if account.switch and not reachable(place, account):
        raise EmbeddedError(
            f"{_user_name(account.uid)}, which runs the embedded Postgres, cannot reach its data in {place}:"
            " let others pass (chmod o+x) through each directory above it"
        )
    installation = find_installation()
    if installation is None:
        raise EmbeddedError(
            "the embedded Postgres is not installed: install hookd[embedded], or set url in [database] of"
            " config.toml to a Postgres 15 or later"
        )
    if account.switch and not _usable(installation, account):
        _make_shared()
        installation = open_copy(installation, SHARED)
    return Home(place, installation / "bin", account, _socket_directory(place, account))


def leave_sockets(home: Home) -> None:
    """Remove a socket directory outside `place`, after the server has stopped."""
    if home.sockets.parent != home.place:
        (home.place / "socket-directory").unlink(missing_ok=True)
        with suppress(OSError):
            home.sockets.rmdir()


def reachable(directory: Path, account: Account) -> bool:
    """Tell whether `account` may pass through `directory` and everything above it, by their mode bits."""
    directory = directory.resolve()
    return all(_allowed(one.stat(), account, stat.S_IXUSR) for one in (directory, *directory.parents))


def _allowed(status: os.stat_result, account: Account, bit: int) -> bool:
    """Tell whether the permission `bit` (the owner's) is set in whichever class counts for `account`."""
    shift = 0 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 6
    return bool(status.st_mode & bit >> shift)


def _usable(installation: Path, account: Account) -> bool:
    """Tell whether `account` can run the server from here; pip under a strict umask leaves files closed."""
    program = installation / "bin" / "postgres"
    catalogue = installation / "share" / "postgresql" / "postgres.bki"
    return (
        reachable(program.parent, account)
        and reachable(catalogue.parent, account)
        and _allowed(program.stat(), account, stat.S_IXUSR)
        and _allowed(catalogue.stat(), account, stat.S_IRUSR)
    )


def _account(data: Path) -> Account:
    """Return who runs the server: for root the owner of the data, if there is any; else the caller."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    if not data.exists():
        return _unprivileged_account()
    status = data.stat()
    if status.st_uid == 0:
        raise EmbeddedError(
            f"{data} belongs to root, as whom Postgres does not run: chown -R it to another user"
        )
    return Account(status.st_uid, status.st_gid, switch=True)


def _unprivileged_account() -> Account:
    """Return the account that runs a new server which root starts."""
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, switch=True)
    raise EmbeddedError(
        f"Postgres does not run as root, and none of the accounts {', '.join(ACCOUNTS)} exists: create one"
        " with 'useradd --system hookd', or start hookd as another user"
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"number {uid}"


def _settle_elsewhere(name: Path) -> None:
    """Make a directory below `SHARED` and the symbolic link `name` to it."""
    _make_shared()
    place = Path(tempfile.mkdtemp(prefix=f"{name.parent.name}-", dir=SHARED))
    try:
        name.symlink_to(place)
    except FileExistsError:  # another process was quicker
        place.rmdir()


def _make_shared() -> None:
    SHARED.mkdir(mode=0o711, parents=True, exist_ok=True)
    if SHARED.stat().st_uid != 0:
        raise EmbeddedError(f"{SHARED} does not belong to root: move it away, or chown it to root")
    SHARED.chmod(0o711)


def _socket_directory(place: Path, account: Account) -> Path:
    """Return a directory only `account` can enter, with a path that leaves room for the socket's name.

    Deep state directories exceed what the kernel takes as a socket's path. Theirs is in the directory for
    temporary files, and `place` records it; what somebody else put there in the meantime is not used.
    """
    directory = place / "socket"
    if len(os.fsencode(directory / SOCKET_NAME)) > SUN_PATH:
        record = place / "socket-directory"
        directory = Path(record.read_text()) if record.exists() else directory
        if not _is_private(directory, account):
            directory = Path(tempfile.mkdtemp(prefix="hookd-", dir="/tmp"))
            record.write_text(str(directory))
    else:
        directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != account.uid:
        os.chown(directory, account.uid, account.gid)
    return directory


def _is_private(directory: Path, account: Account) -> bool:
    try:
        status = directory.lstat()
    except OSError:
        return False
    ours = status.st_uid in (account.uid, os.geteuid())
    return ours and stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
