"""Whether the operator's proxy works: what keeps senders from waiting for one that does not."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from daemon.egress.errors import EgressError, Fault

logger = logging.getLogger("hookd.egress")

IN_A_ROW = 3
"""So many faults, with nothing good between them, and the proxy is taken to be down."""
PAUSE = 1.0
"""Seconds between two tries then, one at a time."""
MIN_HOLD, MAX_HOLD = 1.0, 15.0
"""Seconds for which what met a fault of the proxy waits: half as long as that has lasted."""
_REMIND = 60.0


class ProxyHealth:
    """Counts a proxy's own faults. `name`: how the operator knows it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._faults = 0
        self._last = EgressError("proxy_failed", "")
        self._try_at = self._since = 0.0
        self._trying = False
        self._told_at: float | None = None
        self._answered = trio.Event()  # replaced at each answer

    @property
    def down(self) -> str:
        """What is wrong with the proxy, for the operator; empty while it works."""
        return "" if self._faults < IN_A_ROW else self._last.note or self._last.detail

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Learn from one use of the proxy; while it is down, raise EgressError at once, as that did."""
        down = bool(self.down)
        if down:
            if self._trying or trio.current_time() < self._try_at:
                raise self._again()
            self._trying = True
        try:
            yield
        except EgressError as error:
            if error.fault is Fault.PROXY:
                self._failed(error)
            elif error.code in ANSWERS:
                self.works()
            raise
        else:
            self.works()
        finally:
            if down:
                self._trying = False

    def answer(self) -> trio.Event:
        """Return what is set at the next answer that the proxy gives to anybody."""
        return self._answered

    def works(self) -> None:
        """The proxy has answered."""
        self._answered.set()
        self._answered = trio.Event()
        if self._told_at is not None:
            logger.info("the proxy %s works again", self._name)
        self._faults, self._told_at = 0, None

    def _failed(self, error: EgressError) -> None:
        now = trio.current_time()
        if not self._faults:
            self._since = now
        self._faults += 1
        self._last = error
        error.hold = self._hold(now)
        self._try_at = now + PAUSE
        if self.down and (self._told_at is None or now >= self._told_at + _REMIND):
            self._told_at = now
            logger.warning(
                "the proxy %s cannot be used: %s; what goes through it waits, and no attempt is counted",
                self._name,
                self.down,
            )

    def _again(self) -> EgressError:
        last = self._last
        error = EgressError(last.code, last.detail, note=last.note, fault=Fault.PROXY)
        error.hold = self._hold(trio.current_time())
        return error

    def _hold(self, now: float) -> float:
        return min(MAX_HOLD, max(MIN_HOLD, (now - self._since) / 2))


ANSWERS = frozenset({"proxy_refused", "proxy_connect_failed"})
"""Failures by which the proxy shows that it works."""
