"""A bell that one task waits for and anybody rings."""

import trio


class Doorbell:
    """Rung while nobody waits, it is heard at the next wait; rung many times, it is heard once."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        """Wake who waits, or who waits next."""
        self._event.set()

    async def wait(self, timeout: float) -> bool:
        """Return when the bell rings or after `timeout` seconds; tell whether it rang."""
        with trio.move_on_after(timeout):
            await self._event.wait()
        return self.answer()

    def answer(self) -> bool:
        """Tell whether it has rung, as `wait` does."""
        rang = self._event.is_set()
        if rang:
            self._event = trio.Event()
        return rang
