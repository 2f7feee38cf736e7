"""The embedded Postgres as processes: make its data directory, launch it, see whether it answers, stop it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from daemon.store.embedded_home import SOCKET_NAME, EmbeddedError, Home

USER = "hookd"
STOP_SECONDS = 60
LOG_BYTES = 1 << 20

# Statements' errors go to the client that sent them; the server's own log keeps only its life (start, stop,
# crash), so that it stays small and no payload gets into it.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    "autovacuum_naptime": "15s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}


def create(home: Home) -> None:
    """Make the data directory, wholly or not at all: in a directory beside it, which then gets its name.

    The caller holds the start lock, so what is left of another attempt belongs to nobody and is removed.
    """
    for leftover in home.place.glob("data.new-*"):
        shutil.rmtree(leftover)
    if home.data.exists():
        return
    building = Path(tempfile.mkdtemp(prefix="data.new-", dir=home.place))
    if home.account.switch:
        os.chown(building, home.account.uid, home.account.gid)
    _run(
        home,
        "initdb",
        f"--pgdata={building}",
        f"--username={USER}",
        "--auth=trust",  # who can enter the socket's directory is the server's account, or root
        "--encoding=UTF8",
        "--data-checksums",
        *_locale(home),
    )
    building.rename(home.data)
    directory = os.open(home.place, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def launch(home: Home, settings: Mapping[str, str], lock: int) -> int:
    """Let the server begin to start, out of reach of the terminal's Ctrl-C; return its log's offset.

    `lock` is a locked file descriptor that the server and all its processes inherit: nobody else can lock
    that file until the last of them is gone, which tells more than a process id in a file does.
    """
    configuration = _configure(home, settings)
    if home.log.exists() and home.log.stat().st_size > LOG_BYTES:
        home.log.replace(home.log.with_suffix(".log.1"))
    for status in (home.data / "postmaster.pid", home.sockets / f"{SOCKET_NAME}.lock"):
        _forget_stale_process(status)
    command = [str(home.binaries / "postgres"), "-D", str(home.data), "-c", f"config_file={configuration}"]
    with home.log.open("ab") as log:
        offset = log.tell()  # before the server, which shares this file's position, writes
        # The shell ends at once: the server's parent is then the system's first process, whoever started it.
        _call(home, ["/bin/sh", "-c", '"$@" &', "sh", *command], log, lock)
    return offset


def answers(home: Home) -> bool:
    """Tell whether the server takes connections now."""
    where = [f"--host={home.sockets}", f"--username={USER}", "--dbname=postgres"]
    return _call(home, [str(home.binaries / "pg_isready"), "--quiet", "--timeout=3", *where]).returncode == 0


def stop(home: Home) -> None:
    """Stop the server in order: sessions are ended, what is committed is on disk. Returns when it is gone."""
    _run(home, "pg_ctl", "stop", "-D", str(home.data), "-m", "fast", "-t", str(STOP_SECONDS), "-s")


def excerpt(home: Home, offset: int = 0) -> str:
    """Return what the server's log says from `offset` on, and where it is, for an error's text."""
    with home.log.open("rb") as file:
        file.seek(offset)
        text = file.read(4096).decode(errors="replace").strip()
    return f"see {home.log}, which says: {text}" if text else f"see {home.log}"


def _forget_stale_process(status: Path) -> None:
    """Remove a lock file of Postgres if the process number in it now belongs to another program.

    No server runs here, as the caller's lock shows. Postgres would still refuse to start if it found some
    process of the same user under the number of a server that was killed, which in a restarted container is
    the rule, or a zombie (whose command line is empty) that a careless first process never buries.
    """
    try:
        number = int(status.read_text().split("\n", 1)[0])
        program = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0", 1)[0]
    except (OSError, ValueError):
        return
    if os.path.basename(program) != b"postgres":
        status.unlink(missing_ok=True)


def _configure(home: Home, settings: Mapping[str, str]) -> Path:
    """Write the server's configuration, anew at each start, and return its path."""
    # A list of directories: an element in double quotes may contain anything.
    sockets = '"{}"'.format(str(home.sockets).replace('"', '""'))
    values = {**SETTINGS, "unix_socket_directories": sockets, **settings}
    path = home.place / "postgresql.conf"
    quoted = {name: value.replace("'", "''") for name, value in values.items()}
    lines = [f"{name} = '{value}'\n" for name, value in quoted.items()]
    path.write_text("# Written by hookd at each start of the server; changes are lost.\n" + "".join(lines))
    path.chmod(0o644)
    return path


def _locale(home: Home) -> list[str]:
    """Return the options for an order by code point that no update of the C library can change."""
    has_builtin = home.binaries.parent.name == "pginstall18"
    return ["--locale=C", *(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if has_builtin else [])]


def _run(home: Home, program: str, *arguments: str) -> None:
    result = _call(home, [str(home.binaries / program), *arguments])
    if result.returncode != 0:
        said = result.stdout.decode(errors="replace").strip()[-2000:]
        raise EmbeddedError(f"{program} of the embedded Postgres failed in {home.place}; it says: {said}")


def _call(
    home: Home, command: list[str], output: BinaryIO | None = None, lock: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program as the server's account, with nothing of ours but `lock`: no PG* variable, no secret."""
    account = home.account
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if output is None else output,
        stderr=subprocess.STDOUT,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C", "PG_GRANDPARENT_PID": str(os.getpid())},
        pass_fds=() if lock is None else (lock,),
        start_new_session=True,
        check=False,
        user=account.uid if account.switch else None,
        group=account.gid if account.switch else None,
        extra_groups=[] if account.switch else None,
    )
