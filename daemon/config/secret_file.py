"""Files with secrets: read with care, and made once on first start."""

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from daemon.explained_error import ExplainedError

_LENGTH_LIMIT = 64 * 1024
_OTHERS = 0o077


class SecretFileError(ExplainedError):
    """A secret cannot be read or made; the text names the file and says what to do, never what is in it."""


class SecretMissing(SecretFileError):
    """There is no such file."""


def read_secret(path: Path, *, environ: Mapping[str, str] = os.environ, private: bool = True) -> bytes:
    """Return the content of `path` without its final line break.

    Only the owner may have access to a `private` file, or read it a group that root has let in; systemd's
    credentials are under systemd's own protection. Raises SecretFileError.
    """
    try:
        # Non-blocking, so that a named pipe in place of the file does not hold up the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SecretMissing(
            f"{path}: there is no such file: make it, or correct the setting that names it"
        ) from None
    except OSError as error:
        raise SecretFileError(
            f"{path}: cannot be read ({error.strerror}): let the user that runs hookd own it"
        ) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SecretFileError(f"{path}: is not a regular file: name the file with the secret itself")
        if private and _is_open(status) and not _is_credential(path, environ):
            mode = stat.S_IMODE(status.st_mode)
            raise SecretFileError(f"{path}: others have access to it (mode {mode:04o}): chmod 600 {path}")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(_LENGTH_LIMIT + 1)
    finally:
        os.close(descriptor)
    if len(content) > _LENGTH_LIMIT:
        raise SecretFileError(
            f"{path}: is longer than {_LENGTH_LIMIT} bytes: name the file with the secret itself"
        )
    secret = content.removesuffix(b"\n").removesuffix(b"\r")
    if not secret.strip():
        raise SecretFileError(f"{path}: is empty: put the secret into it, or remove it")
    return secret


def read_password(path: Path, *, environ: Mapping[str, str] = os.environ) -> str:
    """Return the password in `path`. Raises SecretFileError."""
    try:
        password = read_secret(path, environ=environ).decode()
    except UnicodeDecodeError:
        password = ""
    if not password.isprintable() or not password:
        raise SecretFileError(f"{path}: is not one line of UTF-8 text: put the password alone into it")
    return password


def read_or_make(
    path: Path, make: Callable[[], bytes], *, environ: Mapping[str, str] = os.environ
) -> tuple[bytes, bool]:
    """Return the secret in `path`, and whether this call made it.

    `make` returns a new secret: text without a line break. The file appears whole, with mode 0600, or not at
    all; of several processes that start at once, one makes it and all return the same.
    Raises SecretFileError.
    """
    try:
        return read_secret(path, environ=environ), False
    except SecretMissing:
        pass
    try:
        made = _put(path, make())
    except OSError as error:
        raise SecretFileError(
            f"{path}: cannot be made ({error.strerror}): let the user that runs hookd write to {path.parent}"
        ) from None
    return read_secret(path, environ=environ), made


def _put(path: Path, secret: bytes) -> bool:
    """Write `secret` to `path` unless something is there; return whether it was this call that wrote it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(secret + b"\n")
            file.flush()
            os.fsync(descriptor)
        # A link, unlike a rename, fails where a name is taken: the first one wins.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
            return True
        return False
    finally:
        temporary.unlink()
        _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_open(status: os.stat_result) -> bool:
    """Tell whether others can get at a file; root may let a group read it, as for Postgres' own keys."""
    return bool(status.st_mode & _OTHERS & ~(stat.S_IRGRP if status.st_uid == 0 else 0))


def _is_credential(path: Path, environ: Mapping[str, str]) -> bool:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and path.resolve().is_relative_to(Path(directory or "/").resolve())
