"""An event that one task waits for, anybody sets, and the wait resets."""

import trio


class AutoResetEvent:
    """Set while nobody waits, it ends the next wait; set many times, it ends one."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """Wake who waits, or who waits next."""
        self._event.set()

    async def wait(self, timeout: float) -> bool:
        """Return when it is set or after `timeout` seconds: whether it was set. It is reset by that."""
        with trio.move_on_after(timeout):
            await self._event.wait()
        was_set = self._event.is_set()
        if was_set:
            self._event = trio.Event()
        return was_set
