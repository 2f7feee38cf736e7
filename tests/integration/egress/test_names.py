"""Looking names up at nameservers that lose packets, fail, lie or are silent."""

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trio

from daemon.egress.addresses import Address
from daemon.egress.errors import EgressError
from daemon.egress.name_lookup import NameLookup
from daemon.egress.nameserver import Nameserver
from daemon.egress.resolver import CachingResolver
from daemon.egress.system_names import SystemLookup
from tests.support.nameserver import Behaviour, Packets, Question, Served, nameserver, silent, zone

PATIENT = (60.0,)
"""A try that ends with an answer only, however slow the machine is."""
ZONE = {
    "both.test.": ["192.0.2.1", "2001:db8::1", "192.0.2.2"],
    "four.test.": ["192.0.2.1"],
    "six.test.": ["2001:db8::1"],
    "none.test.": [],
}
FOUR, SIX = ip_address("192.0.2.1"), ip_address("2001:db8::1")
BOTH = [SIX, FOUR, ip_address("192.0.2.2")]


def lookup(*served: Served, tries: Sequence[float] = PATIENT, second_kind: float = 60.0) -> NameLookup:
    async def servers() -> list[Nameserver]:
        return [one.server for one in served]

    return NameLookup(servers, tries=tries, second_kind=second_kind)


async def failure(find: Callable[[str], object], host: str = "four.test") -> str:
    with pytest.raises(EgressError) as caught:
        await find(host)  # type: ignore[misc]
    return caught.value.code


@pytest.mark.parametrize(
    "host, addresses",
    [
        ("both.test", BOTH),
        ("four.test", [FOUR]),
        ("six.test", [SIX]),
        ("none.test", []),
        ("nobody.test", []),
    ],
)
async def test_both_kinds_are_asked_and_taken_by_turns(host: str, addresses: list[Address]) -> None:
    async with nameserver(zone(ZONE)) as served:
        found = await lookup(served)(host)
    assert (found[:1], set(found)) == (addresses[:1], set(addresses))
    assert served.kinds(f"{host}.") == ["A", "AAAA"]


def failing(kind: str, rcode: dns.rcode.Rcode) -> Behaviour:
    def answer(question: Question) -> Packets:
        if question.kind == kind:
            return [question.reply(rcode=rcode).to_wire()]
        return zone(ZONE)(question)

    return answer


@pytest.mark.parametrize(
    "rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP, dns.rcode.NXDOMAIN]
)
async def test_one_kind_suffices(rcode: dns.rcode.Rcode) -> None:
    async with nameserver(failing("AAAA", rcode)) as served:
        assert set(await lookup(served)("both.test")) == set(BOTH[1:])
    async with nameserver(failing("A", rcode)) as served:
        assert await lookup(served)("both.test") == [SIX]


async def test_the_other_kind_is_not_waited_for_long() -> None:
    def answer(question: Question) -> Packets:
        return [] if question.kind == "AAAA" else zone(ZONE)(question)

    async with nameserver(answer) as served:
        with trio.fail_after(20):
            assert await lookup(served, second_kind=0.05)("four.test") == [FOUR]


async def test_without_any_address_a_failure_is_a_failure() -> None:
    async with nameserver(failing("AAAA", dns.rcode.SERVFAIL)) as served:
        assert await failure(lookup(served), "none.test") == "dns_failed"
    async with nameserver(lambda question: []) as served:
        assert await failure(lookup(served, tries=(0.05,))) == "dns_timeout"


async def test_a_lost_packet_is_sent_again() -> None:
    lost = {"A", "AAAA"}

    def answer(question: Question) -> Packets:
        if question.kind in lost:
            lost.remove(question.kind)
            return []
        return zone(ZONE)(question)

    async with nameserver(answer) as served:
        assert set(await lookup(served, tries=(0.05, 60.0))("both.test")) == set(BOTH)
    assert served.kinds("both.test.") == ["A", "A", "AAAA", "AAAA"]


@pytest.mark.parametrize("first", [silent, failing("A", dns.rcode.SERVFAIL)])
async def test_another_nameserver_stands_in_and_is_asked_first_from_then_on(first: Behaviour) -> None:
    async with nameserver(first) as bad, nameserver(zone(ZONE)) as good:
        find = lookup(bad, good, tries=(0.2, 60.0))
        assert await find("four.test") == [FOUR]
        before = len([one for one in bad.asked if one.kind == "A"])
        assert set(await find("both.test")) == set(BOTH)
        assert len([one for one in bad.asked if one.kind == "A"]) == before == 1


async def test_a_nameserver_that_is_not_there_costs_nothing() -> None:
    async with nameserver(zone(ZONE)) as gone:
        pass
    async with nameserver(zone(ZONE)) as good:
        with trio.fail_after(20):
            assert await lookup(gone, good, tries=(60.0, 60.0))("four.test") == [FOUR]
    assert await failure(lookup(gone)) == "dns_failed"


