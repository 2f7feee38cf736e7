"""One organisation's slow receivers and the deliveries of another, seen from outside."""

from pathlib import Path
from uuid import uuid4

from tests.support.daemon import running
from tests.support.publishing import publish_many
from tests.support.receiver import Received, Reply, hang, receiving


async def answer_or_hang(request: Received) -> Reply:
    return await hang(request) if request.path == "/slow" else Reply()


async def test_slow_answers_at_a_shared_host_leave_room_for_another_organisation(
    tmp_path: Path, postgres_url: str
) -> None:
    slow, other = uuid4(), uuid4()
    async with (
        receiving(answer_or_hang) as receiver,
        running(tmp_path, postgres_url, hosts__in_flight=8, delivery__timeout="60s") as daemon,
    ):
        for _ in range(20):
            await daemon.register(slow, receiver.url("/slow"))
        await daemon.register(other, receiver.url("/quick"))
        await publish_many(postgres_url, slow, 1)
        await receiver.until(lambda: receiver.in_flight == 4, 15)
        await publish_many(postgres_url, other, 5)
        await receiver.until(lambda: sum(one.path == "/quick" for one in receiver.requests) == 5, 15)
        assert receiver.in_flight == 4, "half of what the host may have under way"


async def test_dead_hosts_of_one_organisation_leave_senders_to_another(
    tmp_path: Path, postgres_url: str
) -> None:
    slow, other = uuid4(), uuid4()
    async with (
        receiving(answer_or_hang, ports=13) as receiver,
        running(tmp_path, postgres_url, delivery__concurrency=16, delivery__timeout="60s") as daemon,
    ):
        for port in range(12):
            await daemon.register(slow, receiver.url("/slow", port=port))
        await daemon.register(other, receiver.url("/quick", port=12))
        await publish_many(postgres_url, slow, 1)
        await receiver.until(lambda: receiver.in_flight == 3, 15)
        await publish_many(postgres_url, other, 1)
        await receiver.until(lambda: any(one.path == "/quick" for one in receiver.requests), 15)
        assert receiver.in_flight == 3, "of the four senders for those who have not answered yet"
