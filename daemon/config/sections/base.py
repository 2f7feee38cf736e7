"""What the sections of the configuration have in common."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from daemon.config import checks
from daemon.config.kinds import Text

MINUTE, HOUR, DAY, KIB, MIB = 60.0, 3_600.0, 86_400.0, 1024, 1024**2

AT_LEAST_ONE = AfterValidator(checks.some)
Network = Annotated[str, Text(checks.network)]
PathText = Annotated[str, Text()]


class ConfigConflict(ValueError):
    """Settings that are good by themselves but not together; `key` is the one to look at first."""

    def __init__(self, key: str, complaint: str) -> None:
        super().__init__(complaint)
        self.key = key


def refuse_repeated(key: str, values: Iterable[str]) -> None:
    """Error: `ConfigConflict` where `key` has a value twice."""
    for value, count in Counter(values).items():
        if count > 1:
            raise ConfigConflict(key, f'names "{value}" {count} times: keep one')


class Section(BaseModel):
    """Base of all sections: cannot be changed, and knows no other keys than its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")
