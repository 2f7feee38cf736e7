"""The file with the master keys: read, or made by a first start."""

import logging
from dataclasses import dataclass
from pathlib import Path

from daemon.config.model import Config
from daemon.config.secret_file import SecretFileError, SecretMissing, read_or_make, read_secret
from daemon.explained_error import ExplainedError
from daemon.signing.vault import VaultError, generate_master_key, parse_master_keys

logger = logging.getLogger("hookd")


class MasterKeyError(ExplainedError):
    """The master key cannot be used; the text says what was found, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class MasterKeyFile:
    """The file with the master keys. `named`: by the configuration, so that it is not for us to make."""

    path: Path
    named: bool

    def read(self) -> tuple[bytes, ...] | None:
        """Return the keys, newest first; None where the file is still to be made. Error: `MasterKeyError`."""
        try:
            return self._parsed(read_secret(self.path))
        except SecretMissing as error:
            if self.named:
                raise MasterKeyError(str(error)) from None
            return None
        except SecretFileError as error:
            raise MasterKeyError(str(error)) from None

    def make(self) -> tuple[bytes, ...]:
        """Return a new key, once it is in the file. Error: `MasterKeyError`."""
        try:
            content, made = read_or_make(self.path, lambda: generate_master_key().encode())
        except SecretFileError as error:
            raise MasterKeyError(str(error)) from None
        if made:
            logger.warning(
                "made %s on first start; it encrypts the subscriptions' secrets: keep a copy, without it they"
                " are lost",
                self.path,
            )
        return self._parsed(content)

    def _parsed(self, content: bytes) -> tuple[bytes, ...]:
        try:
            return parse_master_keys(content)
        except VaultError as error:
            raise MasterKeyError(f"{self.path}: {error}") from None


def master_key_file(config: Config, state: Path) -> MasterKeyFile:
    """Return the file that is configured, or that of the state directory, which a first start makes."""
    named = config.signing.master_key_file
    return MasterKeyFile(Path(named) if named else state / "master.key", bool(named))
