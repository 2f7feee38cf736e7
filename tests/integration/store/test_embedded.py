# Covers daemon.store.embedded_locks, daemon.store.embedded_server.

import asyncio
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from daemon.store import embedded_home
from daemon.store.embedded import Embedded, EmbeddedError, embedded
from tests.support.postgres import reachable_directory

REPOSITORY = Path(__file__).parents[3]
USE = """
import sys
from pathlib import Path
from daemon.store.embedded import embedded
with embedded(Path(sys.argv[1]), {"fsync": "off"}) as url:
    print(url, flush=True)
    sys.stdin.read()
print("left", flush=True)
"""


def query(url: str, statement: str) -> object:
    async def run() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def server_process(state: Path) -> int:
    return int((state / "postgres" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])


def runs(state: Path) -> bool:
    return (state / "postgres" / "data" / "postmaster.pid").exists()


def wait_for_end(process: int) -> None:
    """Return when the process is gone, or a zombie that waits for a first process that buries none."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{process}/cmdline").read_bytes() == b"":
                return
        except FileNotFoundError:
            return
        time.sleep(0.01)
    raise AssertionError(f"process {process} still runs")


@contextmanager
def user_process(state: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the server, until it is told to `leave`."""
    with subprocess.Popen(
        [sys.executable, "-c", USE, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def leave(process: subprocess.Popen[str]) -> None:
    """Let a user process leave, and return when it has."""
    assert process.stdin is not None
    process.stdin.close()
    assert said(process) == "left"


def as_nobody(function: Callable[[], str]) -> str:
    """Return what `function` returns, or its error's text, in a forked process of the user nobody.

    Forked rather than executed, because nobody may not be able to reach this interpreter.
    """
    nobody = pwd.getpwnam("nobody")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        try:
            os.write(writer, function().encode())
        except EmbeddedError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        text = answers.read()
    os.waitpid(child, 0)
    return text


@contextmanager
def state_directory() -> Iterator[Path]:
    """Give the path of a state directory, not yet made."""
    with reachable_directory() as directory:
        yield directory / "state"
        if runs(directory / "state"):  # because its last user was killed
            with embedded(directory / "state"):
                pass


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory, not yet made."""
    with state_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def made_once() -> Iterator[Path]:
    """A state directory whose server was made, and is stopped."""
    with state_directory() as directory:
        with embedded(directory):
            pass
        yield directory


@pytest.fixture
def made(made_once: Path) -> Iterator[Path]:
    """A copy of it: to make a server takes longer than what most tests do with it."""
    with state_directory() as directory:
        subprocess.run(["/bin/cp", "-a", made_once, directory], check=True)
        yield directory


def test_keeps_what_was_written_and_stops_when_left(state: Path) -> None:
    with embedded(state) as url:
        query(url, "create table kept (n int)")
        assert query(url, "show listen_addresses") == ""
        assert query(url, "show data_checksums") == "on"
        assert query(url, "show fsync") == "on"
        assert query(url, "show server_encoding") == "UTF8"
        # By code point, whatever the C library of the day thinks.
        assert query(url, "select string_agg(l, '' order by l) from unnest('{b,B,ä,a}'::text[]) l") == "Babä"
        assert runs(state)
    assert not runs(state)
    with embedded(state, {"work_mem": "5MB"}) as url:
        assert query(url, "select count(*) from kept") == 0
        assert query(url, "show work_mem") == "5MB"


def test_only_its_account_can_enter_its_directories(state: Path) -> None:
    with embedded(state):
        place = state / "postgres"
        for name in "data", "socket":
            status = (place / name).stat()
            assert status.st_mode & 0o077 == 0
            assert status.st_uid != 0
        assert all(entry.stat().st_uid == os.geteuid() for entry in place.iterdir() if entry.is_file())


def test_server_is_out_of_reach_of_the_terminal(made: Path) -> None:
    with embedded(made):
        assert os.getsid(server_process(made)) != os.getsid(0)


@pytest.mark.parametrize("name", ["d" * 120, "a space, a 'quote', a \"double\" one and ümlauts"])
def test_any_path_will_do(state: Path, name: str) -> None:
    for _ in range(2):
        with embedded(state / name) as url:
            assert query(url, "select 1") == 1
            sockets = Path(parse_qs(urlsplit(url).query)["host"][0])
            assert sockets.stat().st_mode & 0o077 == 0
        assert list(sockets.iterdir()) == [] if sockets.is_relative_to(state) else not sockets.exists()


def test_deep_path_does_not_trust_a_recorded_directory_of_others(state: Path) -> None:
    deep = state / ("d" * 120)
    open_to_all = state.with_name("open")
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    record = deep / "postgres" / "socket-directory"
    record.parent.mkdir(parents=True)
    record.write_text(str(open_to_all))
    with embedded(deep) as url:
        assert query(url, "select 1") == 1
        assert record.read_text() != str(open_to_all)


def test_last_user_stops_the_server(made: Path) -> None:
    with user_process(made) as first, user_process(made) as second:
        url = said(first)
        assert said(second) == url
        server = server_process(made)
        leave(first)
        assert query(url, "select 1") == 1
        with embedded(made) as third:
            assert third == url
        assert server_process(made) == server
        leave(second)
        assert not runs(made)


def test_many_processes_start_at_once(state: Path) -> None:
    with (
        user_process(state) as a,
        user_process(state) as b,
        user_process(state) as c,
        user_process(state) as d,
    ):
        assert len({said(process) for process in (a, b, c, d)}) == 1


def test_next_process_adopts_the_server_of_a_killed_one(made: Path) -> None:
    with user_process(made) as killed:
        url = said(killed)
        killed.kill()
    assert query(url, "select 1") == 1
    server = server_process(made)
    with embedded(made) as adopted:
        assert adopted == url
        assert server_process(made) == server
    assert not runs(made)


def test_starts_again_after_the_server_was_killed(made: Path) -> None:
    running = Embedded(made)
    try:
        query(running.url, "create table kept (n int)")
        killed = server_process(made)
        os.kill(killed, signal.SIGKILL)
        wait_for_end(killed)
        running.ensure()
        assert server_process(made) != killed
        assert query(running.url, "select count(*) from kept") == 0
        again = server_process(made)
        running.ensure()
        assert server_process(made) == again
    finally:
        running.close()
    assert not runs(made)


def test_process_number_of_a_killed_server_may_belong_to_another_program(made: Path) -> None:
    with embedded(made):
        status = (made / "postgres" / "data" / "postmaster.pid").read_text()
    owner = (made / "postgres" / "data").stat()
    with subprocess.Popen(["/bin/sleep", "60"], user=owner.st_uid) as other:
        stale = made / "postgres" / "data" / "postmaster.pid"
        stale.write_text(f"{other.pid}\n" + status.split("\n", 1)[1])
        os.chown(stale, owner.st_uid, owner.st_gid)
        with embedded(made) as url:
            assert query(url, "select 1") == 1
        other.kill()


def test_half_made_data_directory_is_replaced(state: Path) -> None:
    leftover = state / "postgres" / "data.new-abc"
    leftover.mkdir(parents=True)
    (leftover / "PG_VERSION").write_text("18\n")
    with embedded(state) as url:
        assert query(url, "select 1") == 1
    assert not leftover.exists()


def test_large_log_is_put_aside(made: Path) -> None:
    with embedded(made):
        log = made / "postgres" / "server.log"
        log.write_text("x" * 2_000_000)
    with embedded(made):
        assert log.stat().st_size < 10_000
        assert log.with_suffix(".log.1").stat().st_size >= 2_000_000


def test_statements_do_not_fill_the_log(made: Path) -> None:
    with embedded(made) as url:
        with pytest.raises(asyncpg.UndefinedTableError):
            query(url, "select secret from nowhere")
        assert "nowhere" not in (made / "postgres" / "server.log").read_text()


def test_failed_start_says_what_the_server_said(made: Path) -> None:
    with pytest.raises(EmbeddedError, match="no_such_setting"), embedded(made, {"no_such_setting": "1"}):
        pass
    with embedded(made) as url:
        assert query(url, "select 1") == 1


def test_missing_wheel_is_explained(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_home, "find_installation", lambda: None)
    with pytest.raises(EmbeddedError, match=r"install hookd\[embedded\], or set url"), embedded(state):
        pass


def test_finding_the_wheel_does_not_import_it() -> None:
    code = "import sys; from daemon.store.embedded_binaries import find_installation as f; print(f());"
    code += "assert not any(name.startswith('pixeltable') for name in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True)
    assert b"pginstall18" in result.stdout


def test_state_that_is_no_directory_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(EmbeddedError, match=r"set directory in \[state\]"),
        embedded(tmp_path / "file" / "state"),
    ):
        pass


if os.geteuid() == 0:
    # Only root can become somebody else, so only root can see these cases.

    def test_ordinary_user(state: Path) -> None:
        nobody = pwd.getpwnam("nobody")
        state.mkdir()
        os.chown(state, nobody.pw_uid, nobody.pw_gid)

        def use() -> str:
            with embedded(state) as url:
                return str(query(url, "show data_directory"))

        assert as_nobody(use) == str(state / "postgres" / "data")
        assert (state / "postgres" / "data").stat().st_uid == nobody.pw_uid
        with pytest.raises(EmbeddedError, match="sudo -u nobody"), embedded(state):
            pass

    def test_user_who_does_not_own_the_state_is_told(made: Path) -> None:
        def use() -> str:
            with embedded(made):
                return "was let in"

        with embedded(made):
            assert "sudo -u root" in as_nobody(use)

    def test_closed_state_directory_stays_closed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shared = state.with_name("shared")
        monkeypatch.setattr(embedded_home, "SHARED", shared)
        state.mkdir(mode=0o700)
        with embedded(state) as url:
            query(url, "create table kept (n int)")
            assert (state / "postgres").resolve().parent == shared
        assert state.stat().st_mode & 0o777 == 0o700
        moved = state.rename(state.with_name("moved"))
        with embedded(moved) as url:
            assert query(url, "select count(*) from kept") == 0

    def test_state_directory_closed_later_is_not_mistaken_for_an_empty_one(made: Path) -> None:
        with embedded(made):
            pass
        made.chmod(0o700)
        with pytest.raises(EmbeddedError, match=r"chmod o\+x"), embedded(made):
            pass

    def test_wheel_below_a_closed_directory_is_copied(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shared = state.with_name("shared")
        monkeypatch.setattr(embedded_home, "SHARED", shared)
        monkeypatch.setattr(embedded_home, "_usable", lambda installation, account: False)
        (shared / "copying-before").mkdir(parents=True)
        for _ in range(2):
            with embedded(state) as url:
                assert query(url, "select 1") == 1
                command = Path(f"/proc/{server_process(state)}/cmdline").read_bytes().split(b"\0", 1)[0]
                assert command.startswith(os.fsencode(shared))
        assert not list(shared.glob("copying-*"))
