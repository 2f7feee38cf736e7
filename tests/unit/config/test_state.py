"""The state directory and secrets in files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.config.secret_file import SecretFileError, read_or_make, read_password, read_secret
from daemon.config.state import StateError, make_state_directory, state_directory


def secret_file(tmp_path: Path, content: bytes = b"secret\n", mode: int = 0o600) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_state_directory_is_found_in_order() -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "HOME": "/home/me"}
    assert state_directory("/x", environ=environ, user_id=1) == Path("/x")
    assert state_directory("x", environ=environ, user_id=1) == Path.cwd() / "x"
    assert state_directory("", environ=environ, user_id=0) == Path("/var/lib/a")
    assert state_directory("", environ={"HOME": "/root"}, user_id=0) == Path("/var/lib/hookd")
    assert state_directory("", environ={"HOME": "/home/me"}, user_id=1) == Path("/home/me/.local/state/hookd")


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "relative"}])
def test_a_user_without_a_home_is_told_what_to_set(environ: dict[str, str]) -> None:
    with pytest.raises(StateError, match=r"set state\.directory"):
        state_directory("", environ=environ, user_id=1)


def test_the_state_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    made = make_state_directory(tmp_path / "a" / "b")
    assert made.stat().st_mode & 0o777 == 0o700
    assert make_state_directory(made) == made


def test_a_file_in_place_of_the_state_directory_is_told(tmp_path: Path) -> None:
    path = secret_file(tmp_path)
    with pytest.raises(StateError, match=r"is not a directory: set state\.directory"):
        make_state_directory(path)
    with pytest.raises(StateError, match=r"cannot be made \(Not a directory\)"):
        make_state_directory(path / "below" / "it")


@pytest.mark.parametrize(
    ("content", "secret"), [(b"a b\n", b"a b"), (b"ab\r\n", b"ab"), (b"ab\n\n", b"ab\n"), (b" ab ", b" ab ")]
)
def test_a_secret_is_the_content_without_its_final_line_break(
    tmp_path: Path, content: bytes, secret: bytes
) -> None:
    assert read_secret(secret_file(tmp_path, content), environ={}) == secret


@pytest.mark.parametrize("mode", [0o660, 0o604, 0o620, 0o601, 0o666])
def test_a_secret_that_others_can_get_at_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, mode=mode)
    with pytest.raises(SecretFileError, match=rf"\(mode {mode:04o}\): chmod 600 {path}$"):
        read_secret(path, environ={})
    assert read_secret(path, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}) == b"secret"
    with pytest.raises(SecretFileError, match="chmod 600"):
        read_secret(path, environ={"CREDENTIALS_DIRECTORY": str(tmp_path / "other")})


def test_root_may_let_a_group_read_a_secret_and_a_user_may_not(tmp_path: Path) -> None:
    path = secret_file(tmp_path, mode=0o640)
    if os.geteuid() == 0:
        assert read_secret(path, environ={}) == b"secret"
        os.chown(path, 65534, -1)
    with pytest.raises(SecretFileError, match="chmod 600"):
        read_secret(path, environ={})
    assert read_secret(path, environ={}, private=False) == b"secret"


@pytest.mark.parametrize("content", [b"s\xff", b"two\nlines", b"nul\0"])
def test_a_password_is_one_line_of_text(tmp_path: Path, content: bytes) -> None:
    assert read_password(secret_file(tmp_path, "pä ss/@\n".encode()), environ={}) == "pä ss/@"
    with pytest.raises(SecretFileError, match="put the password alone into it") as caught:
        read_password(secret_file(tmp_path, content), environ={})
    assert repr(content)[2:-1] not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n"])
def test_an_empty_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SecretFileError, match="is empty: put the secret into it"):
        read_secret(secret_file(tmp_path, content), environ={})


def test_what_is_no_secret_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match="there is no such file: make it"):
        read_secret(tmp_path / "none", environ={})
    with pytest.raises(SecretFileError, match="is not a regular file"):
        read_secret(tmp_path, environ={})
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SecretFileError, match="is not a regular file"):
        read_secret(tmp_path / "pipe", environ={})
    with pytest.raises(SecretFileError, match="is longer than 65536 bytes"):
        read_secret(secret_file(tmp_path, b"x" * 65_537), environ={})
    with pytest.raises(SecretFileError, match=r"cannot be read \(Not a directory\)"):
        read_secret(secret_file(tmp_path) / "below", environ={})


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert read_or_make(path, lambda: b"first", environ={}) == (b"first", True)
    assert read_or_make(path, lambda: b"second", environ={}) == (b"first", False)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_process_that_comes_second_takes_the_others_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"

    def make() -> bytes:
        # While this one thinks, another is faster.
        assert read_or_make(path, lambda: b"theirs", environ={}) == (b"theirs", True)
        return b"ours"

    assert read_or_make(path, make, environ={}) == (b"theirs", False)
    assert list(tmp_path.iterdir()) == [path]


def test_processes_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from daemon.config.secret_file import read_or_make\n"
        "sys.stdin.read()\n"
        "secret, made = read_or_make(Path(sys.argv[1]), lambda: os.urandom(8).hex().encode())\n"
        "print(secret.decode(), made)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "secret")]
    root = Path(__file__).parents[3]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
        for _ in range(4)
    ]
    for process in running:
        assert process.stdin
        process.stdin.close()
        process.stdin = None
    answers = [process.communicate(timeout=30)[0].split() for process in running]
    assert len({secret for secret, _ in answers}) == 1
    assert sorted(made for _, made in answers) == ["False", "False", "False", "True"]


def test_a_secret_that_cannot_be_made_is_told_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match=rf"cannot be made .*write to {tmp_path / 'none'}$"):
        read_or_make(tmp_path / "none" / "secret", lambda: b"x", environ={})


def test_an_empty_file_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match="is empty"):
        read_or_make(secret_file(tmp_path, b""), lambda: b"x", environ={})
