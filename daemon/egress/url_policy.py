"""Which URLs an organisation may choose, beyond being well-formed. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from daemon.egress.url import Url, UrlRefused, parse_url

WEB_PORTS = frozenset({80, 443})
FIRST_UNPRIVILEGED_PORT = 1024


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """What the operator lets organisations send to.

    `ports`: those alone; empty: 80, 443 and all from 1024 on, since below that others than web servers
    listen (SSH, mail, directories), which a request must not speak to.
    """

    https_only: bool = True
    ports: Collection[int] = ()

    def parse(self, text: str) -> Url:
        """Return the parts of a URL; raise UrlRefused if it is malformed, ambiguous or against the policy.

        A name without a dot is refused: it means another host in each network, most often an internal one.
        """
        url = parse_url(text, https_only=self.https_only)
        if not self._allows_port(url.port):
            raise UrlRefused(
                "port", f"The URL's port must be {self._ports_in_words()}.", code="port_forbidden"
            )
        if "." not in url.host and ":" not in url.host:
            raise UrlRefused(
                "host_single_label", "The URL's host must be a full name, with a dot, as in example.com."
            )
        return url

    def _allows_port(self, port: int) -> bool:
        if self.ports:
            return port in self.ports
        return port in WEB_PORTS or port >= FIRST_UNPRIVILEGED_PORT

    def _ports_in_words(self) -> str:
        if self.ports:
            return "one of " + ", ".join(str(port) for port in sorted(self.ports)[:10])
        return f"80, 443 or one from {FIRST_UNPRIVILEGED_PORT} on"
