"""Let plpgsql_check look into every function of the schema, for what Postgres finds only when it runs them.

Needs a Postgres with that extension, such as Debian's postgresql-15-plpgsql-check; starts one of its own.
"""

import asyncio
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import asyncpg

from daemon.store.migrate import migrate
from daemon.store.statements import load

SCHEMA = "hookd"
CHECK = """
select format('%s line %s: %s: %s', function.oid::regprocedure, found.lineno, found.level, found.message)
  from pg_proc function
  join pg_language language on language.oid = function.prolang and language.lanname = 'plpgsql'
  left join pg_trigger trigger on trigger.tgfoid = function.oid
 cross join lateral plpgsql_check_function_tb(
       function.oid, coalesce(trigger.tgrelid, 0), performance_warnings => false) found
 where function.pronamespace = $1::regnamespace
 order by 1
"""


def find_server() -> Path | None:
    """Return the program directory of the newest installed Postgres that has the extension."""
    controls = Path("/usr/share/postgresql").glob("*/extension/plpgsql_check.control")
    versions = sorted(int(path.parts[-3]) for path in controls if path.parts[-3].isdecimal())
    return Path(f"/usr/lib/postgresql/{versions[-1]}/bin") if versions else None


@contextmanager
def running(programs: Path) -> Iterator[str]:
    """Run a server in a temporary directory, and yield that directory, which has its socket."""
    # Postgres refuses to run as root; Debian's package has a user for it.
    user = "postgres" if os.geteuid() == 0 else None
    directory = Path(mkdtemp(prefix="hookd-plpgsql-"))
    if user:
        os.chown(directory, pwd.getpwnam(user).pw_uid, -1)
    data = str(directory / "data")

    def call(program: str, *arguments: str) -> None:
        command = [str(programs / program), *arguments]
        subprocess.run(command, check=True, timeout=60, user=user, cwd=directory, stdout=subprocess.DEVNULL)

    try:
        call("initdb", "--auth=trust", "--username=check", "--no-sync", data)
        options = f"-c listen_addresses='' -c unix_socket_directories={directory} -c fsync=off"
        call("pg_ctl", "start", "--wait", "--log", str(directory / "log"), "--options", options, "-D", data)
        try:
            yield str(directory)
        finally:
            call("pg_ctl", "stop", "--wait", "--mode=immediate", "-D", data)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def complaints(directory: str) -> list[str]:
    """Return what the extension has against the schema's functions."""
    connection = await asyncpg.connect(host=directory, user="check", database="postgres", timeout=30)
    try:
        await migrate(connection, load(SCHEMA))
        await connection.execute("create extension plpgsql_check")
        return [row[0] for row in await connection.fetch(CHECK, SCHEMA)]
    finally:
        await connection.close()


def main() -> int:
    """Check, print what was found, and return the exit code."""
    programs = find_server()
    if programs is None:
        print("plpgsql functions: not checked, no Postgres here has plpgsql_check")
        return 0
    with running(programs) as directory:
        found = asyncio.run(complaints(directory))
    for complaint in found:
        print(re.sub(r"\s+", " ", complaint), file=sys.stderr)
    if not found:
        print("plpgsql functions: good")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
