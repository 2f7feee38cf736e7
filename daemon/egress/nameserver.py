"""Asking one given nameserver instead of the system's resolver."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import dns.exception
import dns.resolver

from daemon.egress.addresses import Address
from daemon.egress.errors import EgressError
from daemon.egress.resolver import Lookup


def parse_nameserver(text: str) -> tuple[str, int]:
    """Return address and port of "IP", "IPv4:port" or "[IPv6]:port" (53 if left out); raise ValueError."""
    address, port = text, "53"
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        port = (rest[1:] if rest.startswith(":") else "") if rest else port
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    try:
        nameserver = str(ip_address(address))
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(port)
    except ValueError:
        raise ValueError(
            f'egress.resolver is {text!r}; write "system", or a nameserver as in "192.0.2.53:5353"'
        ) from None
    return nameserver, int(port)


def nameserver_lookup(address: str, port: int = 53, *, timeout: float = 5.0) -> Lookup:
    """Return a blocking lookup that asks the nameserver at `address` and `port` for A and AAAA records.

    Names are taken as absolute; hosts files and search domains are not used. The lookup raises EgressError:
    dns_timeout after `timeout` seconds without an answer, dns_failed otherwise.
    """
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [address]
    resolver.port = port

    def lookup(host: str) -> list[Address]:
        try:
            answers = resolver.resolve_name(host, lifetime=timeout, search=False)
        except dns.exception.Timeout:
            raise EgressError(
                "dns_timeout",
                "The nameserver did not answer in time for the host's name; it will be asked again.",
            ) from None
        except dns.exception.DNSException as error:
            raise EgressError(
                "dns_failed",
                f"The host's name could not be resolved ({type(error).__name__}); check its DNS records.",
            ) from None
        found: list[Address] = [
            IPv4Address(text) if "." in text and ":" not in text else IPv6Address(text)
            for text in answers.addresses()
        ]
        return found

    return lookup
