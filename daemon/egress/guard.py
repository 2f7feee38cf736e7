"""The gate that every new connection passes: resolve once, and refuse if any address is forbidden."""

from collections.abc import Callable
from ipaddress import ip_address
from uuid import UUID

from daemon.egress.addresses import Address, AddressRules
from daemon.egress.errors import EgressError
from daemon.egress.resolver import Resolver

NO_ADDRESS = "no_address"
"""The rule of a name without any address."""
INTERNAL_NAME = "internal_name"
"""The rule of a name that means something in one network only."""
# RFC 6761 section 6.3, RFC 6762 section 3, ICANN's decision of 2024-07-29, RFC 8375.
_INTERNAL, _HOME = frozenset({"localhost", "local", "internal"}), ".home.arpa"


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

    async def addresses(self, host: str, owner: UUID | None) -> list[Address]:
        """Return the checked addresses; connect to these and to nothing else, or the check is void.

        `owner`: the organisation that sends there; None: the operator.

        Raises EgressError: dns_failed, dns_timeout, or address_forbidden with the rule's name. One bad
        address among good ones refuses the host, since its owner chooses which one is tried first. A name
        that has no address at all is refused in the same words as one with a bad address: else whoever may
        register URLs could find out which internal names there are.
        """
        addresses = await self._resolver.resolve(host, owner)
        if not addresses:
            raise self._refusal(NO_ADDRESS, f"{host} has no address")
        for address in addresses:
            if rule := self._rules.refusal(address):
                raise self._refusal(rule, f"{host} has the address {address}, rule {rule}")
        return addresses

    def check_name(self, host: str) -> None:
        """Check what can be checked of a host that somebody else resolves: an address, or where a name lives.

        Raises EgressError: address_forbidden.
        """
        try:
            rule = self._rules.refusal(ip_address(host))
        except ValueError:
            rule = INTERNAL_NAME if host.rpartition(".")[2] in _INTERNAL or host.endswith(_HOME) else None
        if rule is not None:
            raise self._refusal(rule, f"{host} goes to the proxy by name, rule {rule}")

    def _refusal(self, rule: str, note: str) -> EgressError:
        self._refused(rule)
        return EgressError(
            "address_forbidden",
            "The host has no address that may be sent to; use a public host, and check its DNS records.",
            rule=rule,
            note=note,
        )