async def test_what_does_not_fit_into_a_packet_comes_over_tcp() -> None:
    many = [f"192.0.2.{number}" for number in range(1, 200)]

    def answer(question: Question) -> Packets:
        if question.over == "tcp":
            return zone({"many.test.": many})(question)
        reply = question.reply()
        reply.flags |= dns.flags.TC
        return [reply.to_wire() + b"cut o"]

    async with nameserver(answer) as served:
        assert set(await lookup(served)("many.test")) == set(map(ip_address, many))


@pytest.mark.parametrize("answer_over_tcp", [b"", b"\0", b"\0" * 20_000, b"\xff" * 12])
async def test_an_answer_over_tcp_is_bounded_and_checked(answer_over_tcp: bytes) -> None:
    def answer(question: Question) -> Packets:
        if question.over == "tcp":
            return [answer_over_tcp]
        reply = question.reply()
        reply.flags |= dns.flags.TC
        return [reply.to_wire()]

    async with nameserver(answer) as served:
        with trio.fail_after(20):
            assert await failure(lookup(served)) == "dns_failed"


async def test_what_is_no_answer_to_the_question_is_not_heard() -> None:
    def answer(question: Question) -> Packets:
        other_id = bytearray(question.reply("192.0.2.66").to_wire())
        other_id[0] ^= 1
        other_name = dns.message.make_response(dns.message.make_query("other.test.", question.kind))
        other_name.id = question.query.id
        good = question.reply("192.0.2.1").to_wire()
        no_reply = question.query.to_wire()
        return [b"", b"x", bytes(other_id), other_name.to_wire(), no_reply, good[:2] + b"\x80", good]

    async with nameserver(answer) as served:
        assert await lookup(served)("four.test") == [FOUR]


async def test_a_chain_of_aliases_is_followed_and_a_ring_is_not() -> None:
    def answer(question: Question) -> Packets:
        reply = question.reply()
        target = "end.test." if question.name == "alias.test." else question.name
        reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "CNAME", target))
        if question.kind == "A" and target == "end.test.":
            reply.answer.append(dns.rrset.from_text(target, 60, "IN", "A", "192.0.2.1"))
        return [reply.to_wire()]

    async with nameserver(answer) as served:
        assert await lookup(served)("alias.test") == [FOUR]
        assert await failure(lookup(served), "ring.test") == "dns_failed"


async def test_a_name_that_cannot_be_asked_for_is_a_failure() -> None:
    async with nameserver(zone(ZONE)) as served:
        assert await failure(lookup(served), "a" * 64 + ".test") == "dns_failed"
        assert await failure(lookup(served), "a..test") == "dns_failed"
    assert served.asked == []


def system(tmp_path: Path, served: Served, hosts: str = "") -> SystemLookup:
    (tmp_path / "hosts").write_text(hosts)
    (tmp_path / "resolv.conf").write_text("search corp.test\noptions ndots:5\nnameserver 127.0.0.1\n")
    return SystemLookup(hosts=tmp_path / "hosts", resolv_conf=tmp_path / "resolv.conf", port=served.port)


async def test_the_system_is_asked_for_absolute_names(tmp_path: Path) -> None:
    records = {"hooks.partner.test.": ["192.0.2.1"], "hooks.other.test.corp.test.": ["192.0.2.66"]}
    async with nameserver(zone(records)) as served:
        find = system(tmp_path, served)
        assert await find("hooks.partner.test") == [FOUR]
        assert await find("hooks.other.test") == []
    assert {one.name for one in served.asked} == {"hooks.partner.test.", "hooks.other.test."}


async def test_the_hosts_file_goes_first_and_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.egress.system_names.RELOAD_INTERVAL", 0.0)
    async with nameserver(zone(ZONE)) as served:
        find = system(tmp_path, served, "192.0.2.7 four.test # 192.0.2.8 both.test\n")
        assert await find("four.test") == [ip_address("192.0.2.7")]
        assert await find("localhost") == [ip_address("::1"), ip_address("127.0.0.1")]
        assert served.asked == []
        (tmp_path / "hosts").write_text("192.0.2.9 Four.TEST. other.test\n")
        assert await find("four.test") == [ip_address("192.0.2.9")]
        (tmp_path / "hosts").unlink()
        assert await find("four.test") == [ip_address("192.0.2.9")]
        (tmp_path / "hosts").write_text("")
        assert await find("four.test") == [FOUR]


async def test_one_organisations_silent_names_delay_nobody_else() -> None:
    def answer(question: Question) -> Packets:
        return [] if "silent" in question.name else zone(ZONE)(question)

    async with nameserver(answer) as served, trio.open_nursery() as nursery:
        resolver = CachingResolver(lookup(served), most=64, most_each=8)
        greedy = uuid4()
        for number in range(400):
            nursery.start_soon(resolver.resolve, f"{number}.silent.test", greedy)
        # A name that waits for its turn among theirs is no less free for others to ask for.
        nursery.start_soon(resolver.resolve, "both.test", greedy)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(20):
            assert await resolver.resolve("four.test", uuid4()) == [FOUR]
            assert SIX in await resolver.resolve("both.test", uuid4())
        assert len({one.name for one in served.asked if "silent" in one.name}) == 8
        nursery.cancel_scope.cancel()
