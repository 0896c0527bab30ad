"""Settings of a Real Load portal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import SecretStr

from exporter.config.checks import secret_mistakes
from exporter.config.secret import Secret
from exporter.config.types import FilePath
from exporter.lockout.policy import Policy
from exporter.sources.settings import Name, SourceSettings


if TYPE_CHECKING:
    from exporter.config.validation import Mistake


class RealLoadSettings(SourceSettings):
    """The settings of one account at a portal.

    Attributes:
        url: The URL of the Remote User API, such as `https://portal.realload.com/RemoteUserAPI`.
        auth_token: The API authentication token.
        auth_token_file: A file that holds the API authentication token.
    """

    TASKS: ClassVar[Mapping[str, float | None]] = {
        "agents": 60.0,
        "controllers": 60.0,
        "clusters": 60.0,
        "recorders": 60.0,
        "suites": 60.0,
        "versions": 600.0,
        "jobs": None,
        "templates": None,
        "certificates": None,
    }
    FILTERS: ClassVar[Collection[str]] = (
        "agents",
        "controllers",
        "clusters",
        "recorders",
        "suites",
        "templates",
        "certificates",
    )

    LOCKOUT: ClassVar[Policy] = Policy(block="15 to 30 minutes")

    provider: Literal["realload"] = "realload"
    name: Name = "realload"
    auth_token: SecretStr | None = None
    auth_token_file: FilePath | None = None

    def mistakes(self) -> Iterator[Mistake]:
        """Yield mistakes in combinations of fields that are valid on their own."""
        yield from super().mistakes()
        yield from secret_mistakes(self, "auth_token")

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret of the source."""
        yield from super().secrets()
        yield self.token

    @cached_property
    def token(self) -> Secret:
        """The API authentication token, sent in the body of every call."""
        return Secret(self.auth_token, self.auth_token_file)
