"""The proxy that requests go through, as the configuration has it."""

from pathlib import Path

from daemon.config.host_patterns import matches
from daemon.config.proxy_url import parse_proxy
from daemon.config.secret_file import SecretFileError, read_password
from daemon.config.sections.egress import EgressConfig
from daemon.egress.proxy import Proxy
from daemon.egress.url import Origin


def outgoing_proxy(egress: EgressConfig) -> Proxy | None:
    """Return the proxy with its credentials, if there is one. Error: `SecretFileError`."""
    if not egress.proxy:
        return None
    host, port = parse_proxy(egress.proxy)

    def serves(origin: Origin) -> bool:
        key = f"[{origin.host}]:{origin.port}" if ":" in origin.host else f"{origin.host}:{origin.port}"
        if any(matches(pattern, key) for pattern in egress.proxy_except):
            return False
        return not egress.proxy_hosts or any(matches(pattern, key) for pattern in egress.proxy_hosts)

    return Proxy(host, port, proxy_credentials(egress), egress.proxy_resolves, serves)


def proxy_credentials(egress: EgressConfig) -> bytes:
    """Return "user:password" from the file, empty if none is named. Error: `SecretFileError`."""
    if not egress.proxy_credentials_file:
        return b""
    path = Path(egress.proxy_credentials_file)
    credentials = read_password(path)
    if not credentials.partition(":")[1]:
        raise SecretFileError(f"{path}: has no colon: write user:password, on one line")
    return credentials.encode()
