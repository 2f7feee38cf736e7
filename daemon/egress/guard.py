"""The gate that every new connection passes: resolve once, and refuse if any address is forbidden."""

from collections.abc import Callable

from daemon.egress.addresses import Address, AddressRules
from daemon.egress.errors import EgressError
from daemon.egress.resolver import Resolver


class Guard:
    """Gives the addresses of a host that may be connected to, after checking every one of them.

    `refused` is told the rule of every refusal.
    """

    def __init__(
        self, resolver: Resolver, rules: AddressRules, refused: Callable[[str], None] = lambda rule: None
    ) -> None:
        self._resolver = resolver
        self._rules = rules
        self._refused = refused

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Return the checked addresses; connect to these and to nothing else, or the check is void.

        Raises EgressError: dns_failed, dns_timeout, or address_forbidden with the rule's name. One bad
        address among good ones refuses the host, since its owner chooses which one is tried first.
        """
        addresses = await self._resolver.resolve(host, port)
        if not addresses:
            raise EgressError("dns_failed", "The host's name has no address; check its DNS records.")
        for address in addresses:
            if rule := self._rules.refusal(address):
                self._refused(rule)
                raise EgressError(
                    "address_forbidden",
                    f"The host has an address that may not be sent to ({rule}); use a public host.",
                    rule=rule,
                )
        return addresses
