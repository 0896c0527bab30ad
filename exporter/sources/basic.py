"""Settings for sources that can be protected with HTTP basic authentication (RFC 7617)."""

from __future__ import annotations

import base64
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, SecretStr

from exporter.config.checks import secret_mistakes
from exporter.config.secret import Secret
from exporter.config.types import FilePath
from exporter.config.validation import Mistake
from exporter.sources.settings import SourceSettings


if TYPE_CHECKING:
    from collections.abc import Iterator


class BasicSettings(SourceSettings):
    """Settings with an optional user name and password; give both or neither.

    Attributes:
        username: The user name for basic authentication; without one no credentials are sent.
        password: The password.
        password_file: A file that holds the password.
    """

    username: Annotated[str, Field(min_length=1, pattern="^[^:]+$")] | None = None
    password: SecretStr | None = None
    password_file: FilePath | None = None

    def mistakes(self) -> Iterator[Mistake]:
        """Yield mistakes in combinations of fields that are valid on their own."""
        yield from super().mistakes()
        yield from secret_mistakes(self, "password", required=False)
        if self.username is None and self.credential is not None:
            yield Mistake(("username",), "is missing; it belongs to password")
        if self.username is not None and self.credential is None:
            yield Mistake(("password",), "is missing; give password_file, or leave out username")

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret of the source."""
        yield from super().secrets()
        if self.credential is not None:
            yield self.credential

    @cached_property
    def credential(self) -> Secret | None:
        """The password, `None` if none is configured."""
        if self.password is None and self.password_file is None:
            return None
        return Secret(self.password, self.password_file)

    def fingerprint(self) -> str:
        """Return a hash of the current password; empty if there is none."""
        return "" if self.credential is None else self.credential.fingerprint()

    def authorization(self) -> dict[str, str]:
        """Return the `authorization` header for a call; empty if there is no password.

        Raises:
            CallError: The password file cannot be read.
        """
        if self.credential is None:
            return {}
        pair = f"{self.username}:{self.credential.reveal()}".encode()
        return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
