"""Deliveries in a network of this test's own: a nameserver, receivers, and addresses that swallow everything.

Run by `explore` in a network and mount namespace, as `python -m tests.support.network_lab NETWORK DIRECTORY`:
there /etc/resolv.conf and /etc/hosts are the lab's. It prints a JSON list of `Row`s.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import dns.flags
import dns.rcode
import trio

from daemon.egress.assemble import NetworkSettings, make_exchange
from daemon.egress.errors import EgressError
from daemon.egress.pool import Pool
from daemon.egress.url import parse_url
from tests.support.egress_harness import OK, answering
from tests.support.nameserver import Packets, Question, nameserver

NETWORKS = ("v4", "v6", "both", "v6 broken")
RESOLVERS = ("system", "egress.resolver")
GOOD4, GOOD6, WRONG = "192.0.2.10", "2001:db8:1::10", "192.0.2.66"
DEAD4 = [f"198.51.100.{number}" for number in range(10, 14)]
DEAD6 = [f"2001:db8:dead::{number}" for number in range(10, 18)]
PORT, PORT_OF_NAMES = 8000, 53
TIMEOUT = 15.0

ZONE = {
    "both": (GOOD4, GOOD6),
    "four": (GOOD4,),
    "six": (GOOD6,),
    "aaaa-servfail": (GOOD4,),
    "a-servfail": (GOOD6,),
    "first-packets-lost": (GOOD4, GOOD6),
    "truncated": (GOOD4, GOOD6),
    "eight-dead-six": (GOOD4, *DEAD6),
    "four-dead-four": (*DEAD4, GOOD4),
    "no-address": (),
    "in-hosts-file": (WRONG,),
    "search-domain.test.corp": (WRONG,),
}
"""Names below test., and their addresses."""
ASKED = [*(f"{name}.test" for name in ZONE if not name.endswith(".corp")), "search-domain.test"]
SILENT = "silent.test"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of two requests to `name`, and how many seconds each took."""

    name: str
    network: str
    resolver: str
    outcome: str
    seconds: float
    again: str
    seconds_again: float


def answer_of(lost: set[tuple[str, str]]) -> Callable[[Question], Packets]:
    """Return what the nameserver does; `lost` fills with the questions whose first packets it dropped."""

    def answer(question: Question) -> Packets:
        name = question.name.removesuffix(".test.")
        if question.name == f"{SILENT}.":
            return []
        if name == "first-packets-lost" and (name, question.kind) not in lost:
            lost.add((name, question.kind))
            return []
        if name.removesuffix("-servfail") == question.kind.lower():
            return [question.reply(rcode=dns.rcode.SERVFAIL).to_wire()]
        if name == "truncated" and question.over == "udp":
            cut = question.reply()
            cut.flags |= dns.flags.TC
            return [cut.to_wire()]
        if name not in ZONE:
            return [question.reply(rcode=dns.rcode.NXDOMAIN).to_wire()]
        return [question.reply(*ZONE[name]).to_wire()]

    return answer


def can_explore() -> bool:
    """Return whether this machine lets us make such a network."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    tried = "ip link add v0 type veth peer name v1 && mount --bind /etc/hosts /etc/hosts"
    return subprocess.run(["unshare", "-Urnm", "sh", "-c", tried], capture_output=True).returncode == 0


def explore(network: str, directory: Path, *options: str) -> list[Row]:
    """Return the rows of a network, all names by both resolvers. `options`: further arguments."""
    nameserver_address = "::1" if network == "v6" else "127.0.0.1"
    (directory / "resolv.conf").write_text(f"search corp\noptions ndots:5\nnameserver {nameserver_address}\n")
    hosts = [one for one in (GOOD4, GOOD6) if network == "both" or ((":" in one) == (network == "v6"))]
    (directory / "hosts").write_text("".join(f"{one} in-hosts-file.test\n" for one in hosts))
    lab = [sys.executable, "-m", "tests.support.network_lab", network, str(directory), *options]
    command = "\n".join(["set -e", *_set_up(network, directory), 'exec "$@"'])
    done = subprocess.run(
        ["unshare", "-Urnm", "sh", "-c", command, "sh", *lab], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [Row(**row) for row in json.loads(done.stdout)]


def _set_up(network: str, directory: Path) -> Iterable[str]:
    yield from (f"mount --bind {directory}/{name} /etc/{name}" for name in ("hosts", "resolv.conf"))
    yield "ip link set lo up"
    # Without ARP, and with nobody at the other end, packets go and nothing ever comes back.
    yield "ip link add v0 type veth peer name v1"
    yield from (f"ip link set {name} arp off up" for name in ("v0", "v1"))
    if network == "v6":
        yield "ip addr del 127.0.0.1/8 dev lo"
    else:
        yield f"ip addr add {GOOD4}/32 dev lo; ip addr add {WRONG}/32 dev lo"
        yield "ip addr add 198.51.100.1/24 dev v0"
    if network == "v4":
        yield "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"
    else:
        yield "ip addr add 2001:db8:dead::1/64 dev v0 nodad"
        good = f"ip addr add {GOOD6}/128 dev lo nodad"
        yield good if network != "v6 broken" else "ip route add 2001:db8:1::/64 dev v0"


async def _main(network: str, names: Iterable[str]) -> list[Row]:
    rows: list[Row] = []
    home = "::1" if network == "v6" else "127.0.0.1"
    here = {"v4": [GOOD4], "v6": [GOOD6], "both": [GOOD4, GOOD6], "v6 broken": [GOOD4]}[network]
    async with trio.open_nursery() as nursery:
        for address in here:
            listeners = await trio.open_tcp_listeners(PORT, host=address)
            nursery.start_soon(trio.serve_listeners, answering(OK), listeners)
        lost: set[tuple[str, str]] = set()
        async with nameserver(answer_of(lost), home, PORT_OF_NAMES):
            for resolver in RESOLVERS:
                lost.clear()
                await _ask_all(rows, network, resolver, "system" if resolver == "system" else home, names)
        nursery.cancel_scope.cancel()
    return rows


async def _ask_all(rows: list[Row], network: str, label: str, resolver: str, names: Iterable[str]) -> None:
    exchange = make_exchange(
        NetworkSettings(["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"], resolver=resolver),
        pool=Pool(max_idle=0),
    )

    async def once(name: str) -> tuple[str, float]:
        start = trio.current_time()
        url = parse_url(f"http://{name}:{PORT}/", https_only=False)
        try:
            answer = await exchange.post(url, [], b"{}", timeout=TIMEOUT)
            outcome = "delivered" if answer.status == 200 else str(answer.status)
        except EgressError as error:
            outcome = error.code
        return outcome, round(trio.current_time() - start, 3)

    async def twice(name: str) -> None:
        rows.append(Row(name, network, label, *await once(name), *await once(name)))

    async with trio.open_nursery() as nursery:
        await nursery.start(exchange.serve)
        async with trio.open_nursery() as asking:
            for name in names:
                asking.start_soon(twice, name)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    _, network, _, *names = sys.argv
    done = trio.run(_main, network, names or ASKED)
    print(json.dumps([asdict(row) for row in done]))
