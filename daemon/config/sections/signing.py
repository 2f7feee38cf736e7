"""`[signing]`: headers and secrets."""

from typing import Annotated, Self

from pydantic import model_validator

from daemon.config import checks
from daemon.config.kinds import Duration, Text
from daemon.config.sections.base import DAY, HOUR, ConfigConflict, PathText, Section


class SigningConfig(Section):
    """`[signing]`: headers and secrets."""

    header_prefix: Annotated[str, Text(checks.header_prefix)] = "X-Alter-"
    """Beginning of the platform's own headers."""
    secret_overlap: Annotated[float, Duration("0s", "30d")] = 24 * HOUR
    """Seconds for which a rotated secret still signs beside the new one, unless its owner says how long."""
    secret_overlap_max: Annotated[float, Duration("0s", "365d")] = 30 * DAY
    """The longest that an owner may say."""
    master_key_file: PathText = ""
    """File with the key that encrypts subscriptions' secrets; "": made in the state directory."""

    @model_validator(mode="after")
    def _check_overlap(self) -> Self:
        if self.secret_overlap > self.secret_overlap_max:
            raise ConfigConflict(
                "secret_overlap", "is longer than signing.secret_overlap_max: shorten it, or raise that"
            )
        return self
