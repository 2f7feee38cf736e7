"""The addresses of this machine that requests are sent from."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from daemon.egress.addresses import Address


@dataclass(frozen=True, slots=True)
class Sources:
    """One address of each family at most. With one of either, the other family is not used: whoever lets in
    what comes from there would not know the rest.
    """

    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None

    def of(self, address: Address) -> Address | None:
        """Return what to bind before connecting to `address`; None: the system chooses."""
        return self.ipv4 if isinstance(address, IPv4Address) else self.ipv6

    def can_reach(self, address: Address) -> bool:
        """Return whether `address` is of a family that is sent from."""
        return self.of(address) is not None or not (self.ipv4 or self.ipv6)

    @property
    def family(self) -> str:
        """What is sent from, in words."""
        return "IPv4" if self.ipv6 is None else "IPv6"


ANY_SOURCE = Sources()
"""The system chooses."""


def parse_sources(texts: Iterable[str]) -> Sources:
    """Return the sources that are written down; raise ValueError for what is no address."""
    found = [ip_address(text) for text in texts]
    return Sources(
        next((one for one in found if isinstance(one, IPv4Address)), None),
        next((one for one in found if isinstance(one, IPv6Address)), None),
    )


def check_sources(texts: Iterable[str]) -> None:
    """Raise ValueError, with the end of a sentence, if this machine does not have one of the addresses."""
    for text in texts:
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.bind((text, 0))
        except OSError as error:
            raise ValueError(
                f"has {text}, which this machine cannot send from ({error.strerror}): name an address that"
                " `ip address` shows"
            ) from None
