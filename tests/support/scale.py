"""How large the fault tests are: small in the suite, full with HOOKD_FAULTS=full (`make faults`)."""

import os
from typing import TypeVar

T = TypeVar("T")

FULL = os.environ.get("HOOKD_FAULTS") == "full"


def scale(small: T, full: T) -> T:
    """Return `full` for a full run, else `small`."""
    return full if FULL else small
