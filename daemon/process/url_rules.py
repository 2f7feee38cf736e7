"""Which URLs organisations may choose, by the configuration of the moment."""

import logging
from collections.abc import Callable
from ipaddress import ip_address

from daemon.config.model import Config
from daemon.egress.addresses import AddressRules
from daemon.egress.url import Url, UrlRefused
from daemon.egress.url_policy import UrlPolicy
from daemon.metrics import Metrics

logger = logging.getLogger("hookd")


class UrlRules:
    """Refuses URLs, and counts what was refused by its rule."""

    def __init__(self, config: Callable[[], Config], metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        egress = config().egress
        self._addresses = AddressRules(egress.allow_networks, egress.deny_networks)

    def parse(self, url: str) -> Url:
        """Return the parts of a URL. Error: `UrlRefused`."""
        egress = self._config().egress
        try:
            return UrlPolicy(egress.https_only, egress.ports).parse(url)
        except UrlRefused as error:
            self.count(error.rule)
            raise

    async def check(self, url: str) -> Url:
        """Refuse what can be known without asking a nameserver; each connection is checked again."""
        parsed = self.parse(url)
        try:
            rule = self._addresses.refusal(ip_address(parsed.host))
        except ValueError:
            return parsed  # a name
        if rule is not None:
            self.count(rule)
            logger.info(
                "a subscription's URL has the address %s: refused by the rule %s",
                parsed.host,
                rule,
                extra={"repeats_as": f"addresses in URLs: refused by the rule {rule}"},
            )
            raise UrlRefused(
                "address", "the address may not be sent to: use a public one", code="address_forbidden"
            )
        return parsed

    def count(self, rule: str) -> None:
        """Count that something was refused by `rule`."""
        self._metrics.egress_refused.add((rule,))
