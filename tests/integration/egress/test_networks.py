"""Deliveries by name in networks of one family, of both, and with one that is broken, each in a namespace."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.network_lab import ASKED, NETWORKS, RESOLVERS, Row, can_explore, explore

DELIVERED = "delivered"
# What is told where a name has no address that can be reached, by network; elsewhere it is delivered.
FAILURES = {
    "four.test": {"v6": "connect_failed"},
    "six.test": {"v4": "connect_failed", "v6 broken": "connect_timeout"},
    "aaaa-servfail.test": {"v6": "connect_failed"},
    "a-servfail.test": {"v4": "connect_failed", "v6 broken": "connect_timeout"},
    "eight-dead-six.test": {"v6": "connect_timeout"},
    "four-dead-four.test": {"v6": "connect_failed"},
    "no-address.test": dict.fromkeys(NETWORKS, "address_forbidden"),
    "search-domain.test": dict.fromkeys(NETWORKS, "address_forbidden"),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], Row]:
    if not can_explore():
        pytest.skip("needs unshare and ip, and a system that lets them make a network namespace")

    def explored(network: str) -> list[Row]:
        directory: Path = tmp_path_factory.mktemp("network")
        # A timeout that everything must come to is tested by itself.
        names = [name for name in ASKED if FAILURES.get(name, {}).get(network) != "connect_timeout"]
        return explore(network, directory, *names)

    with ThreadPoolExecutor() as pool:
        found = [row for rows in pool.map(explored, NETWORKS) for row in rows]
    return {(row.name, row.network, row.resolver): row for row in found}


@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_what_can_be_reached_is_delivered_to_and_the_rest_told(
    rows: dict[tuple[str, str, str], Row], network: str, resolver: str
) -> None:
    got = {
        row.name: row.outcome for row in rows.values() if (row.network, row.resolver) == (network, resolver)
    }
    wanted = {name: FAILURES.get(name, {}).get(network, DELIVERED) for name in got}
    if resolver != "system":  # which does not read /etc/hosts
        wanted["in-hosts-file.test"] = "connect_failed" if network == "v6" else "connect_refused"
    assert got == wanted
    assert all(row.again == row.outcome for row in rows.values())
