"""What tokens are verified with: a secret, a public key or a key set, as [auth] says."""

from pathlib import Path

from api.keys import KeySource, PublicKey, SecretKey
from daemon.config.model import Config


def key_source(config: Config, token_key: bytes) -> KeySource:
    """Return the keys for tokens. Error: ValueError."""
    auth = config.auth
    if auth.jwks_url:
        return _key_set(config)
    source: KeySource = PublicKey(token_key) if auth.public_key_file else SecretKey(token_key)
    if not any(source.serves(algorithm) for algorithm in auth.algorithms):
        file = Path(auth.public_key_file or auth.secret_file)
        raise ValueError(
            f"the key in {file} serves none of auth.algorithms ({', '.join(auth.algorithms)}): name the"
            " algorithm that the issuer signs with"
        )
    return source


def _key_set(config: Config) -> KeySource:
    # Here, as without a key set neither the daemon nor a command needs an HTTP client.
    from api.jwks import KeySet
    from daemon.process.issuer import key_set_fetch

    auth = config.auth
    return KeySet(key_set_fetch(config), algorithms=auth.algorithms, refresh=auth.jwks_refresh)
