"""`[database]`: Postgres."""

import warnings
from typing import Annotated, Self

from pydantic import model_validator

from daemon.config import checks
from daemon.config.database_url import check_database_url
from daemon.config.kinds import Duration, Switch, Text, Whole
from daemon.config.masking import mask_url
from daemon.config.sections.base import ConfigConflict, PathText, Section

with warnings.catch_warnings():
    # BaseModel has a deprecated method `schema`; the key's name is worth more.
    warnings.filterwarnings("ignore", message='Field name "schema"', category=UserWarning)

    class DatabaseConfig(Section):
        """`[database]`: Postgres."""

        url: Annotated[str, Text(check_database_url)] = ""
        """postgresql:// URL; "": the embedded server."""
        password_file: PathText = ""
        """File with the password for the URL, for each of its hosts; "": as the URL says."""
        schema: Annotated[str, Text(checks.schema_name)] = "hookd"  # type: ignore[assignment]
        """Schema that holds everything; one server can hold several."""
        pool_size: Annotated[int, Whole(1, 1000)] = 10
        """Connections to the server, for the API and upkeep; the queue has five more (`OWN_CONNECTIONS`)."""
        command_timeout: Annotated[float, Duration("100ms", "1h")] = 30.0
        """Seconds after which a statement is given up."""
        prepared_statements: Annotated[bool, Switch()] = True
        """False behind a pooler that loses them from one transaction to the next."""

        @model_validator(mode="after")
        def _password_fits(self) -> Self:
            if self.password_file and not self.url:
                raise ConfigConflict(
                    "password_file", "is for database.url, which is empty: set that, or leave this out"
                )
            if self.password_file and mask_url(self.url) != self.url:
                raise ConfigConflict(
                    "password_file", "cannot stand beside a password in database.url: take that out"
                )
            return self
