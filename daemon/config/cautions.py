"""What a start and a check warn of though it is allowed."""

from daemon.config.exposed import exposed
from daemon.config.load import Loaded


def cautions(loaded: Loaded) -> list[str]:
    """Return a line for each setting that gives something away, with what to do about it."""
    return [*exposed(loaded), *_unchecked_addresses(loaded)]


def _unchecked_addresses(loaded: Loaded) -> list[str]:
    egress = loaded.config.egress
    if not egress.proxy_resolves:
        return []
    origin = loaded.origins["egress.proxy_resolves"]
    said = (
        "egress.proxy_resolves lets the proxy look names up, so hookd cannot check where they lead: a"
        " subscription's URL may reach private networks, the cloud's metadata service and what"
        " egress.deny_networks names, as far as the proxy lets it: let the proxy refuse those, or set it to"
        " false"
    )
    return [f"{origin}: {said}"]
