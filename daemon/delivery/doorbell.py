"""A bell that tasks wait for and anybody rings."""

import trio


class Doorbell:
    """Each ring is heard by one: of those that wait, the one that has waited longest, or whoever waits next.

    Rung many times while nobody waits, it is heard once.
    """

    def __init__(self) -> None:
        self._waiting = trio.lowlevel.ParkingLot()
        self._rung = False

    def ring(self) -> None:
        """Wake one who waits, or who waits next."""
        if not self._waiting.unpark():
            self._rung = True

    async def wait(self, timeout: float) -> bool:
        """Return when the bell rings or after `timeout` seconds; tell whether it rang."""
        rang = self._rung
        self._rung = False
        with trio.move_on_after(0 if rang else timeout):
            await self._waiting.park()
            rang = True
        return rang
