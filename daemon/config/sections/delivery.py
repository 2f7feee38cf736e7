"""`[delivery]`: sending, retrying and giving up."""

from typing import Annotated

from pydantic import Field

from daemon.config.kinds import Duration, Number, Size, Whole
from daemon.config.sections.base import AT_LEAST_ONE, DAY, HOUR, KIB, MINUTE, Section

_RETRY_SCHEDULE = (5.0, 5 * MINUTE, 30 * MINUTE, *(hours * HOUR for hours in (2, 5, 10, 14, 20, 24)))
_Wait = Annotated[float, Duration("1ms", "30d")]


class DeliveryConfig(Section):
    """`[delivery]`: sending, retrying and giving up."""

    concurrency: Annotated[int, Whole(1, 100_000)] = 512
    """Requests under way at once in one daemon."""
    timeout: Annotated[float, Duration("10ms", "10m")] = 15.0
    """Seconds for one attempt, from looking up the name to the end of the response."""
    retry_schedule: Annotated[tuple[_Wait, ...], Field(max_length=100), AT_LEAST_ONE] = _RETRY_SCHEDULE
    """Seconds to wait after each failed attempt; after the last, the delivery is given up."""
    own_retries: Annotated[int, Whole(0, 100)] = 20
    """Waits that a subscription's own `retry_schedule` may have; 0: none has its own."""
    own_retry_min: Annotated[float, Duration("1ms", "30d")] = 1.0
    """Seconds that each of them has at least."""
    own_retry_total: Annotated[float, Duration("1s", "365d")] = 14 * DAY
    """Seconds that they have together at most."""
    retry_jitter: Annotated[float, Number(0, 1)] = 0.2
    """Part of each wait by which it is lengthened or shortened at random."""
    disable_after: Annotated[float, Duration("1s", "365d")] = 5 * DAY
    """Seconds of nothing but failures after which a subscription is disabled."""
    response_excerpt: Annotated[int, Size("0", "1MiB")] = 4 * KIB
    """Bytes of each response that are kept."""
    max_response: Annotated[int, Size("1", "64MiB")] = 64 * KIB
    """Bytes of a response that are read at most; headers alone that are longer are a failure."""
    retry_after_max: Annotated[float, Duration("0s", "30d")] = 24 * HOUR
    """Longest `Retry-After` that is honoured, in seconds."""
    unanswered_share: Annotated[float, Number(0.01, 1)] = 0.25
    """Part of `concurrency` that receivers which do not answer in time may hold together."""
    replay_rate: Annotated[float, Number(0.001, 1_000_000)] = 200.0
    """Deliveries a second that one replay may make, from all daemons on the database together."""
